"""Activations, written out, become operators: GELU, hard sigmoid and swish, Mish, SiLU, in the forms people write.

Numbers such as `sqrt(2 / pi)` may be rounded to eight digits. What is close to an activation but another function, such
as `x * sigmoid(1.702 * x)`, is left alone, and so is one whose parts are used elsewhere, as by its gradient.
"""

from __future__ import annotations

import math

from compiler.operators.activations import Erf, Relu, Sigmoid, Softplus, Tanh
from compiler.operators.arithmetic import Add, Clip, Div, Maximum, Minimum, Mul, Neg, Reciprocal
from compiler.operators.casting import Cast
from compiler.operators.fused_activations import Gelu, HardSigmoid, HardSwish, Mish, Silu
from compiler.operators.powers import Exp, Log, Log1p, Pow
from compiler.passes.recognition import in_f32, recognition
from compiler.passes.rules import Either, Pattern, Rules, either, near, pattern_of, variables

(x,) = variables("x")
add, mul, div, pow_, neg, clip = (pattern_of(operator) for operator in (Add, Mul, Div, Pow, Neg, Clip))
exp, log, log1p, erf, tanh, cast = (pattern_of(operator) for operator in (Exp, Log, Log1p, Erf, Tanh, Cast))
maximum, minimum, relu, reciprocal = (pattern_of(operator) for operator in (Maximum, Minimum, Relu, Reciprocal))
sigmoid, softplus, hard_sigmoid = pattern_of(Sigmoid), pattern_of(Softplus), pattern_of(HardSigmoid)


def _times(pattern: Pattern, number: float) -> Either:
    """A pattern multiplied by a number, or divided by its reciprocal."""
    return either(mul(pattern, near(number)), div(pattern, near(1 / number)))


def _with_gate(gate: Pattern) -> Either:
    """`0.5 * x * (1 + gate)`, multiplied in any order or multiplied out."""
    above = add(gate, 1)
    return either(
        _times(mul(x, above), 0.5),
        mul(_times(x, 0.5), above),
        mul(x, either(_times(above, 0.5), add(_times(gate, 0.5), 0.5))),
        add(_times(x, 0.5), mul(_times(x, 0.5), gate)),
        _times(add(x, mul(x, gate)), 0.5),
    )


ROOT = math.sqrt(2 / math.pi)
CUBIC = 0.044715
_square = either(mul(x, x), pow_(x, 2))
_cube = either(mul(_square, x), pow_(x, 3))
_scaled_square = either(_times(_square, CUBIC), mul(_times(x, CUBIC), x))
_cubic = either(_times(_cube, CUBIC), mul(_scaled_square, x))
_slope = add(_scaled_square, 1)
_polynomial = either(add(x, _cubic), mul(x, _slope))
scaled_polynomial = either(
    _times(_polynomial, ROOT),
    mul(_times(x, ROOT), _slope),
    add(_times(x, ROOT), _times(_cube, ROOT * CUBIC)),
)

_raised = add(x, 3)
_six = either(
    clip(_raised, low=0, high=6),
    minimum(either(relu(_raised), maximum(_raised, 0)), 6),
    maximum(minimum(_raised, 6), 0),
    clip(either(relu(_raised), maximum(_raised, 0)), low=None, high=6),
)
_above_exp = add(exp(neg(x)), 1)
_logistic = either(sigmoid(x), reciprocal(_above_exp), div(1, _above_exp))
_softplus = either(softplus(x), log1p(exp(x)), log(add(exp(x), 1)))

ACTIVATIONS: Rules = (
    recognition("gelu", _with_gate(erf(_times(x, math.sqrt(0.5)))), lambda x: Gelu()(x)),
    recognition("gelu by tanh", _with_gate(tanh(scaled_polynomial)), lambda x: Gelu(True)(x)),
    recognition(
        "hard sigmoid",
        either(_times(_six, 1 / 6), clip(add(_times(x, 1 / 6), 0.5), low=0, high=1)),
        lambda x: HardSigmoid()(x),
    ),
    recognition(
        "hard swish",
        either(mul(x, hard_sigmoid(x)), _times(mul(x, _six), 1 / 6), mul(_times(x, 1 / 6), _six)),
        lambda x: HardSwish()(x),
    ),
    recognition("mish", mul(x, tanh(_softplus)), lambda x: Mish()(x)),
    recognition("silu", either(mul(x, _logistic), div(x, _above_exp)), lambda x: Silu()(x)),
    in_f32("an activation of 16 bits in f32", Gelu, HardSigmoid, HardSwish, Mish, Silu),
)
