"""A training step of two workers, beside that of one process and of two that are not joined."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measuring import Figure
from benchmarks.preparation import prepare
from benchmarks.results import Row
from benchmarks.tables import Settings
from benchmarks.worker_groups import Kind, measure

NOTE = """Each process has one thread and the same batch, so that two workers train on twice as many examples in a step.
The efficiency of two workers is the time of a step of two processes that are not joined, which share the machine as
they do, over theirs. "nablac" is the loop of `nablac train` over MPI, PyTorch is DistributedDataParallel on gloo."""
CASES = ["lstm large", "cnn large", "transformer large", "resnet18 32x32"]
BACKENDS = {"nablac ort": "ort", "nablac numpy": "numpy", "torch": "torch"}
SHAPES = {"one process": (1, False), "two processes": (2, False), "two workers": (2, True)}


def rows(settings: Settings) -> Iterator[Row]:
    for case in settings.chosen(CASES[:1] if settings.quick and not settings.cases else CASES):
        names = settings.competing(["nablac ort", "torch", *(["nablac numpy"] if settings.contenders else [])])
        kinds = {f"{name}, {shape}": Kind(BACKENDS[name], *SHAPES[shape]) for name in names for shape in SHAPES}
        with tempfile.TemporaryDirectory() as folder:
            prepare(case, "training", ["nablac ort"], Path(folder))
            figures = measure(kinds, case, Path(folder), settings.plan.rounds, 10 * settings.plan.burst_seconds)
        yield from _times(case, figures)
        yield _row(case, "% efficiency that two workers lose", {name: _lost(name, figures) for name in names})
        yield from _reductions(case, figures, [name for name in names if name != "torch"])


def _times(case: str, figures: dict[str, dict[str, Any]]) -> Iterator[Row]:
    for quantity in ("wall", "processor"):
        times = {name: _scaled(quantities[quantity], 1000) for name, quantities in figures.items()}
        yield _row(case, f"ms of a step, {quantity} time of each process", times)


def _lost(name: str, figures: dict[str, dict[str, Any]]) -> Figure:
    """The part of the time of two workers that two processes would not need, of 100."""
    apart, joined = (figures[f"{name}, {shape}"]["wall"] for shape in ("two processes", "two workers"))
    return Figure(100 * (1 - apart.median / joined.median), apart.spread + joined.spread, joined.runs)


def _reductions(case: str, figures: dict[str, dict[str, Any]], names: list[str]) -> Iterator[Row]:
    joined = {name: figures[f"{name}, two workers"] for name in names}
    for quantity, shown, factor in (
        ("reducing", "ms of a step in reductions, with waiting for the other worker", 1000),
        ("bare", "ms of one Allreduce of as many bytes by mpi4py", 1000),
        ("reductions", "reductions in a step", 1),
        ("bytes", "MiB reduced in a step", 2**-20),
    ):
        times = {f"{name}, two workers": _scaled(quantities[quantity], factor) for name, quantities in joined.items()}
        yield _row(case, shown, times)


def _scaled(figure: Figure, factor: float) -> Figure:
    return replace(figure, median=figure.median * factor)


def _row(case: str, measure: str, figures: dict[str, Figure]) -> Row:
    return Row("workers", case, measure, figures)
