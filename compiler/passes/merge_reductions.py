"""What gradients of broadcasts leave behind: sums of sums, sums of negated values, and copies that only broadcast.

Keeps results to within rounding.
"""

from __future__ import annotations

from compiler.graph import Node, Value
from compiler.operators.arithmetic import Add, Div, Mul, Neg, Sub
from compiler.operators.reductions import Sum
from compiler.operators.shaping import Expand, Reshape
from compiler.passes.rules import Rules, pattern_of, rule, variables

x, y = variables("x y")
sum_, expand = pattern_of(Sum), pattern_of(Expand)


def _merged(inner: Node, outer: Node) -> Value:
    """One sum over the axes of two, in the shape of the second."""
    first, second = inner.op, outer.op
    assert isinstance(first, Sum) and isinstance(second, Sum)
    (x,) = inner.operands
    folded = first.folded_axes(x.type.rank)
    left = [axis for axis in range(x.type.rank) if first.keep or axis not in folded]
    more = (left[axis] for axis in second.folded_axes(len(left)))
    total = Sum(tuple(sorted({*folded, *more})), second.keep)(x)
    return total if total.type == outer.result.type else Reshape(outer.result.shape)(total)


REDUCTIONS: Rules = (
    rule(
        "a sum of sums",
        sum_(sum_(x).named("inner").only_use).named("outer"),
        lambda inner, outer: _merged(inner.node, outer.node),
        when=lambda x: x.type.dtype.is_float,
        keeps="rounding",
    ),
    rule(
        "a sum of negated values",
        sum_(pattern_of(Neg)(x).only_use).named("total"),
        lambda x, total: -total.node.op(x),
        when=lambda x: x.type.dtype.is_float,
        keeps="rounding",
    ),
    rule(
        "an operand that is expanded to the other's shape",
        pattern_of(Add, Sub, Mul, Div)(expand(x), y).named("result"),
        lambda x, y, result: result.node.op(x, y),
    ),
    rule(
        "the other operand",
        pattern_of(Add, Sub, Mul, Div)(y, expand(x)).named("result"),
        lambda x, y, result: result.node.op(y, x),
    ),
)
