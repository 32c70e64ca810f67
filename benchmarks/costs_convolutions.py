"""The times of the forms of a convolution and its gradients on a CPU, for `compiler/costs.json`.

`python -m benchmarks.costs_convolutions` replaces their rows. Processor time of one thread, the forms in turns.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping
from itertools import product as every
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import compiler.costs
from compiler.graph import Graph, Value
from compiler.operators import convolution_lowering
from compiler.operators.convolution import Conv
from compiler.operators.leaves import Input
from compiler.types import DType, TensorType
from grammar.record import Record

TABLE = Path(compiler.costs.__file__).with_name("costs.json")
RUNS = 9
MOST_FLOPS = 1.5e9
OPSET = 18


class Setting(Record):
    """A convolution of square images, by the names of its sizes in the table."""

    batch: int
    channels: int
    filters: int
    side: int  # of the result
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def flops(self) -> int:
        positions, taps = self.side**2, self.kernel**2
        return 2 * self.batch * self.groups * self.channels * self.filters * positions * taps

    def values(self) -> tuple[Value, Value, Value]:
        """The image, the kernel, and the gradient of the result, as inputs."""

        def floats(name: str, *shape: int) -> Value:
            return Input(name, TensorType(DType.F32, shape))()

        x = floats("x", self.batch, self.channels * self.groups, *(self.side * self.stride,) * 2)
        w = floats("w", self.filters * self.groups, self.channels, *(self.kernel,) * 2)
        return x, w, floats("grad", self.batch, self.filters * self.groups, *(self.side,) * 2)


def settings() -> Iterator[Setting]:
    yield from (Setting(8, 3, 64, 16, 7, 2), Setting(8, 3, 64, 32, 7, 2), Setting(64, 1, 32, 28, 3))
    yield from (Setting(8, 1, 1, side, 3, 1, 64) for side in (4, 14, 28))
    yield from (
        Setting(8, width, 2 * width, side, kernel, 2) for width, side, kernel in every((64, 256), (4, 8), (1, 3))
    )
    for batch, width, side, kernel in every((8, 32), (8, 32, 128, 512), (1, 2, 4, 8, 16, 32), (1, 3)):
        yield Setting(batch, width, width, side, kernel)


def choices(setting: Setting) -> Iterator[tuple[str, Mapping[str, int], Graph, Mapping[str, Any]]]:
    """The choices that a setting measures: name, sizes, what is computed, and the forms by name."""
    x, w, grad = setting.values()
    conv = Conv((setting.stride,) * 2, (setting.kernel // 2,) * 4, (1, 1), setting.groups)
    to_x, to_w = conv.pullback(grad, x, w, result=conv(x, w))
    sizes = {
        "batch": setting.batch,
        "channels": setting.channels,
        "filters": setting.filters,
        "taps": setting.kernel**2,
        "positions": setting.side**2,
        "groups": setting.groups,
    }
    if setting.groups == 1:
        forward = {name: size for name, size in sizes.items() if name != "groups"}
        result = Graph({"x": x, "w": w}, {"y": conv(x, w)})
        yield "convolution", forward, result, convolution_lowering.CONVOLUTIONS
    weights = Graph({"x": x, "grad": grad}, {"to_w": to_w})
    yield "convolution weight gradient", sizes, weights, convolution_lowering.WEIGHT_GRADIENTS
    # The transpose reads the gradient: its channels are the convolution's filters.
    turned = {**sizes, "channels": setting.filters, "filters": setting.channels, "stride": setting.stride}
    yield (
        "transpose of a convolution",
        turned,
        Graph({"grad": grad, "w": w}, {"to_x": to_x}),
        convolution_lowering.TRANSPOSES,
    )


def microseconds(graph: Graph, forms: Mapping[str, Any]) -> dict[str, float]:
    """The time of each form that applies."""
    import onnxruntime as ort

    from compiler.onnx.exporter import export

    sessions: dict[str, Any] = {}
    files = set()
    for form in forms:
        with patch.object(convolution_lowering, "cheapest", lambda *_, form=form, **__: form):
            model = export(graph, opset=OPSET, weights=None).SerializeToString()
        if model in files:  # a form that does not apply is written as the default one
            continue
        files.add(model)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        sessions[form] = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    feeds = {name: generator.normal(size=value.shape).astype(np.float32) for name, value in graph.inputs.items()}
    times: dict[str, list[float]] = {form: [] for form in sessions}
    for _ in range(RUNS + 1):
        for form, session in sessions.items():
            start = time.process_time()
            session.run(None, feeds)
            times[form].append(time.process_time() - start)
    return {form: statistics.median(taken[1:]) * 1e6 for form, taken in times.items()}


def main() -> None:
    measured: dict[str, list[dict[str, Any]]] = {}
    for setting in settings():
        if setting.flops > MOST_FLOPS:
            continue
        for choice, sizes, graph, forms in choices(setting):
            times = microseconds(graph, forms)
            rows = measured.setdefault(choice, [])
            rows += ({"form": form, "sizes": sizes, "us": round(us, 1)} for form, us in times.items())
            print(choice, sizes, {form: round(us) for form, us in times.items()}, flush=True)
    table = json.loads(TABLE.read_text("utf-8"))
    table["ort-cpu"] = {**table.get("ort-cpu", {}), **measured}
    TABLE.write_text(_text_of(table), "utf-8")


def _text_of(table: Mapping[str, Mapping[str, list[Any]]]) -> str:
    """The table with a line for each row."""
    targets = []
    for target, of_target in table.items():
        parts = []
        for choice, rows in of_target.items():
            lines = ",\n".join(f"   {json.dumps(row)}" for row in rows)
            parts.append(f"  {json.dumps(choice)}: [\n{lines}\n  ]")
        targets.append(f" {json.dumps(target)}: {{\n" + ",\n".join(parts) + "\n }")
    return "{\n" + ",\n".join(targets) + "\n}\n"


if __name__ == "__main__":
    main()
