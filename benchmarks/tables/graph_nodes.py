"""Nodes of exported graphs; `python -m benchmarks.node_counts` has all specs, all kinds and all networks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Figure
from benchmarks.results import Row
from benchmarks.tables import Settings

NOTE = """Written by each, and after the optimisers of others, nested graphs included. An optimiser whose result does
not load, or computes something else, is noted and not counted."""
NETWORKS = ["mlp", "cnn", "rnn", "lstm", "gru", "transformer", "resnet18", "resnet50", "bert", "gpt", "t5", "llama"]
QUICK_NETWORKS = ["mlp", "lstm"]


def rows(settings: Settings) -> Iterator[Row]:
    for case in settings.chosen(QUICK_NETWORKS if settings.quick else NETWORKS):
        row = Row("nodes", case, "nodes, inference")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "counts.json"
            # In a process of its own, so that this one stays small: children are measured by their memory.
            command = [sys.executable, "-m", "benchmarks.node_counts", case, "--json", str(file)]
            done = subprocess.run(command, capture_output=True, text=True)
            counts = json.loads(file.read_text("utf-8")) if file.exists() else {}
        for writer in ("ours", "torch.onnx"):
            own = "nablac" if writer == "ours" else writer
            if (of_writer := counts.get(f"{case}: {writer}")) is None:
                row.notes[own] = (done.stderr.strip().splitlines() or ["nothing was written"])[-1]
                continue
            for tool, number in of_writer.items():
                name = own if tool == "written" else f"{writer} + {tool}"
                if isinstance(number, int):
                    row.figures[name] = Figure(number, 0.0, 1)
                else:
                    row.notes[name] = number
        yield row
