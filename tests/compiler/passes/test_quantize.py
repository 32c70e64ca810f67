"""Models of integers: against onnxruntime's own quantiser, between the runtimes, and what stays a float."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compiler.onnx.exporter import export
from compiler.operators.quantization import DequantizeLinear
from compiler.passes.known_weights import KnownWeights, with_known_weights
from compiler.passes.pipeline import optimize
from compiler.passes.quantize import Quantized, quantize
from compiler.passes.quantize_static import quantize_static, values_to_measure
from compiler.quantization_schemes import DYNAMIC, FOUR_BITS, STATIC, Choices, Scheme, check_target
from compiler.targets import EXPORT_TARGETS, ORT_CPU
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner
from runtime.value_ranges import Calibration
from tests.models import elaborate

PERCEPTRON = """model M {
    input x: [batch, T, 24]
    output y = x -> Dense(40, activation: relu) -> Dense(40, activation: tanh) -> Dense(12)
}"""
CONVOLUTIONS = """model M {
    input x: [batch, 3, 12, 12]
    output y = x -> Conv2D(12, 3, activation: relu) -> max_pool([2, 2]) -> Conv2D(12, 3, activation: relu) -> Flatten()
        -> Dense(10)
}"""
CELLS = {
    "LSTM": "model M { input x: [batch, T, 9]\n output y = x -> LSTM(16, sequences: true) }",
    "GRU": "model M { input x: [batch, T, 9]\n output y = x -> GRU(16, sequences: true) }",
    "SimpleRNN": "model M { input x: [batch, T, 9]\n output y = x -> SimpleRNN(64, sequences: true) }",
    "both ways": "model M { input x: [batch, T, 9]\n output y = x -> Bidirectional(LSTM(16, sequences: true)) }",
}
TRANSFORMER = """model M(vocabulary = 50) {
    input tokens: i64[batch, T]
    embedding = Embedding(vocabulary, 32)
    h = embedding(tokens) -> TransformerEncoder(1, 4, 64)
    output y = h @ embedding.table^T
}"""
SHAPES: dict[str, tuple[int, ...]] = {PERCEPTRON: (4, 3, 24), CONVOLUTIONS: (4, 3, 12, 12)}


def known_weights(text: str) -> KnownWeights:
    graph = elaborate(text)
    return with_known_weights(optimize(graph), initialize(graph, 0), ORT_CPU)


def feeds_of(text: str, number: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(number)
    if text == TRANSFORMER:
        return {"tokens": random.integers(0, 50, (3, 7))}
    return {"x": random.standard_normal(SHAPES.get(text, (3, 7, 9))).astype(np.float32)}


def integers_of(text: str, scheme: Scheme, **choices: Any) -> tuple[KnownWeights, Quantized]:
    """A model as it was and as one of integers, calibrated on four draws."""
    known = known_weights(text)
    if not scheme.calibrated:
        return known, quantize(known, Choices(scheme, **choices))
    calibration = Calibration(known, values_to_measure(known.graph))
    for number in range(4):
        calibration.run(feeds_of(text, number))
    return known, quantize_static(known, Choices(scheme, **choices), calibration.ranges)


def written(known: KnownWeights) -> onnx.ModelProto:
    model = export(known.graph, weights=known.weights)
    onnx.checker.check_model(model, full_check=True)
    return model


def result(model: onnx.ModelProto, text: str, optimize: bool = True) -> Any:
    return OnnxRunner(model.SerializeToString(), optimize=optimize).run(feeds_of(text))["y"]


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def by_onnxruntime(model: onnx.ModelProto, folder: Path, reduced: bool) -> onnx.ModelProto:
    """The model as onnxruntime's own quantiser makes it, with scales of each call and weights of i8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx.save(model, folder / "float.onnx")
    quantize_dynamic(
        folder / "float.onnx",
        folder / "int8.onnx",
        per_channel=True,
        reduce_range=reduced,
        weight_type=QuantType.QInt8,
    )
    return onnx.load(folder / "int8.onnx")


def weights_in(model: onnx.ModelProto) -> list[list[Any]]:
    """The weights of 8 bits that a model multiplies, less their zero points."""
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    places = {"MatMulInteger": [(1, 3)], "DynamicQuantizeLSTM": [(1, 9), (2, 11)]}
    return [
        (tensors[node.input[weight]].astype(int) - tensors[node.input[zero]].flat[0]).tolist()
        for node in model.graph.node
        for weight, zero in places.get(node.op_type, ())
    ]


QUANTIZED_BY_BOTH = [PERCEPTRON, CELLS["LSTM"], CELLS["both ways"]]


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("text", QUANTIZED_BY_BOTH)
def test_weights_are_those_of_the_quantiser_of_onnxruntime(text: str, reduced: bool, tmp_path: Path) -> None:
    known, ours = integers_of(text, DYNAMIC, reduced=reduced)
    theirs = weights_in(by_onnxruntime(written(known), tmp_path, reduced))
    assert weights_in(written(ours.known)) == theirs and len(theirs) > 1


@pytest.mark.parametrize("text", QUANTIZED_BY_BOTH)
def test_dynamic_scales_give_what_the_quantiser_of_onnxruntime_gives(text: str, tmp_path: Path) -> None:
    """In 7 bits: its weights of 8 bits are i8, of which some processors saturate the products."""
    known, ours = integers_of(text, DYNAMIC, reduced=True)
    theirs = by_onnxruntime(written(known), tmp_path, reduced=True)
    expected, floats = result(theirs, text), result(written(known), text)
    found = result(written(ours.known), text)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
    assert np.abs(found - floats).max() > 1e-4 * np.abs(floats).max(), "it is no model of integers"


_NEAR = {DYNAMIC: 0.03, STATIC: 0.05, FOUR_BITS: 0.25}  # of the largest number, for weights as they are drawn
TEXTS = {"perceptron": PERCEPTRON, "convolutions": CONVOLUTIONS, "transformer": TRANSFORMER, **CELLS}


@pytest.mark.parametrize("scheme", _NEAR, ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("name", TEXTS)
def test_the_runtimes_agree_and_are_near_the_floats(name: str, scheme: Scheme) -> None:
    text = TEXTS[name]
    known, integers = integers_of(text, scheme)
    model = written(integers.known)
    ours = NumpyRunner(integers.known.graph, integers.known.weights).run(feeds_of(text))["y"]
    largest = np.abs(ours).max()
    for optimized in (False, True):  # a number between two integers may be rounded to either
        np.testing.assert_allclose(result(model, text, optimized), ours, atol=0.02 * largest)
    floats = NumpyRunner(known.graph, known.weights).run(feeds_of(text))["y"]
    assert np.abs(ours - floats).max() <= _NEAR[scheme] * np.abs(floats).max()
    assert len(model.SerializeToString()) < 0.75 * len(written(known).SerializeToString())


@pytest.mark.parametrize(
    ("text", "scheme", "wanted"),
    [
        (PERCEPTRON, DYNAMIC, {"DynamicQuantizeLinear": 3, "MatMulInteger": 3}),
        (PERCEPTRON, STATIC, {"QuantizeLinear": 3, "MatMul": 3}),
        (PERCEPTRON, FOUR_BITS, {"MatMulNBits": 3}),
        (CONVOLUTIONS, DYNAMIC, {"ConvInteger": 2, "MatMulInteger": 1}),
        (CONVOLUTIONS, STATIC, {"Conv": 2, "QuantizeLinear": 5, "Gemm": 1}),
        (CELLS["LSTM"], DYNAMIC, {"DynamicQuantizeLSTM": 1}),
        (CELLS["GRU"], DYNAMIC, {"GRU": 1, "DequantizeLinear": 2}),
        (TRANSFORMER, FOUR_BITS, {"Attention": 1, "Gather": 2}),  # rows of the table, and their scales
    ],
)  # fmt: skip
def test_products_become_operators_of_integers(text: str, scheme: Scheme, wanted: dict[str, int]) -> None:
    found = kinds(written(integers_of(text, scheme)[1].known))
    assert {kind: found[kind] for kind in wanted} == wanted


def test_what_only_moves_numbers_keeps_their_scale() -> None:
    """Three scales, of the image and of what each convolution results in: pools and reshapes have none of their own."""
    model = written(integers_of(CONVOLUTIONS, STATIC)[1].known)
    scales = [node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert (len(scales), len(set(scales))) == (5, 3)


@pytest.mark.parametrize(
    ("text", "scheme", "wanted"),
    [
        (CONVOLUTIONS, STATIC, {"QLinearConv": 2, "QGemm": 1, "Conv": 0}),
        (PERCEPTRON, STATIC, {"MatMulIntegerToFloat": 3, "MatMul": 0}),
        (PERCEPTRON, DYNAMIC, {"DynamicQuantizeMatMul": 3, "MatMulInteger": 0}),
    ],
)
@pytest.mark.parametrize("reduced", [False, True])
def test_onnxruntime_fuses_what_is_around_products_of_integers(
    text: str, scheme: Scheme, reduced: bool, wanted: dict[str, int], tmp_path: Path
) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    model = written(integers_of(text, scheme, reduced=reduced)[1].known)
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    found = kinds(onnx.load(options.optimized_model_filepath))
    assert {kind: found[kind] for kind in wanted} == wanted


@pytest.mark.parametrize("scheme", _NEAR, ids=lambda scheme: scheme.name)
def test_weights_that_are_excluded_stay(scheme: Scheme) -> None:
    _, integers = integers_of(PERCEPTRON, scheme, excluded=("dense_2.*",))
    assert integers.kept == ("dense_2.W",)
    assert set(integers.converted) == {"dense.W", "dense_1.W"}


def test_small_weights_stay() -> None:
    known = known_weights("model M { input x: [batch, 3]\n output y = x -> Dense(2) }")
    integers = quantize(known, Choices(DYNAMIC))
    assert integers.known.graph is known.graph and integers.kept == ("dense.W",)


@pytest.mark.parametrize(
    ("reduced", "wanted"),
    [
        (False, {"i8": [(-127, 127)], "u8": [(1, 255)] * 2}),
        (True, {"i8": [(-127, 127), (-64, 64), (-64, 64)]}),
    ],
)
def test_only_weights_of_products_avoid_what_saturates(reduced: bool, wanted: dict[str, list[tuple[int, int]]]) -> None:
    """A table is stored in 8 bits in any case: its rows become floats again."""
    text = """model M {
        input tokens: i64[batch, T]
        output y = tokens -> Embedding(50, 32) -> Dense(40) -> Dense(12)
    }"""
    arrays = quantize(known_weights(text), Choices(DYNAMIC, reduced=reduced)).known.weights
    found: dict[str, list[tuple[int, int]]] = {}
    for array in (arrays[path] for path in arrays if arrays[path].dtype.itemsize == 1):
        found.setdefault(DType.of(array).value, []).append((int(array.min()), int(array.max())))
    assert {dtype: sorted(ranges) for dtype, ranges in found.items()} == wanted


def test_channels_of_zeros_are_what_they_were() -> None:
    graph = elaborate("model M { input x: [batch, 16]\n param W: [16, 32] = 0\n output y = x @ W }")
    known = with_known_weights(optimize(graph), initialize(graph, 0), ORT_CPU)
    for scheme in (DYNAMIC, FOUR_BITS):
        integers = quantize(known, Choices(scheme)).known
        runner = OnnxRunner(export(integers.graph, weights=integers.weights).SerializeToString())
        for rows in (1, 3):
            x = np.ones((rows, 16), np.float32)
            assert runner.run({"x": x})["y"].tolist() == np.zeros((rows, 32)).tolist()
            assert NumpyRunner(integers.graph, integers.weights).run({"x": x})["y"].tolist() == [[0.0] * 32] * rows


def test_a_weight_that_two_products_read_is_stored_once() -> None:
    graph = elaborate("model M { input x: [batch, 32]\n param W: [32, 32] ~ normal(0.1)\n output y = tanh(x @ W) @ W }")
    known = with_known_weights(optimize(graph), initialize(graph, 0), ORT_CPU)
    model = written(quantize(known, Choices(DYNAMIC)).known)
    integers = [tensor.name for tensor in model.graph.initializer if tensor.dims == [32, 32]]
    assert integers == ["W.uint8"]


def test_values_that_are_not_finite_cannot_be_calibrated() -> None:
    known = known_weights(PERCEPTRON)
    calibration = Calibration(known, values_to_measure(known.graph))
    with pytest.raises(NablacError) as caught:
        calibration.run({"x": np.full((1, 1, 24), np.inf, np.float32)})
    assert caught.value.diagnostics[0].code == "E918"


@pytest.mark.parametrize("name", sorted(set(EXPORT_TARGETS) - {"ort-cpu"}))
def test_targets_without_the_kernels_are_refused(name: str) -> None:
    with pytest.raises(NablacError) as caught:
        check_target(DYNAMIC, EXPORT_TARGETS[name])
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == f"`--target {name}` has no kernels for models in int8"
    assert diagnostic.hint == "choose `--target ort-cpu`, or a smaller float: `--dtype f16`"


def test_weights_of_recurrences_are_restored_outside_of_their_steps() -> None:
    graph = integers_of(CELLS["SimpleRNN"], DYNAMIC)[1].known.graph
    assert any(isinstance(node.op, DequantizeLinear) for node in graph)
