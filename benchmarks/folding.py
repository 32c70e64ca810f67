"""Models with their weights folded and with each weight by its own name: `python -m benchmarks.folding [MODEL ...]`.

Nodes of the ONNX file, and milliseconds of processor time of a run on one thread, medians of alternating runs.
"""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import Any

import nablac
from compiler.elaborate.program import load
from compiler.onnx.exporter import export
from compiler.passes.known_weights import with_known_weights
from compiler.targets import NUMPY
from runtime.feeds import random_feeds, sizes_from
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner

_RUNS = 9
# Of each spec the preset, if any, the batch, and the length of its other named dims.
CASES: dict[str, tuple[str | None, int, int]] = {
    "resnet": ("resnet50", 1, 224),
    "lstm": (None, 4, 32),
    "gru": (None, 4, 32),
    "rnn": (None, 4, 32),
    "cnn": (None, 4, 32),
    "llama": (None, 2, 32),
    "t5": (None, 2, 32),
}


def measure(name: str) -> str:
    """One row of the table."""
    preset, batch, length = CASES[name]
    program = load(f"specs/{name}.model")
    model = nablac.compile(f"specs/{name}.model", model=program.models[0].name, preset=preset)
    weights, feeds = (
        model.read_weights(),
        random_feeds(model.graph, sizes_from(model.graph, batch, length, apart=False), 0),
    )
    runners: list[Any] = []
    nodes: list[int] = []
    for keep in (True, False):
        known = with_known_weights(model.graph, weights, keep=keep)
        proto = export(known.graph, weights=known.weights)
        nodes.append(len(proto.graph.node))
        runners.append(OnnxRunner(proto.SerializeToString(), threads=1))
        known = with_known_weights(model.graph, weights, NUMPY, keep=keep)
        runners.append(NumpyRunner(known.graph, known.weights))
    times: list[list[float]] = [[] for _ in runners]
    for _ in range(_RUNS + 1):  # the first is not counted
        for runner, row in zip(runners, times, strict=True):
            begun = time.process_time()
            runner.run(feeds)
            row.append(1000 * (time.process_time() - begun))
    named, named_numpy, folded, folded_numpy = (median(row[1:]) for row in times)
    return f"{name:10} {nodes[0]:6} {nodes[1]:6} {named:11.2f} {folded:8.2f} {named_numpy:11.2f} {folded_numpy:8.2f}"


if __name__ == "__main__":
    print(f"{'':10} {'nodes':>6} {'folded':>6} {'onnxruntime':>11} {'folded':>8} {'NumPy':>11} {'folded':>8}")
    for case in sys.argv[1:] or CASES:
        print(measure(case), flush=True)
