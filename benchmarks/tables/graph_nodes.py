"""Nodes of exported graphs; `python -m benchmarks.node_counts` has all specs, all kinds and all networks."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring import Figure
from benchmarks.results import Row
from benchmarks.tables import Settings

NOTE = """Written by each, and after the optimisers of others, nested graphs included. An optimiser whose result does
not load, or computes something else, is noted and not counted."""
NETWORKS = ["mlp", "cnn", "lstm", "transformer", "resnet50", "bert", "gpt"]
QUICK_NETWORKS = ["mlp", "lstm"]


def rows(settings: Settings) -> Iterator[Row]:
    from benchmarks.node_counts import OPTIMISERS, torch_rows

    for case in settings.chosen(QUICK_NETWORKS if settings.quick else NETWORKS):
        row = Row("nodes", case, "nodes, inference")
        for writer, counts in torch_rows(case, opset=24):
            for tool in ("written", *OPTIMISERS):
                name = writer if tool == "written" else f"{'ours' if writer == 'nablac' else writer} + {tool}"
                if isinstance(number := counts[tool], int):
                    row.figures[name] = Figure(number, 0.0, 1)
                else:
                    row.notes[name] = number
        yield row
