"""Products of integers at their extremes: all other operands 255, all weights as large as they are.

Processors differ here: of u8 and i8, some add two products in 16 bits and saturate. Operands of these models are
multiples of one step, so that rounding them to integers loses nothing, and arithmetic without integers is the oracle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.graph import Graph, Operator
from compiler.onnx.exporter import export
from compiler.operators.convolution import Conv
from compiler.operators.integer_products import ConvInteger, MatMulInteger
from compiler.operators.leaves import Input
from compiler.passes.integer_weights import FACTORS, SMALL_FACTORS, ByteForm
from compiler.passes.known_weights import with_known_weights
from compiler.passes.pipeline import optimize
from compiler.passes.quantize import quantize
from compiler.passes.quantize_static import quantize_static, values_to_measure
from compiler.quantization_schemes import DYNAMIC, STATIC, Choices, Scheme
from compiler.targets import ORT_CPU
from compiler.types import DType, TensorType
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner
from runtime.value_ranges import Calibration
from tests.models import elaborate

FORMS = pytest.mark.parametrize("form", [FACTORS, SMALL_FACTORS], ids=["u8", "7 bits"])


def signs(shape: tuple[int, ...], channel: int) -> Any:
    """1 and -1 by turns along the axis of channels: within a channel nothing cancels."""
    sign = np.where(np.arange(shape[channel]) % 2, -1, 1)
    return np.broadcast_to(np.moveaxis(np.expand_dims(sign, tuple(range(1, len(shape)))), 0, channel), shape)


def product(x: Any, w: Any) -> Any:
    return x @ w


@pytest.mark.parametrize(
    ("op", "x", "w", "channel", "exact"),
    [
        (MatMulInteger(), (1, 513), (513, 24), 1, product),
        (MatMulInteger(), (7, 513), (513, 24), 1, product),
        (MatMulInteger(), (2, 3, 64), (64, 5), 1, product),
        (ConvInteger(), (2, 65, 6, 5), (8, 65, 3, 3), 0, Conv().compute),
        (ConvInteger(groups=4), (2, 64, 6, 5), (8, 16, 3, 3), 0, Conv(groups=4).compute),
        (ConvInteger(groups=8), (2, 8, 6, 5), (8, 1, 3, 3), 0, Conv(groups=8).compute),
    ],
)
@FORMS
def test_large_sums_are_exact(
    op: Operator, x: tuple[int, ...], w: tuple[int, ...], channel: int, exact: Any, form: ByteForm
) -> None:
    weights = signs(w, channel) * form.largest
    feeds = {
        "x": np.full(x, 255, np.uint8),
        "w": (weights + form.zero).astype(form.dtype.numpy),
        "zero": np.array(0, np.uint8),
        "w_zero": np.array(form.zero, form.dtype.numpy),
    }
    inputs = {name: Input(name, TensorType(DType.of(array), array.shape))() for name, array in feeds.items()}
    graph = Graph(inputs, {"y": op(*inputs.values())})
    expected = exact(feeds["x"].astype(np.int64), weights.astype(np.int64))
    assert np.abs(expected).min() > 2**15
    assert NumpyRunner(graph).run(feeds)["y"].tolist() == expected.tolist()
    model = export(graph).SerializeToString()
    for optimized in (False, True):
        assert OnnxRunner(model, optimize=optimized).run(feeds)["y"].tolist() == expected.tolist()


MODELS = {
    "rows": ("input x: [batch, T, 513]\n output y = x -> Dense(24)", (2, 3, 513), 1e-5),
    "one row": ("input x: [batch, 513]\n output y = x -> Dense(24)", (1, 513), 1e-5),
    "sums beyond 32 bits": ("input x: [batch, 70000]\n output y = x -> Dense(4)", (1, 70000), 0.01),
    "convolution": ("input x: [batch, 16, 6, 5]\n output y = x -> Conv2D(24, 3)", (2, 16, 6, 5), 1 / 250),
    "depthwise": ("input x: [batch, 32, 6, 5]\n output y = x -> Conv2D(32, 3, groups: 32)", (2, 32, 6, 5), 1 / 250),
    "LSTM": ("input x: [batch, T, 256]\n output y = x -> LSTM(16, sequences: true)", (2, 3, 256), 1e-3),
}


def in_integers(graph: Graph, weights: dict[str, Any], choices: Choices, feeds: dict[str, Any]) -> list[Any]:
    """What a model results in whose weights are integers: in NumPy, in onnxruntime, and there with optimisation."""
    known = with_known_weights(optimize(graph), weights, ORT_CPU)
    if choices.scheme.calibrated:
        calibration = Calibration(known, values_to_measure(known.graph))
        calibration.run(feeds)
        integers = quantize_static(known, choices, calibration.ranges)
    else:
        integers = quantize(known, choices)
    assert integers.converted
    model = export(integers.known.graph, weights=integers.known.weights).SerializeToString()
    found = [NumpyRunner(integers.known.graph, integers.known.weights).run(feeds)["y"]]
    return found + [OnnxRunner(model, optimize=optimized).run(feeds)["y"] for optimized in (False, True)]


@pytest.mark.parametrize("scheme", [DYNAMIC, STATIC], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_models_are_what_they_are_in_floats(name: str, reduced: bool, scheme: Scheme) -> None:
    """But for what is rounded: results of convolutions in `int8-static`, states of LSTMs, very many equal weights."""
    body, shape, tolerance = MODELS[name]
    graph = elaborate(f"model M {{ {body} }}")
    weights = {
        path: signs(array.shape, int(path.startswith("dense"))).astype(np.float32) * np.float32(0.002)
        if array.ndim > 1
        else array
        for path, array in initialize(graph, 0).items()
    }
    feeds = {"x": np.full(shape, 2, np.float32)}
    expected = NumpyRunner(graph, weights).run(feeds)["y"]
    for found in in_integers(graph, weights, Choices(scheme, reduced=reduced), feeds):
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", ["one row", "convolution"])
def test_a_bias_of_weights_that_are_nearly_0_is_kept(name: str) -> None:
    """In units of products with the least scales it would not fit in 32 bits."""
    body, shape, _ = MODELS[name]
    graph = elaborate(f"model M {{ {body} }}")
    tiny = {path: array * np.float32(1e-9) for path, array in initialize(graph, 0).items() if array.ndim > 1}
    weights = {path: tiny.get(path, np.full_like(array, 0.5)) for path, array in initialize(graph, 0).items()}
    feeds = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    for found in in_integers(graph, weights, Choices(STATIC), feeds):
        np.testing.assert_allclose(found, 0.5, rtol=1e-5)
