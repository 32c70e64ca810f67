"""Measures the forms that a computation may take, and writes their times to `compiler/costs.json`.

    python -m benchmarks.form_costs [CHOICE ...]

The choices are those of the files in `benchmarks/forms`. Forms take turns, in processor time on one thread; a row has
the median. Rows of other choices are kept.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from threadpoolctl import threadpool_limits

from benchmarks.forms import Case, Choice, convolutions, normalizations, recurrent_layers, steps
from benchmarks.results import machine, versions
from compiler import costs
from compiler.dump import dump
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.targets import NUMPY, Target
from runtime.feeds import random_feeds
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner

FILES = (normalizations, recurrent_layers, convolutions, steps)
CHOICES: Mapping[str, Choice] = {choice.name: choice for file in FILES for choice in file.CHOICES}
COSTS = Path(costs.__file__).with_name("costs.json")
_ROUNDS, _LEAST = 9, 0.02  # turns of each form, and the least time of one, in seconds

Call = Callable[[], object]


# Forms


def calls_of(choice: Choice, case: Case, target: Target) -> dict[str, Call]:
    """A call of each form of a case on a target, with random inputs and initial weights.

    The compiler writes a form that does not apply as another one: it is left out.
    """
    graph = case.graph()
    weights, feeds = initialize(graph, 0), random_feeds(graph, case.sizes, seed=0)
    texts: set[str | bytes] = set()
    calls: dict[str, Call] = {}
    for form in choice.forms:
        with fastest(target, choice.name, form, case.sizes):
            formed = choice.prepare(graph, target)
            text = dump(formed) if target is NUMPY else _model(choice, formed, weights, target)
        if text in texts:
            continue
        texts.add(text)
        run = _session(text) if isinstance(text, bytes) else NumpyRunner(formed, weights).run
        calls[form] = partial(run, feeds)
    return calls


@contextmanager
def fastest(target: Target, choice: str, form: str, sizes: Mapping[str, int]) -> Iterator[None]:
    """A context in which a table says that this form is the fastest one, and nothing of other choices."""
    table = {(target.name, choice): (costs.Measurement(form, sizes, 0.0),)}
    with patch.object(costs, "_measurements", lambda: table):
        yield


def _model(choice: Choice, graph: Graph, weights: Mapping[str, Any], target: Target) -> bytes:
    model: bytes = export(graph, opset=choice.opset, weights=weights, target=target).SerializeToString()
    return model


def _session(model: bytes) -> Callable[[Mapping[str, Any]], object]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)


# Times


def measure(choice: Choice, target: Target) -> Iterator[dict[str, Any]]:
    """A row for each form of each case."""
    for case in choice.cases:
        for form, seconds in medians(calls_of(choice, case, target)).items():
            yield {"form": form, "sizes": dict(case.sizes), "us": round(seconds * 1e6, 2)}


def medians(calls: Mapping[str, Call]) -> dict[str, float]:
    """The median processor time of each call, in seconds; they take turns."""
    counts: dict[str, int] = {}
    for name, call in calls.items():
        call()  # allocates
        begun = time.process_time()
        call()
        counts[name] = max(1, round(_LEAST / max(time.process_time() - begun, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            begun = time.process_time()
            for _ in range(counts[name]):
                call()
            times[name].append((time.process_time() - begun) / counts[name])
    return {name: statistics.median(values) for name, values in times.items()}


# The table


def write(target: Target, choice: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the rows of a choice in the table of costs, and say when and where they were measured."""
    table = json.loads(COSTS.read_text("utf-8"))
    table[target.name][choice] = rows
    here, installed = machine(), versions()
    table[costs.HEAD][f"{target.name}: {choice}"] = {
        "date": str(date.today()),
        "machine": f"{here['processor']}, {here['cores']} cores",
        "versions": {name: installed[name] for name in ("numpy", "onnxruntime")},
    }
    COSTS.write_text(text_of(table), "utf-8")


def text_of(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as JSON with a line for each row, so that changes are easy to read."""
    parts = []
    for part, entries in table.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {_entry(entry)}" for name, entry in entries.items())
        parts.append(f" {json.dumps(part)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _entry(entry: Any) -> str:
    if not isinstance(entry, list):
        return json.dumps(entry)
    return "[\n" + ",\n".join(f"   {json.dumps(row)}" for row in entry) + "\n  ]"


def main(*names: str) -> None:
    """Measure the choices of these names, or all."""
    if unknown := [name for name in names if name not in CHOICES]:
        sys.exit(f"no choice is named {unknown[0]!r}; there are: {', '.join(CHOICES)}")
    for choice in [CHOICES[name] for name in names] or CHOICES.values():
        for target in choice.targets:
            rows = []
            with threadpool_limits(1):
                for row in measure(choice, target):
                    print(target.name, choice.name, row, flush=True)
                    rows.append(row)
            write(target, choice.name, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
