"""GELU in the forms of its gate that OpenCV does not take for the whole function.

Run on export, for targets that end the process where the gate of a GELU, as people write it, is multiplied by something
else than its argument: in a gradient, or in a gated layer.
"""

from __future__ import annotations

import math

from compiler.graph import Value
from compiler.operators.activations import Erf, Tanh
from compiler.operators.arithmetic import Div
from compiler.operators.leaves import constant
from compiler.passes.fuse_activations import CUBIC, ROOT, scaled_polynomial
from compiler.passes.rules import Rules, near, pattern_of, rule, variables

(x,) = variables("x")


def _by_tanh(x: Value) -> Value:
    slope = x * x * constant(CUBIC * ROOT, x.type.dtype) + constant(ROOT, x.type.dtype)
    return Tanh()(slope * x)


GATES: Rules = (
    rule("tanh of the polynomial of a GELU", pattern_of(Tanh)(scaled_polynomial), _by_tanh, keeps="rounding"),
    rule(
        "erf of x / sqrt(2)",
        pattern_of(Erf)(pattern_of(Div)(x, near(math.sqrt(2)))),
        lambda x: Erf()(x * constant(math.sqrt(0.5), x.type.dtype)),
        keeps="rounding",
    ),
)
