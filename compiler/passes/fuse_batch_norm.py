"""Batch normalisation with known statistics, written out, becomes ONNX's operator.

It is `(x - mean) / sqrt(variance + eps) * g + b` with a number for each channel, axis 1 of x, in each of the vectors;
they may be reshaped to `[channels, 1, ...]` before, within or after their arithmetic. Where the weights are known, a
scale and a shift of each channel are left of it, which are one node of that operator too.
"""

from __future__ import annotations

import math

from compiler.graph import Value
from compiler.operators.arithmetic import Add, Div, Mul, Reciprocal, Sub
from compiler.operators.channel_normalization import BatchNormalization
from compiler.operators.leaves import Constant
from compiler.operators.making import number_of, reshape
from compiler.operators.powers import Pow, Sqrt
from compiler.operators.shaping import Reshape, Unsqueeze
from compiler.passes.channels import is_by_channel
from compiler.passes.known import is_known, is_weight
from compiler.passes.recognition import recognition
from compiler.passes.rules import Either, Pattern, Rules, either, pattern_of, rule, variables
from compiler.types import DType

x, average, variance, eps, g, b = variables("x average variance eps g b")
add, sub, mul, div, sqrt = (pattern_of(operator) for operator in (Add, Sub, Mul, Div, Sqrt))
reciprocal, pow_ = pattern_of(Reciprocal), pattern_of(Pow)


def _column(pattern: Pattern) -> Either:
    """A vector, or the vector as a column: `[channels, 1, ...]`."""
    return either(pattern_of(Reshape, Unsqueeze)(pattern), pattern)


_inside = _column(add(_column(variance), eps))
_root = _column(sqrt(_inside))
_inverse = _column(either(div(1, _root), reciprocal(_root), pow_(_inside, -0.5)))
_slope = _column(either(div(_column(g), _root), mul(_inverse, _column(g))))
_centred = sub(x, average)
_normal = either(
    mul(_centred, _slope).named("scaled"),
    mul(either(div(_centred, _root).named("divided"), mul(_centred, _inverse).named("divided")), g).named("scaled"),
)


def _normalizes_by_channel(
    x: Value, average: Value, variance: Value, eps: Value, g: Value, b: Value, scaled: Value, divided: Value | None
) -> bool:
    """Whether the vectors have a number for each channel, and all that meets `x` meets it there."""
    if x.type.rank < 2 or x.type.dtype not in (DType.F32, DType.F64):
        return False
    channels, number = x.shape[1], number_of(eps)
    vectors = all(vector.type.elements == channels for vector in (average, variance, g, b))
    results = [scaled] if divided is None else [scaled, divided]
    meeting = (average, b, *(operand for result in results for operand in result.node.operands))
    columns = all(operand.type == x.type or is_by_channel(operand, x) for operand in meeting)
    return vectors and columns and number is not None and 0 <= number < math.inf


def _batch_norm(x: Value, average: Value, variance: Value, eps: Value, g: Value, b: Value) -> Value:
    vectors = (_vector(vector, x) for vector in (g, b, average, variance))
    return BatchNormalization(number_of(eps) or 0.0)(x, *vectors)


def _vector(column: Value, x: Value) -> Value:
    """A column as a vector; that which was reshaped to the column, where it is one."""
    shape = (x.shape[1],)
    if isinstance(column.node.op, (Reshape, Unsqueeze)) and column.node.operands[0].shape == shape:
        return column.node.operands[0]
    return column if column.shape == shape else reshape(column, shape)


BATCH_NORM: Rules = (recognition("batch norm", add(_normal, b), _batch_norm, when=_normalizes_by_channel),)


def _is_scale_by_channel(x: Value, g: Value, b: Value) -> bool:
    """Whether `x * g + b` has a known number for each channel in `g` and in `b`, weights among them."""
    if x.type.rank < 2 or x.type.dtype not in (DType.F32, DType.F64) or is_known(x):
        return False
    vectors = all(is_by_channel(vector, x) and is_known(vector) for vector in (g, b))
    return vectors and is_weight(g) and is_weight(b)


def _scale_by_channel(x: Value, g: Value, b: Value) -> Value:
    dtype, length = x.type.dtype, math.prod(g.type.numeric_shape)
    zeros, ones = (Constant(x.type.with_shape(x.shape[1]), dtype.pack(n) * length)() for n in (0.0, 1.0))
    return BatchNormalization(0.0)(x, _vector(g, x), _vector(b, x), zeros, ones)


SCALES: Rules = (
    rule(
        "x * g + b",
        add(mul(x, g).only_use, b),
        _scale_by_channel,
        when=_is_scale_by_channel,
        keeps="rounding",
    ),
)
