"""A bias added to each channel of a convolution becomes an operand of the convolution, as in the ONNX operator."""

from __future__ import annotations

from compiler.graph import Value
from compiler.operators.arithmetic import Add
from compiler.operators.convolution import Conv
from compiler.operators.shaping import Reshape
from compiler.origins import origin
from compiler.passes.channels import is_by_channel
from compiler.passes.rules import Rules, pattern_of, rule, variables

x, w, b = variables("x w b")
add, conv = pattern_of(Add), pattern_of(Conv)


def _add_bias(c: Value, x: Value, w: Value, b: Value) -> Value:
    convolution = c.node
    with origin(convolution.origin.span, convolution.origin.path):
        return convolution.op(x, w, Reshape((w.shape[0],))(b))


BIAS: Rules = (
    rule(
        "conv(x, w) + b",
        add(conv(x, w).named("c").only_use, b),
        _add_bias,
        when=lambda c, b: is_by_channel(b, c),
        keeps="rounding",
    ),
)
