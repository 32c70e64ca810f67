"""Times of the forms of normalisations, activations and matrix products in onnxruntime on one thread.

`python -m benchmarks.costs_forms` prints them, and with `--write` puts those into `compiler/costs.json` that an
operator asks for when it is lowered. A choice is a function that yields its sizes, the text of a model, its inputs, and
its forms: one that an operator is lowered to if the table says that it is the cheapest, or what passes leave that are
disabled. The forms of one size run in turn, and a time is the median of their turns in processor time.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from compiler import costs
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize, pass_settings
from compiler.targets import ORT_CPU
from grammar.source import Source
from runtime.initialization import initialize

_ROUNDS = 9
_LEAST = 0.02  # seconds of a turn


@dataclass(frozen=True)
class Form:
    """A form by its name in the table of costs, or the passes without which a graph has it."""

    name: str
    disabled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One size of a choice: a model, its inputs, and the forms that it may get."""

    choice: str
    sizes: Mapping[str, int]
    text: str
    inputs: Mapping[str, tuple[int, ...]]
    forms: tuple[Form, ...]


def _model(body: str, **inputs: tuple[int, ...]) -> str:
    declared = ", ".join(f"{name}: {list(shape)}" for name, shape in inputs.items())
    return f"model M {{\n    input {declared}\n    {body}\n}}\n"


def _layers() -> Iterator[Case]:
    for choice, layer in (("layer_normalization", "LayerNorm"), ("rms_normalization", "RMSNorm")):
        for rows, width in ((1, 64), (1, 768), (32, 64), (128, 768), (1024, 256)):
            text = _model(f"output x -> {layer}()", x=(rows, width))
            sizes = {"rows": rows, "width": width}
            yield Case(choice, sizes, text, {"x": (rows, width)}, (Form("operator"), Form("equations")))


def _groups() -> Iterator[Case]:
    for batch, channels, side in ((1, 32, 8), (1, 64, 32), (8, 64, 32), (8, 256, 8)):
        shape = (batch, channels, side, side)
        text = _model("output x -> GroupNorm(8)", x=shape)
        sizes = {"batch": batch, "channels": channels, "extent": side * side}
        yield Case("group_normalization", sizes, text, {"x": shape}, (Form("operator"), Form("instance")))


def _gelus() -> Iterator[Case]:
    for name in ("gelu", "gelu_tanh"):
        for count in (64, 4096, 262144):
            text = _model(f"output {name}(x)", x=(count,))
            forms = (Form("operator"), Form("equations", ("fuse-activations",)))
            yield Case(name, {"elements": count}, text, {"x": (count,)}, forms)


def _products() -> Iterator[Case]:
    for rows, inner, columns in ((1, 64, 64), (1, 768, 3072), (32, 256, 256), (128, 768, 768)):
        sizes = {"rows": rows, "inner": inner, "columns": columns}
        forms = (Form("operator"), Form("product", ("fuse-gemm",)))
        weights = f"param W: [{inner}, {columns}], V: [{columns}, {inner}], b: [{columns}] ~ normal(1)\n    "
        for choice, product in (("gemm", "x @ W + b"), ("gemm_right_transposed", "x @ V^T")):
            sizes = {"rows": rows, "inner": inner, "columns": columns}
            forms = (Form("operator"), Form("product", ("fuse-gemm",)))
            yield Case(
                choice, sizes, _model(f"{weights}output {product}", x=(rows, inner)), {"x": (rows, inner)}, forms
            )
        x, y = (inner, rows), (inner, columns)
        sizes = {"rows": rows, "inner": inner, "columns": columns}
        forms = (Form("operator"), Form("product", ("fuse-gemm",)))
        yield Case("gemm_left_transposed", sizes, _model("output x^T @ y", x=x, y=y), {"x": x, "y": y}, forms)


CHOICES: tuple[Callable[[], Iterator[Case]], ...] = (_layers, _groups, _gelus, _products)


def _session(case: Case, form: Form) -> Callable[[], Any]:
    """A function that runs a form once."""
    import onnxruntime

    graph = TextSource(program_of(Source("forms.model", case.text))).spec(training=False).graph
    wanted = {(ORT_CPU.name, case.choice): (costs.Measurement(form.name, case.sizes, 0.0),)}
    with patch.object(costs, "_measurements", lambda: wanted), pass_settings(form.disabled):
        model = export(optimize(graph), opset=24, weights=initialize(graph, 0))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feeds = {name: random.standard_normal(shape).astype(np.float32) for name, shape in case.inputs.items()}
    return lambda: session.run(None, feeds)


def _times(case: Case) -> dict[str, float]:
    """The time of each form in microseconds."""
    runs = {form.name: _session(case, form) for form in case.forms}
    begun = time.process_time()
    for run in runs.values():
        run()
    repeats = max(1, int(_LEAST * len(runs) / max(time.process_time() - begun, 1e-5)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            begun = time.process_time()
            for _ in range(repeats):
                run()
            times[name].append((time.process_time() - begun) / repeats * 1e6)
    return {name: round(statistics.median(turns), 2) for name, turns in times.items()}


def main() -> None:
    """Measure every choice; with `--write` record it."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for choice in CHOICES:
        for case in choice():
            times = _times(case)
            print(case.choice, dict(case.sizes), times, flush=True)
            if not any(form.disabled for form in case.forms):
                rows.setdefault(case.choice, []).extend(
                    {"form": form, "sizes": dict(case.sizes), "us": us} for form, us in times.items()
                )
    if "--write" in sys.argv:
        path = Path(costs.__file__).with_name("costs.json")
        table = json.loads(path.read_text("utf-8"))
        table.setdefault(ORT_CPU.name, {}).update(rows)
        path.write_text(_one_row_a_line(table), "utf-8")


def _one_row_a_line(table: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> str:
    """The table as JSON whose changes are easy to read."""
    targets = []
    for target, choices in table.items():
        lists = (
            f"  {json.dumps(choice)}: [\n   " + ",\n   ".join(map(json.dumps, rows)) + "\n  ]"
            for choice, rows in choices.items()
        )
        targets.append(f" {json.dumps(target)}: {{\n" + ",\n".join(lists) + "\n }")
    return "{\n" + ",\n".join(targets) + "\n}\n"


if __name__ == "__main__":
    main()
