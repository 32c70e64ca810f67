"""Measures where a recurrence's arithmetic on its sequences is done: `python -m benchmarks.costs_arithmetic_of_steps`.

Before the steps it is one operator over all of them, which reads and writes main memory; inside it is one for each
step, on items that the processor's cache holds. The rows go to `compiler/costs.json`. The forms take turns, in
processor time on one thread.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.operators.leaves import Input
from compiler.operators.making import scan
from compiler.passes.code_motion import hoist_steps
from compiler.targets import NUMPY, ORT_CPU, Target
from compiler.types import DType, TensorType
from runtime.numpy_executor import NumpyRunner

CHOICE = "arithmetic of steps"
ELEMENTS = (128, 512, 2048, 4096, 8192, 32768, 131072)  # of an item
GATES, STEPS, ROUNDS = 4, 64, 9


def forms(elements: int) -> dict[str, Graph]:
    """A step like that of an LSTM's gradient: h' = y (h + sum of h x (1 - x x) of all gates x), by form."""
    item = TensorType(DType.F32, (1, elements))
    labels = ("y", *(f"x{gate}" for gate in range(GATES)))
    h, y, *gates = (Input(name, item)() for name in ("h", *labels))
    total = h
    for x in gates:
        total = total + h * (x * (1 - x * x))
    following = total * y
    step = Graph({"h": h, **dict(zip(labels, (y, *gates), strict=True))}, {"next": following, "h": following})
    first = Input("first", item)()
    sequences = [Input(name, item.with_shape(STEPS, 1, elements))() for name in labels]
    results = scan(step, [first], sequences)
    inside = Graph({"first": first, **dict(zip(labels, sequences, strict=True))}, {"hs": results[1]})
    return {"before": hoist_steps(inside, Target("unmeasured", "nothing")), "inside": inside}


def runner(graph: Graph, target: Target) -> Callable[[], object]:
    generator = np.random.default_rng(0)
    feeds = {
        name: generator.normal(size=value.shape, scale=0.1).astype(np.float32) for name, value in graph.inputs.items()
    }
    if target is NUMPY:
        numpy_runner = NumpyRunner(graph, {})
        return lambda: numpy_runner.run(feeds)
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(export(graph, weights={}).SerializeToString(), options)
    return lambda: session.run(None, feeds)


def measure(target: Target) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for elements in ELEMENTS:
        runs = {form: runner(graph, target) for form, graph in forms(elements).items()}
        times: dict[str, list[float]] = {form: [] for form in runs}
        repeats = max(1, 20_000 // elements)
        for _ in range(ROUNDS):
            for form, run in runs.items():
                begun = time.process_time()
                for _ in range(repeats):
                    run()
                times[form].append((time.process_time() - begun) / repeats)
        rows += [
            {"form": form, "sizes": {"elements": elements}, "us": round(statistics.median(each) * 1e6, 1)}
            for form, each in times.items()
        ]
    return rows


def main() -> None:
    path = Path(__file__).parents[1] / "compiler" / "costs.json"
    table = json.loads(path.read_text("utf-8"))
    for target in (NUMPY, ORT_CPU):
        table.setdefault(target.name, {})[CHOICE] = rows = measure(target)
        for row in rows:
            print(target.name, row)
    path.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
