"""Products of 16-bit floats after a transpose, as every f16 recurrence has them, in onnxruntime with all it optimises.

What is wrong here ends the process, so that another process runs the models.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner
from tests.models import elaborate

STOCK = """
import json, sys
import numpy, onnxruntime
for line in sys.stdin:
    file, count = json.loads(line)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for number in range(count):
        feeds = dict(numpy.load(f"{file}.{number}.npz"))
        found = session.run(None, feeds)
        numpy.savez(f"{file}.{number}.results.npz", **{str(place): each for place, each in enumerate(found)})
    print("done", flush=True)
"""

CELL = """
cell Leaky(n: int) {
    input x: [batch, features]
    state h: [batch, n] = 0
    param W: [features, n] ~ glorot_uniform()
    param R: [n, n] ~ glorot_uniform()
    param decay: [n] ~ normal(std: 1)
    h' = sigmoid(decay) * h + (1 - sigmoid(decay)) * tanh(x @ W + h @ R)
    output h'
}
"""

RECURRENCES = {
    "LSTM": "x -> LSTM(4)",
    "LSTM, all steps": "x -> LSTM(4, sequences: true)",
    "LSTM from the end": "x -> LSTM(4, reverse: true)",
    "GRU": "x -> GRU(4)",
    "GRU, reset before": "x -> GRU(4, reset_after: false, sequences: true)",
    "SimpleRNN": "x -> SimpleRNN(4)",
    "SimpleRNN of relu": "x -> SimpleRNN(4, activation: relu, sequences: true)",
    "both directions": "x -> Bidirectional(LSTM(4, sequences: true)) -> Bidirectional(GRU(3))",
    "an own cell": "scan(Leaky(4))(x, axis: 1)",
    "an own cell, then a layer": "scan(Leaky(4))(x, axis: 1) -> LSTM(2, sequences: true) -> Dense(2)",
    "a decoder": "x -> LSTM(4, sequences: true) -> MultiHeadAttention(2)",
}
PRODUCTS = {
    "the batch moved": "transpose(x, [1, 0, 2]) @ w",
    "on the right": "v @ transpose(x, [1, 2, 0])",
    "steps last": "v @ transpose(x, [0, 2, 1])",
    "twice": "transpose(transpose(x, [2, 1, 0]), [1, 2, 0]) @ w",
    "of four axes": "transpose(unsqueeze(x, 0), [1, 2, 0, 3]) @ w",
    "beside a vector": "transpose(x, [1, 0, 2]) @ w[:, 0]",
    "a vector on the left": "w[:, 0] @ transpose(x, [1, 2, 0])",
}
SIZES = ((1, 5), (2, 3), (7, 16), (1, 1))  # batch and steps


class Stock:
    """Stock onnxruntime in another process, whose death fails a test and not the run of all; the next has a new one."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[str] | None = None

    def results(self, proto: Any, feeds: list[dict[str, Any]], folder: Path) -> list[list[Any]]:
        """What it gives for each of the feeds."""
        file = folder / "m.onnx"
        file.write_bytes(proto.SerializeToString())
        for number, each in enumerate(feeds):
            np.savez(f"{file}.{number}.npz", **each)
        if self._running is None:
            self._running = subprocess.Popen(
                [sys.executable, "-c", STOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._running.stdin is not None and self._running.stdout is not None
        print(json.dumps([str(file), len(feeds)]), file=self._running.stdin, flush=True)
        if self._running.stdout.readline() != "done\n":
            raise AssertionError(f"onnxruntime ended its process with status {self.close()}")
        found = []
        for number in range(len(feeds)):
            with np.load(f"{file}.{number}.results.npz") as results:
                found.append([results[str(place)] for place in range(len(results.files))])
        return found

    def close(self) -> int:
        """Let the process end, if there is one; its status."""
        running, self._running = self._running, None
        if running is None:
            return 0
        running.communicate()
        return running.returncode


STOCK_PROCESS = Stock()


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    yield
    STOCK_PROCESS.close()


def compare(body: str, folder: Path, input: str = "", dtype: DType = DType.F16, tolerance: float = 2.0**-9) -> None:
    """Numbers of onnxruntime beside those of the same model in f32, of the same rounded inputs and weights."""
    text = f"{CELL}model M {{\n    input x: {input}[batch, steps, 3]\n{body}\n}}\n"
    half, wide = elaborate(text, dtype=dtype), elaborate(text)
    weights = initialize(half)
    right = NumpyRunner(wide, {path: np.asarray(each, np.float32) for path, each in weights.items()})
    random = np.random.default_rng(0)
    feeds = [{"x": (random.normal(size=(*each, 3)) * 3).astype(half.inputs["x"].type.dtype.numpy)} for each in SIZES]
    found = STOCK_PROCESS.results(export(optimize(half), weights=weights), feeds, folder)
    for each, results in zip(feeds, found, strict=True):
        expected = right.run({"x": each["x"].astype(wide.inputs["x"].type.dtype.numpy)})
        for (name, value), result in zip(expected.items(), results, strict=True):
            assert result.dtype == half.outputs[name].type.dtype.numpy
            assert result.shape == value.shape
            scale = max(1.0, float(np.abs(value).max()))
            np.testing.assert_allclose(result.astype(np.float64), value, tolerance, tolerance * scale, err_msg=name)


@pytest.mark.parametrize("expression", RECURRENCES.values(), ids=RECURRENCES)
def test_a_recurrence_of_f16(expression: str, tmp_path: Path) -> None:
    compare(f"    output y = {expression}", tmp_path)


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "SimpleRNN"])
def test_final_states_of_f16(layer: str, tmp_path: Path) -> None:
    names = "y, h, c" if layer == "LSTM" else "y, h"
    call = f"{layer}(4, sequences: true, states: true)"
    compare(f"    {names} = x -> {call}\n    output {names}", tmp_path)


@pytest.mark.parametrize("expression", RECURRENCES.values(), ids=RECURRENCES)
def test_the_gradient_through_a_recurrence_of_f16(expression: str, tmp_path: Path) -> None:
    compare(f"    y = {expression}\n    output dx = gradient(sum(y), x)", tmp_path, tolerance=2.0**-7)


@pytest.mark.parametrize("expression", PRODUCTS.values(), ids=PRODUCTS)
def test_a_product_of_f16_after_a_transpose(expression: str, tmp_path: Path) -> None:
    weights = "    param w: [3, 4] ~ normal(std: 1)\n    param v: [2, 3] ~ normal(std: 1)\n"
    compare(f"{weights}    output y = {expression}", tmp_path)


CASTS = {  # of a transpose, and what onnxruntime drops or pushes the transpose through before it joins it to a product
    "alone": "cast({}, f32)",
    "kept from gradients": "stop_gradient(cast({}, f32))",
    "* 1 + 0": "cast({}, f32) * 1 + 0",
    "- 0": "cast({}, f32) - zeros([1], f32)",
    "/ 1": "cast({}, f32) / ones([1], f32)",
    "a function of it": "relu(cast({}, f32)) + 0",
    "of a function": "cast(abs({}), f32) + 0",
    "through a wider type": "cast(cast({}, f64), f32) + 0",
    "a shape there and back": "squeeze(unsqueeze(cast({}, f32), 1), 1) + 0",
    "transposed again": "transpose(transpose(cast({}, f32), [2, 1, 0]), [2, 1, 0]) + 0",
    "a choice": "where({} > 0, cast({}, f32), 0) + 0",
    "a question": "cast({} > 0, f32) + 0",
}


SIDES = {
    "left": ("    param w: f32[3, 4] ~ normal(std: 1)\n    output y = ({}) @ w", "transpose(x, [1, 0, 2])"),
    "right": ("    param w: f32[2, 3] ~ normal(std: 1)\n    output y = w @ ({})", "transpose(x, [1, 2, 0])"),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)
def test_a_product_of_f32_after_a_transpose_and_a_cast(cast: str, side: str, tmp_path: Path) -> None:
    product, transpose = SIDES[side]
    compare(product.format(cast.replace("{}", transpose)), tmp_path, "i32", DType.F32, 2.0**-16)


@pytest.mark.parametrize("kind", ["bool", "f64"])
def test_a_product_of_f32_after_a_cast_of_another_type(kind: str, tmp_path: Path) -> None:
    product, transpose = SIDES["left"]
    compare(product.format(f"cast({transpose}, f32) + 0"), tmp_path, kind, DType.F32, 2.0**-16)


def test_the_cast_of_a_transpose_may_be_an_output_beside_its_product(tmp_path: Path) -> None:
    """onnxruntime 1.30 loses the output's name, and does not load the model, unless the output is a copy."""
    lines = (
        "param w: f32[3, 4] ~ normal(std: 1)",
        "c = cast(transpose(x, [1, 0, 2]), f32)",
        "output c",
        "output y = c @ w",
    )
    compare("\n".join(f"    {line}" for line in lines), tmp_path, "i32", DType.F32, 2.0**-16)


def test_no_node_is_added_where_no_cast_of_a_transpose_comes_to_a_product() -> None:
    texts = ("x @ w", "transpose(x, [1, 0, 2]) @ w", "cast(i, f32) @ w", "cast(transpose(i, [1, 0, 2]) @ v, f32) @ w")
    for text in texts:
        inputs = "input x: [batch, steps, 3]\n    input i: i32[batch, steps, 3]\n    input v: i32[3, 3]"
        graph = optimize(elaborate(f"model M {{\n    {inputs}\n    param w: [3, 4]\n    output {text}\n}}\n"))
        assert not {"Unsqueeze", "Identity"} & {node.op_type for node in export(graph).graph.node}
