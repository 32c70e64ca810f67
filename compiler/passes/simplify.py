"""Algebraic identities: operators that change nothing are removed, and those that undo the one before, with it.

Keeps the bits, also of NaN, infinities and -0: `x + 0` stays, since x may be -0, and `x * 0` is not an identity.
"""

from __future__ import annotations

import math

from compiler.graph import Value
from compiler.operators.arithmetic import Add, Div, Mul, Neg, Sub
from compiler.operators.casting import Cast
from compiler.operators.leaves import Constant
from compiler.operators.powers import Pow, Sqrt
from compiler.operators.shaping import Expand, Flip, Reshape, Squeeze, Transpose, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.passes.rules import Rules, is_everywhere, pattern_of, rule, variables

x, zero, axes, inner, outer = variables("x zero axes inner outer")
add, sub, mul, div, pow_, neg = (
    pattern_of(Add),
    pattern_of(Sub),
    pattern_of(Mul),
    pattern_of(Div),
    pattern_of(Pow),
    pattern_of(Neg),
)
transpose, reshape, flip, cast = pattern_of(Transpose), pattern_of(Reshape), pattern_of(Flip), pattern_of(Cast)
squeeze_or_unsqueeze = pattern_of(Squeeze, Unsqueeze)

NUMBERS: Rules = (
    rule("x + -0", add(x, zero), lambda x: x, when=lambda zero: _is_zero(zero, sign=-1)),
    rule("x - 0", sub(x, zero), lambda x: x, when=lambda zero: _is_zero(zero, sign=1)),
    rule("x * 1", mul(x, 1), lambda x: x),
    rule("x / 1", div(x, 1), lambda x: x),
    rule("x ** 1", pow_(x, 1), lambda x: x),
    rule("x ** 2", pow_(x, 2), lambda x: x * x),
    rule(
        "x ** 0.5", pow_(x, 0.5), lambda x: Sqrt()(x)
    ),  # like the NumPy kernel; a power of -infinity would be infinity
    rule("-(-x)", neg(neg(x)), lambda x: x),
)
SHAPES: Rules = (
    rule(
        "two transposes",
        transpose(transpose(x, permutation=inner), permutation=outer),
        lambda x, inner, outer: Transpose(tuple(inner[axis] for axis in outer))(x),
    ),
    rule(
        "a transpose of no axes",
        transpose(x, permutation=outer),
        lambda x: x,
        when=lambda outer: outer == tuple(range(len(outer))),
    ),
    # A replacement of another type is rejected, so that these apply only where the shape stays the same.
    rule("a reshape to the same shape", pattern_of(Reshape, Expand, Slice)(x), lambda x: x),
    rule(
        "two reshapes",
        reshape(pattern_of(Reshape, Squeeze, Unsqueeze)(x)).named("whole"),
        lambda x, whole: Reshape(whole.shape)(x),
    ),
    rule("axes added and taken away", squeeze_or_unsqueeze(squeeze_or_unsqueeze(x)), lambda x: x),
    rule("two flips", flip(flip(x, axes=axes), axes=axes), lambda x: x),
    rule("a cast to the same dtype", cast(x), lambda x: x),
)
IDENTITIES = NUMBERS + SHAPES


def _is_zero(value: Value, sign: int) -> bool:
    """Whether a value is 0 everywhere, and of floats the zero of this sign: -0 + 0 is 0."""
    if not is_everywhere(value, 0):
        return False
    while isinstance(value.node.op, Expand):
        value = value.node.operands[0]
    op = value.node.op
    assert isinstance(op, Constant)
    if not value.type.dtype.is_float:
        return True
    return all(math.copysign(1, number) == sign for number in op.compute().astype(float).flat)
