"""The NumPy runtime against onnx's ReferenceEvaluator, on the file that we write, and against loops written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.results import Row
from benchmarks.tables import Settings
from benchmarks.tables.rows import competition_rows

NOTE = "The forward pass on one thread."
NAMES = ["nablac numpy", "ReferenceEvaluator", "NumPy by hand"]
SMALL = [f"{kind} small" for kind in ("mlp", "cnn", "rnn", "lstm", "gru", "transformer")]
LARGE = [f"{kind} large" for kind in ("mlp", "rnn", "lstm", "gru", "transformer")]


def rows(settings: Settings) -> Iterator[Row]:
    alone = replace(settings, threads=(1,))
    for case in settings.chosen(SMALL if settings.quick else SMALL + LARGE):
        yield from competition_rows("numpy", case, "inference", settings.competing(NAMES), alone)
