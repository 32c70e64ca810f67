"""Integers of 8 and 4 bits that stand for floats, and their products: ONNX's own test cases, and its operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from compiler.graph import Operator
from compiler.operators.integer_products import ConvInteger, MatMulInteger
from compiler.operators.packed_products import MatMulNBits, pack, unpack
from compiler.operators.quantization import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear, quantize_to_range
from compiler.operators.quantized_lstm import DynamicQuantizeLstm
from compiler.operators.recurrent import LSTM
from compiler.passes.integer_weights import FACTORS, SMALL_FACTORS, ByteForm
from compiler.types import DType
from tests.compiler.operators.harness import OperatorCases, case, each, integers, normal, refuses, uniform

if TYPE_CHECKING:
    from compiler.types import Array

pytest.importorskip("torch", reason="the oracle extra is not installed")

F32 = (DType.F32,)  # onnxruntime's kernels of these operators are of no other float
_U8, _I8 = np.array(128, np.uint8), np.array(0, np.int8)


def bytes_of(shape: tuple[int, ...], dtype: str) -> Callable[[np.random.Generator], Array]:
    """Integers of 8 bits."""
    limits = np.iinfo(dtype)
    return integers(shape, limits.max + 1, limits.min, dtype)


def factors(shape: tuple[int, ...], form: ByteForm) -> Callable[[np.random.Generator], Array]:
    """Weights of products, which every processor can add."""
    return integers(shape, form.zero + form.largest + 1, form.zero - form.largest, form.suffix)


def scales(shape: tuple[int, ...]) -> Callable[[np.random.Generator], Array]:
    return uniform(shape, 0.01, 0.2)


def lstm_weights(directions: int, size: int, hidden: int, form: ByteForm) -> tuple[dict[str, Any], dict[str, Any]]:
    """The operands of a quantised LSTM after x: weights and biases, and what comes after states and peepholes."""
    zeros = np.full((directions, 4 * hidden), form.zero, form.dtype.numpy)
    return {
        "w": factors((directions, size, 4 * hidden), form),
        "r": factors((directions, hidden, 4 * hidden), form),
        "b": (directions, 8 * hidden),
    }, {
        "ws": uniform((directions, 4 * hidden), 0.002, 0.006),
        "wz": zeros,
        "rs": uniform((directions, 4 * hidden), 0.002, 0.006),
        "rz": zeros,
    }


_ONE, _ONE_SCALES = lstm_weights(1, 3, 5, SMALL_FACTORS)
_TWO, _TWO_SCALES = lstm_weights(2, 3, 5, FACTORS)
_NO_DIMS: dict[str, int] = {}

CASES = (
    case("to u8", QuantizeLinear(), x=normal((3, 4), scale=9), s=np.array(0.1), z=_U8, dtypes=F32),
    case("to i8 by rows", QuantizeLinear(0), x=normal((3, 4), scale=9), s=scales((3,)), z=bytes_of((3,), "int8"),
         dtypes=F32),
    case("from i8 by columns", DequantizeLinear(1), q=bytes_of((3, 4), "int8"), s=scales((4,)),
         z=bytes_of((4,), "int8"), dtypes=F32),
    case("from u8", DequantizeLinear(), q=bytes_of((3, 4, 2), "uint8"), s=np.array(0.3), z=_U8, dtypes=F32),
    case("to its own range", DynamicQuantizeLinear(), x=(3, 4), dtypes=F32),
    case("above 0", DynamicQuantizeLinear(), x=uniform((5,), 2, 3), dtypes=F32),
    case("zeros", DynamicQuantizeLinear(), x=np.zeros((5,)), dtypes=F32),
    case("u8 by i8", MatMulInteger(), x=bytes_of((2, 3), "uint8"), w=factors((3, 4), SMALL_FACTORS), z=_U8, wz=_I8),
    case("a batch of u8 by u8", MatMulInteger(), x=bytes_of((5, 2, 3), "uint8"), w=bytes_of((3, 4), "uint8"), z=_U8,
         wz=np.array(77, np.uint8)),
    case("images of u8", ConvInteger(pads=(1, 1, 1, 1), strides=(2, 2)), x=bytes_of((2, 3, 7, 6), "uint8"),
         w=factors((4, 3, 3, 3), SMALL_FACTORS), z=_U8, wz=_I8, named={"n": 2}),
    case("groups of channels", ConvInteger(groups=2), x=bytes_of((2, 4, 5, 5), "uint8"),
         w=bytes_of((6, 2, 3, 3), "uint8"), z=_U8, wz=_U8, named=_NO_DIMS),
    case("4 bits", MatMulNBits(40, 32), x=(3, 40), packed=bytes_of((6, 2, 16), "uint8"), s=scales((6, 2)),
         named={"n": 3}, dtypes=F32),
    case("an LSTM", DynamicQuantizeLstm(5), x=(4, 2, 3), **_ONE, **_ONE_SCALES, named={"t": 4, "n": 2}, rtol=1e-4,
         dtypes=F32),
    case("from states, both ways", DynamicQuantizeLstm(5, "bidirectional"), x=(4, 6, 3), **_TWO, h=(2, 6, 5),
         c=(2, 6, 5), **_TWO_SCALES, named={"t": 4}, rtol=1e-4, dtypes=F32),
    case("with peepholes, backwards", DynamicQuantizeLstm(5, "reverse", peepholes=True), x=(4, 6, 3), **_ONE,
         h=(1, 6, 5), c=(1, 6, 5), p=(1, 15), **_ONE_SCALES, named={"t": 4}, rtol=1e-4, dtypes=F32),
)  # fmt: skip


@each(CASES)
class TestQuantization(OperatorCases):
    pass


# The examples of ONNX's specification, https://onnx.ai/onnx/operators


def u8(numbers: Any) -> Array:
    return np.asarray(numbers, np.uint8)


def i32(numbers: Any) -> Array:
    return np.asarray(numbers, np.int32)


def f32(numbers: Any) -> Array:
    return np.asarray(numbers, np.float32)


_CHANNELS = np.array([[[[-162, 10], [-100, 232], [-20, -50]], [[-76, 0], [0, 252], [32, -44]],
                       [[245, -485], [-960, -270], [-375, -470]]]], np.float32)  # fmt: skip
_OF_CHANNELS = np.array([[[[3, 89], [34, 200], [74, 59]], [[5, 24], [24, 87], [32, 13]],
                          [[245, 99], [4, 142], [121, 102]]]], np.uint8)  # fmt: skip
_IMAGE = np.arange(2, 11, dtype=np.uint8).reshape(1, 1, 3, 3)
_ONES = np.ones((1, 1, 2, 2), np.uint8)

PUBLISHED: tuple[tuple[Operator, tuple[Any, ...], tuple[Any, ...]], ...] = (
    (QuantizeLinear(), (f32([0, 2, 3, 1000, -254, -1000]), f32(2), u8(128)), (u8([128, 129, 130, 255, 1, 0]),)),
    (QuantizeLinear(1), (_CHANNELS, f32([2, 4, 5]), u8([84, 24, 196])), (_OF_CHANNELS,)),
    (DequantizeLinear(), (u8([0, 3, 128, 255]), f32(2), u8(128)), (f32([-256, -250, 0, 254]),)),
    (DynamicQuantizeLinear(), (f32([0, 2, -3, -2.5, 1.34, 0.5]),),
     (u8([153, 255, 0, 26, 221, 179]), f32(0.0196078438), u8(153))),
    (DynamicQuantizeLinear(), (f32([-1, -2.1, -1.3, -2.5, -3.34, -4]),),
     (u8([191, 121, 172, 96, 42, 0]), f32(0.0156862754), u8(255))),
    (DynamicQuantizeLinear(), (f32([[1, 2.1, 1.3, 2.5], [3.34, 4, 1.5, 2.6], [3.9, 4, 3, 2.345]]),),
     (u8([[64, 134, 83, 159], [213, 255, 96, 166], [249, 255, 191, 149]]), f32(0.0156862754), u8(0))),
    (MatMulInteger(), (u8([[11, 7, 3], [10, 6, 2], [9, 5, 1], [8, 4, 0]]), u8([[1, 4], [2, 5], [3, 6]]), u8(12), u8(0)),
     (i32([[-38, -83], [-44, -98], [-50, -113], [-56, -128]]),)),
    (ConvInteger(), (_IMAGE, _ONES, u8(1), u8(0)), (i32([[[[12, 16], [24, 28]]]]),)),
    (ConvInteger(pads=(1, 1, 1, 1)), (_IMAGE, _ONES, u8(1), u8(0)),
     (i32([[[[1, 3, 5, 3], [5, 12, 16, 9], [11, 24, 28, 15], [7, 15, 17, 9]]]]),)),
)  # fmt: skip


@pytest.mark.parametrize(("op", "operands", "results"), PUBLISHED, ids=[str(row[0]) for row in PUBLISHED])
def test_the_examples_of_the_specification_hold(
    op: Operator, operands: tuple[Any, ...], results: tuple[Any, ...]
) -> None:
    ours = op.compute(*map(np.asarray, operands))
    for mine, published in zip(ours if isinstance(ours, tuple) else (ours,), results, strict=True):
        assert mine.dtype == published.dtype
        np.testing.assert_array_equal(mine, published)


# Rules


@pytest.mark.parametrize(
    ("numbers", "scale", "zero"),
    [([0.0, 2.55], 0.01, 0), ([-1.0, 1.55], 0.01, 100), ([1.0, 2.0], 2 / 255, 0), ([-2.0, -1.0], 2 / 255, 255),
     ([0.0, 0.0], 1.0, 0), ([], 1.0, 0)],
)  # fmt: skip
def test_a_range_is_widened_to_0(numbers: list[float], scale: float, zero: int) -> None:
    q, found_scale, found_zero = quantize_to_range(np.array(numbers, np.float32))
    assert found_scale == pytest.approx(scale, rel=1e-6)
    assert found_zero == zero
    np.testing.assert_allclose((q.astype(int) - zero) * scale, numbers, atol=scale / 2 + 1e-6)


def test_ties_are_rounded_to_even_and_what_is_beyond_is_clipped() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, 300, -300, np.nan], np.float32)
    q = QuantizeLinear().compute(x, np.array(1, np.float32), np.array(0, np.int8))
    assert q.tolist() == [0, 2, 2, 0, 127, -128, 0]


@pytest.mark.parametrize("inner", [1, 31, 32, 33, 64])
def test_4_bits_are_as_near_as_a_step_of_their_block(inner: int) -> None:
    w = np.random.default_rng(inner).standard_normal((inner, 3)).astype(np.float32)
    packed, block_scales = pack(w, 32)
    steps = np.repeat(np.abs(block_scales), 32, axis=1)[:, :inner].T
    assert np.all(np.abs(unpack(packed, block_scales, inner) - w) <= steps * (1 + 1e-5))
    np.testing.assert_allclose(  # the largest of a block is exact
        np.abs(unpack(packed, block_scales, inner)).max(axis=0), np.abs(w).max(axis=0), rtol=1e-6
    )
    assert packed.dtype == np.uint8


def test_a_quantised_lstm_is_near_the_lstm_of_its_weights() -> None:
    random = np.random.default_rng(0)
    table = next(each for each in CASES if each.label == "from states, both ways")
    x, w, r, b, h, c, ws, wz, rs, rz = table.arrays
    exact = ((each.astype(float) - zero[:, None]) * scale[:, None] for each, zero, scale in ((w, wz, ws), (r, rz, rs)))
    floats = [np.swapaxes(each, 1, 2) for each in exact]
    x = random.standard_normal(x.shape)
    ours = DynamicQuantizeLstm(5, "bidirectional").compute(x, w, r, b, h, c, ws, wz, rs, rz)
    theirs = LSTM(5, "bidirectional").compute(x, *floats, b, h, c)
    for mine, float_result in zip(ours, theirs, strict=True):
        assert 0 < np.abs(mine - float_result).max() < 0.02


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        (QuantizeLinear(), ("f32[2, 3]", "f32[2]", "u8[2]"),
         "f32[2, 3] has no scales f32[2] with zero points u8[2] along axis 1"),
        (QuantizeLinear(), ("f32[2, 3]", "f32[]", "i32[]"),
         "expected a float scale and a zero point of 8 bits, got f32[] and i32[]"),
        (DequantizeLinear(), ("u8[2, 3]", "f32[]", "i8[]"), "u8[2, 3] and its zero point i8[] have different dtypes"),
        (DynamicQuantizeLinear(), ("i64[2]",), "expected a float tensor, got i64[2]"),
        (MatMulInteger(), ("u8[2, 3]", "f32[3, 4]", "u8[]", "i8[]"),
         "expected integers of 8 bits, got u8[2, 3] and f32[3, 4]"),
        (MatMulInteger(), ("u8[2, 3]", "i8[3, 4]", "i8[]", "i8[]"),
         "the zero point of u8[2, 3] must be u8[], not i8[]"),
        (ConvInteger(), ("u8[1, 3, 4]", "u8[2, 3, 1]", "u8[]", "u8[2]"),
         "the zero point of u8[2, 3, 1] must be u8[], not u8[2]"),
        (DynamicQuantizeLstm(5), ("f32[4, 2, 3]", "u8[1, 3, 20]", "i8[1, 5, 20]", "f32[1, 40]", *["f32[1, 20]"] * 4),
         "the weights must be both i8 or both u8, of three axes, not u8[1, 3, 20] and i8[1, 5, 20]"),
        (MatMulNBits(40), ("f32[2, 40]", "u8[6, 1, 16]", "f32[6, 1]"),
         "expected u8[6, 2, 16] and f32[6, 2], got u8[6, 1, 16] and f32[6, 1]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: Operator, types: tuple[str, ...], message: str) -> None:
    assert str(refuses(op, *types)) == message
