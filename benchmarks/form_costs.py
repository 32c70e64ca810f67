"""Measures the forms that a computation may take, and writes their times to `compiler/costs.json`.

    python -m benchmarks.form_costs [CHOICE ...]

A choice is a computation for which the compiler has several equivalent forms: a name, the sizes to measure, and for
each form a function from sizes to a graph. To add one, write a function that returns its forms by name and give it
`@choice`. In the compiler, `cheapest(target, name, default, **sizes)` reads the result. Forms take turns, in processor
time on one thread; a row has the median. Rows of other choices, and of other targets, are kept.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import nablac
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize
from compiler.targets import NUMPY, ORT_CPU, Target
from runtime.feeds import random_feeds, sizes_from
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner

COSTS = Path(__file__).parents[1] / "compiler" / "costs.json"
TARGETS = (ORT_CPU, NUMPY)  # those that this script can run
_ROUNDS, _LEAST = 9, 2e-3  # turns of each form, and the least time of one, in seconds

Build = Callable[..., Graph]


@dataclass(frozen=True)
class Choice:
    """A computation with several forms: for each form a graph at given sizes, all of the same inputs."""

    name: str
    sizes: Mapping[str, Sequence[int]]  # the values of each size; all combinations are measured
    forms: Callable[[], Mapping[str, Build]]


_choices: dict[str, Choice] = {}


def choice(**sizes: Sequence[int]) -> Callable[[Callable[[], Mapping[str, Build]]], None]:
    """Register a choice: the decorated function returns its forms, and has its name and the sizes to measure."""

    def register(forms: Callable[[], Mapping[str, Build]]) -> None:
        name = forms.__name__
        _choices[name] = Choice(name, sizes, forms)

    return register


# Choices


@choice(time=(8, 64), batch=(1, 32), features=(16, 128), hidden=(16, 128))
def lstm() -> dict[str, Build]:
    """An LSTM for inference: ONNX's operator, or a Scan of its equations."""
    return _recurrent_forms("LSTM", "fuse-lstm")


@choice(time=(8, 64), batch=(1, 32), features=(16, 128), hidden=(16, 128))
def gru() -> dict[str, Build]:
    """A GRU for inference: ONNX's operator, or a Scan of its equations."""
    return _recurrent_forms("GRU", "fuse-gru")


@choice(time=(8, 64), batch=(1, 32), features=(16, 128), hidden=(16, 128))
def rnn() -> dict[str, Build]:
    """A simple recurrence for inference: ONNX's operator, or a Scan of its equations."""
    return _recurrent_forms("SimpleRNN", "fuse-rnn")


def _recurrent_forms(layer: str, fusing: str) -> dict[str, Build]:
    def graph(time: int, batch: int, features: int, hidden: int) -> Graph:
        text = f"model M {{ input x: [{batch}, {time}, {features}]\n output y = x -> {layer}({hidden}) }}"
        return nablac.compile(text).elaborated

    return {
        "operator": lambda **sizes: optimize(graph(**sizes)),
        "scan": lambda **sizes: optimize(graph(**sizes), disabled=(fusing,)),
    }


# Measuring


def measure(choice: Choice, target: Target) -> Iterator[dict[str, Any]]:
    """A row for each form at each combination of sizes."""
    for values in product(*choice.sizes.values()):
        sizes = dict(zip(choice.sizes, values, strict=True))
        runs = {name: _runner(build(**sizes), target) for name, build in choice.forms().items()}
        for name, seconds in medians(runs).items():
            yield {"form": name, "sizes": sizes, "us": round(seconds * 1e6, 1)}


def medians(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The median processor time of one call of each function, in seconds; they take turns."""
    counts: dict[str, int] = {}
    for name, run in runs.items():  # the first calls allocate
        run()
        begun = time.process_time()
        run()
        counts[name] = max(1, round(_LEAST / max(time.process_time() - begun, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            begun = time.process_time()
            for _ in range(counts[name]):
                run()
            times[name].append((time.process_time() - begun) / counts[name])
    return {name: statistics.median(values) for name, values in times.items()}


def _runner(graph: Graph, target: Target) -> Callable[[], object]:
    """A call of a graph on a target, with random inputs and initial weights."""
    weights = initialize(graph, 0)
    feeds = random_feeds(graph, sizes_from(graph, 1, 1), seed=0)
    if target is NUMPY:
        runner = NumpyRunner(graph, weights)
        return lambda: runner.run(feeds)
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    model = export(graph, weights=weights, target=target).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


# Writing


def write(rows: Mapping[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Replace these rows, by target and choice, in the table of costs."""
    import onnxruntime

    table = json.loads(COSTS.read_text("utf-8"))
    measured = table.setdefault("measured", {})
    for (target, name), new in rows.items():
        table.setdefault(target, {})[name] = new
        measured[f"{target} {name}"] = {
            "date": str(date.today()),
            "machine": f"{platform.machine()}, {os.cpu_count()} processors, {_processor()}",
            "versions": {"numpy": np.__version__, "onnxruntime": onnxruntime.__version__},
        }
    COSTS.write_text(_text(table), "utf-8")


def _text(table: Mapping[str, Any]) -> str:
    """The table as JSON, a line for each row."""
    heads = ",\n".join(f"  {json.dumps(name)}: {json.dumps(head)}" for name, head in sorted(table["measured"].items()))
    targets = []
    for target, choices in sorted(table.items()):
        if target == "measured":
            continue
        listed = []
        for name, rows in sorted(choices.items()):
            lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
            listed.append(f" {json.dumps(name)}: [\n{lines}\n ]")
        targets.append(f",\n{json.dumps(target)}: {{\n" + ",\n".join(listed) + "\n}")
    return f'{{\n"measured": {{\n{heads}\n}}' + "".join(targets) + "\n}\n"


def _processor() -> str:
    """The model of the processor, where Linux says it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def main(*names: str) -> None:
    """Measure the choices of these names, or all."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in names or tuple(_choices):
        for target in TARGETS:
            rows = []
            for row in measure(_choices[name], target):
                print(target.name, name, row, flush=True)
                rows.append(row)
            write({(target.name, name): rows})


if __name__ == "__main__":
    main(*sys.argv[1:])
