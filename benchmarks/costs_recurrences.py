"""Measures an LSTM, a GRU and a simple recurrence as an operator and as a Scan, for the table of costs.

`python -m benchmarks.costs_recurrences` replaces the rows of these choices in `compiler/costs.json`: processor time on
one thread in microseconds, the median of alternating rounds. The number of features is that of the units.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import compiler
import nablac
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize
from compiler.targets import NUMPY, ORT_CPU, Target
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner

LAYERS = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
# Steps, batch, units
SIZES = (
    *((8, 1, 8), (8, 1, 32), (32, 1, 64), (32, 1, 256)),
    *((8, 8, 8), (32, 8, 32), (32, 8, 128)),
    *((32, 32, 8), (32, 32, 32), (32, 32, 128), (64, 32, 256)),
)
ROUNDS = 9
LEAST_SECONDS = 0.02  # of a round
UNMEASURED = Target("unmeasured", "a runtime without rows in the table, which gets the default forms")


def run_on_onnxruntime(graph: Graph, weights: Mapping[str, Any], x: np.ndarray) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    file = export(graph, weights=weights).SerializeToString()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"xs": x})


def run_on_numpy(graph: Graph, weights: Mapping[str, Any], x: np.ndarray) -> Callable[[], object]:
    runner = NumpyRunner(graph, weights)
    return lambda: runner.run_step({"xs": x})


RUNS = {ORT_CPU.name: run_on_onnxruntime, NUMPY.name: run_on_numpy}


def rows(choice: str, steps: int, batch: int, hidden: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The target and a row of the table for each form of a choice."""
    layer = f"{LAYERS[choice]}({hidden}, sequences: true)"
    raw = nablac.compile(f"model M {{ input xs: [batch, time, {hidden}]; output y = xs -> {layer} }}\n").elaborated
    weights = initialize(raw, 0)
    x = np.random.default_rng(0).normal(size=(batch, steps, hidden)).astype(np.float32)
    graphs = {
        "operator": optimize(raw, UNMEASURED),
        "scan": optimize(raw, UNMEASURED, disabled=[f"fuse-{choice}"]),
    }
    for target, run in RUNS.items():
        times = processor_times({form: run(graph, weights, x) for form, graph in graphs.items()})
        sizes = {"steps": steps, "batch": batch, "hidden": hidden}
        for form, seconds in times.items():
            yield target, {"form": form, "sizes": sizes, "us": round(seconds * 1e6, 1)}


def processor_times(forms: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The processor time of each form in seconds."""
    times: dict[str, list[float]] = {form: [] for form in forms}
    for call in forms.values():
        call()
    for _ in range(ROUNDS):
        for form, call in forms.items():
            calls, begun = 0, time.process_time()
            while calls < 3 or time.process_time() - begun < LEAST_SECONDS:
                call()
                calls += 1
            times[form].append((time.process_time() - begun) / calls)
    return {form: statistics.median(seconds) for form, seconds in times.items()}


def main() -> None:
    """Measure all, and write the rows."""
    file = Path(compiler.__file__).with_name("costs.json")
    table = json.loads(file.read_text("utf-8"))
    for choice in LAYERS:
        measured: dict[str, list[dict[str, Any]]] = {target: [] for target in RUNS}
        for sizes in SIZES:
            for target, row in rows(choice, *sizes):
                print(target, choice, row)
                measured[target].append(row)
        for target, own in measured.items():
            table.setdefault(target, {})[choice] = own
    file.write_text(text_of(table), "utf-8")


def text_of(table: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> str:
    """The table as JSON, with a row on each line."""
    targets = []
    for target, choices in table.items():
        texts = []
        for choice, measured in choices.items():
            lines = ",\n   ".join(json.dumps(row) for row in measured)
            texts.append(f'  "{choice}": [\n   {lines}\n  ]')
        targets.append(f' "{target}": {{\n' + ",\n".join(texts) + "\n }")
    return "{\n" + ",\n".join(targets) + "\n}\n"


if __name__ == "__main__":
    main()
