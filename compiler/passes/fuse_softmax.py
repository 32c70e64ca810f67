"""Softmax, written out, becomes the operator: `e / sum(e)` with `e = exp(x - max(x))`, and `exp(log_softmax(x))`.

`exp(x) / sum(exp(x))` without the maximum is not fused: it overflows, and is NaN where all of x is far below 0.
"""

from __future__ import annotations

from compiler.graph import Value
from compiler.operators.arithmetic import Div, Sub
from compiler.operators.normalization import LogSoftmax, Softmax
from compiler.operators.powers import Exp
from compiler.operators.reductions import Max, Sum
from compiler.passes.rules import Rules, pattern_of, rule, variables

x, axis = variables("x axis")
exp, sub, div, log_softmax = pattern_of(Exp), pattern_of(Sub), pattern_of(Div), pattern_of(LogSoftmax)
max_, sum_ = pattern_of(Max), pattern_of(Sum)
e = exp(sub(x, max_(x).named("largest")))

SOFTMAX: Rules = (
    rule("exp(log_softmax(x))", exp(log_softmax(x, axis=axis)), lambda x, axis: Softmax(axis)(x), keeps="rounding"),
    rule(
        "e / sum(e)",
        div(e, sum_(e).named("total")),
        lambda x, total: Softmax(*_kept_axes(total))(x),
        when=lambda total, largest: len(_kept_axes(total)) == 1 and _kept_axes(total) == _kept_axes(largest),
        keeps="rounding",
    ),
)


def _kept_axes(reduced: Value) -> tuple[int, ...]:
    """The axes of a reduction that keeps them with length 1; none for one that does not."""
    op = reduced.node.op
    assert isinstance(op, (Sum, Max))
    return op.folded_axes(reduced.node.operands[0].type.rank) if op.keep else ()
