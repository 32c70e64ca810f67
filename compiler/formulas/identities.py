"""Rules that make equations shorter to read: true in exact arithmetic, and applied to no graph that runs."""

from __future__ import annotations

from compiler.graph import Value
from compiler.operators.arithmetic import Add, Div, Mul, Neg, Sub
from compiler.operators.indexing import OneHot, ScatterElements
from compiler.operators.making import number_of, reshape
from compiler.operators.reductions import Sum
from compiler.operators.shaping import Expand, Reshape, Squeeze, Transpose, Unsqueeze
from compiler.passes.merge_reductions import REDUCTIONS
from compiler.passes.rules import Rules, pattern_of, rule, variables

x, y, z, zero, axes, axis = variables("x y z zero axes axis")
add, sub, mul, neg = pattern_of(Add), pattern_of(Sub), pattern_of(Mul), pattern_of(Neg)
sum_, one_hot = pattern_of(Sum), pattern_of(OneHot)


def _is_last(axis: int, rank: int) -> bool:
    return axis in (-1, rank - 1)


def _scatters_rows(zero: Value, axes: tuple[int, ...], axis: int, whole: Value) -> bool:
    """Whether one number is written into each row of zeros, along the last axis."""
    rank = whole.type.rank
    return number_of(zero) == 0 and _is_last(axis, rank) and len(axes) == 1 and _is_last(axes[0], rank)


def _is_row_sum(y: Value, axes: tuple[int, ...], whole: Value) -> bool:
    """Whether a sum over the last axis is of rows that hold one factor each."""
    return len(axes) == 1 and _is_last(axes[0], whole.type.rank) and y.shape[-1:] in ((), (1,))


def _in_shape(y: Value, whole: Value) -> Value:
    return reshape(y, whole.shape) if y.type.rank else Expand(whole.shape)(y)


# A replacement of another type is rejected: `x + 0` applies only where x has the shape of the result.
READABLE: Rules = (
    *REDUCTIONS,
    rule("x + 0", add(x, y), lambda x: x, when=lambda y: number_of(y) == 0),
    rule("0 - x", sub(y, x), lambda x: -x, when=lambda y: number_of(y) == 0),
    rule("x * 0", mul(x, y), lambda y: y, when=lambda y: number_of(y) == 0),
    rule("x + (-y)", add(x, neg(y)), lambda x, y: x - y),
    rule("x - (-y)", sub(x, neg(y)), lambda x, y: x + y),
    rule("x * (-y)", mul(x, neg(y)), lambda x, y: -(x * y)),
    rule("x * y + x * z", add(mul(x, y), mul(x, z)), lambda x, y, z: x * (y + z)),
    rule("x * y - x * z", sub(mul(x, y), mul(x, z)), lambda x, y, z: x * (y - z)),
    rule(
        "one number everywhere, in another shape",
        pattern_of(Unsqueeze, Reshape, Squeeze, Transpose)(pattern_of(Expand)(x)).named("whole"),
        lambda x, whole: Expand(whole.shape)(x),
        when=lambda x: x.type.rank == 0,
    ),
    rule(
        "a number in a shape of ones, copied",
        pattern_of(Expand)(pattern_of(Unsqueeze, Reshape)(x)).named("whole"),
        lambda x, whole: Expand(whole.shape)(x),
        when=lambda x: x.type.rank == 0,
    ),
    rule("-x / y", pattern_of(Div)(neg(x), y), lambda x, y: -(x / y)),
    rule(
        "-x in another shape",
        pattern_of(Unsqueeze, Reshape, Squeeze, Transpose)(neg(x)).named("whole"),
        lambda x, whole: -whole.node.op(x),
    ),
    rule("a copied -x", pattern_of(Expand)(neg(x)).named("whole"), lambda x, whole: -Expand(whole.shape)(x)),
    rule("the sum of 0", sum_(pattern_of(Expand)(x)), lambda x: x, when=lambda x: number_of(x) == 0),
    rule(
        "a sum that keeps axes which are then dropped",
        pattern_of(Reshape, Squeeze)(sum_(x, axes=axes, keep=True)),
        lambda x, axes: Sum(axes)(x),
    ),
    rule(
        "one number in each row of zeros",
        pattern_of(ScatterElements)(zero, pattern_of(Unsqueeze)(x, axes=axes), y, axis=axis, reduction="add").named(
            "whole"
        ),
        lambda x, y, whole: OneHot(whole.shape[-1], -1, whole.type.dtype)(x) * y,
        when=_scatters_rows,
    ),
    rule(
        "the sum of one_hot(x) * y",
        sum_(mul(one_hot(x, axis=-1), y), axes=axes, keep=True).named("whole"),
        lambda y, whole: _in_shape(y, whole),
        when=lambda y, axes, whole: _is_row_sum(y, axes, whole),
    ),
    rule(
        "the sum of -one_hot(x) * y",
        sum_(neg(mul(one_hot(x, axis=-1), y)), axes=axes, keep=True).named("whole"),
        lambda y, whole: -_in_shape(y, whole),
        when=lambda y, axes, whole: _is_row_sum(y, axes, whole),
    ),
)
