"""Activation functions as users write them, in the step of a recurrence: the logistic function by `exp`, and so on.

A form that is NaN where the function is not, such as (exp(x) - exp(-x)) / (exp(x) + exp(-x)), is left as it is.
"""

from __future__ import annotations

from compiler.graph import Operator, Value
from compiler.operators.activations import Relu, Sigmoid, Tanh
from compiler.operators.arithmetic import Abs, Add, Clip, Div, Maximum, Minimum, Mul, Neg, Reciprocal, Sub
from compiler.operators.cell_activations import RELU, SIGMOID, SOFTSIGN, TANH, Activation
from compiler.operators.comparison import Greater, GreaterEqual, Less, LessEqual, Where
from compiler.operators.leaves import Constant
from compiler.operators.powers import Exp, Pow
from compiler.passes.rules import Rules, is_everywhere, pattern_of, rule, variables

(x,) = variables("x")
add, sub, mul, div, neg = pattern_of(Add), pattern_of(Sub), pattern_of(Mul), pattern_of(Div), pattern_of(Neg)
exp, tanh, sigmoid, where = pattern_of(Exp), pattern_of(Tanh), pattern_of(Sigmoid), pattern_of(Where)
maximum, minimum, clip, relu = pattern_of(Maximum), pattern_of(Minimum), pattern_of(Clip), pattern_of(Relu)
less, reciprocal, power = pattern_of(Less, LessEqual), pattern_of(Reciprocal), pattern_of(Pow)

_half = (mul(x, 0.5), div(x, 2))
_minus_twice = (neg(mul(x, 2)), mul(x, -2), mul(neg(x), 2))

SPELLED: Rules = (
    *(
        rule(f"the logistic function by {name}", pattern, lambda x: Sigmoid()(x), keeps="rounding")
        for name, pattern in {
            "exp, a quotient": div(1, add(exp(neg(x)), 1)),
            "exp, a reciprocal": reciprocal(add(exp(neg(x)), 1)),
            "exp, a power": power(add(exp(neg(x)), 1), -1),
        }.items()
    ),
    rule("the logistic function of -x", div(1, add(exp(x), 1)), lambda x: Sigmoid()(-x), keeps="rounding"),
    *(
        rule(f"the logistic function by tanh, {number}", pattern, lambda x: Sigmoid()(x), keeps="rounding")
        for number, pattern in enumerate(
            form
            for half in _half
            for form in (
                mul(add(tanh(half), 1), 0.5),
                div(add(tanh(half), 1), 2),
                add(mul(tanh(half), 0.5), 0.5),
                add(div(tanh(half), 2), 0.5),
            )
        )
    ),
    rule("tanh by the logistic function", sub(mul(sigmoid(mul(x, 2)), 2), 1), lambda x: Tanh()(x), keeps="rounding"),
    rule("tanh by exp", sub(1, div(2, add(exp(mul(x, 2)), 1))), lambda x: Tanh()(x), keeps="rounding"),
    *(
        rule(f"tanh by exp of -2x, {number}", sub(div(2, add(exp(twice), 1)), 1), lambda x: Tanh()(x), keeps="rounding")
        for number, twice in enumerate(_minus_twice)
    ),
    rule("relu by maximum", maximum(x, 0), lambda x: Relu()(x)),
    rule("relu by where", where(less(x, 0), 0, x), lambda x: Relu()(x)),
    rule("relu by clip", clip(x, low=0.0, high=None), lambda x: Relu()(x)),
    rule("clip by minimum of relu", minimum(relu(x), 1), lambda x: Clip(0.0, 1.0)(x)),
    rule("clip by relu of minimum", relu(minimum(x, 1)), lambda x: Clip(0.0, 1.0)(x)),
)

_OPERATORS: dict[type[Operator], Activation] = {Tanh: TANH, Sigmoid: SIGMOID, Relu: RELU}


def activation_of(value: Value) -> tuple[Activation, Value] | None:
    """The activation function of a recurrent operator that computes a value, and its argument."""
    op, operands = value.node.op, value.node.operands
    if type(op) in _OPERATORS:
        return _OPERATORS[type(op)], operands[0]
    if isinstance(op, Clip) and (op.low, op.high) == (0.0, 1.0):
        return _hard_sigmoid(operands[0])
    if isinstance(op, Div) and _is_one_plus_magnitude(operands[1], operands[0]):
        return SOFTSIGN, operands[0]
    if isinstance(op, Where):
        return _leaky_relu(*operands)
    return None


def _hard_sigmoid(line: Value) -> tuple[Activation, Value] | None:
    """The function clip(alpha x + beta, 0, 1) of `line`, which is alpha x + beta."""
    scaled, beta = _with_number(line, Add)
    if scaled is None or beta is None:
        return None
    factor, alpha = _with_number(scaled, Mul)
    if factor is None or alpha is None:
        factor, divisor = _with_number(scaled, Div)
        alpha = 1 / divisor if divisor else None
    if factor is None or alpha is None:
        return None
    return Activation("HardSigmoid", (alpha, beta)), factor


def _leaky_relu(condition: Value, right: Value, left: Value) -> tuple[Activation, Value] | None:
    """The function where(x > 0, x, alpha x)."""
    op, operands = condition.node.op, condition.node.operands
    scaled, alpha = _with_number(left, Mul)
    if not isinstance(op, (Greater, GreaterEqual)) or operands[0] is not right or not is_everywhere(operands[1], 0):
        return None
    return (Activation("LeakyRelu", (alpha,)), right) if scaled is right and alpha is not None else None


def _with_number(value: Value, operator: type[Operator]) -> tuple[Value | None, float | None]:
    """The operands of an operator, the second of them a number."""
    if isinstance(value.node.op, operator):
        left, right = value.node.operands
        for operand, number in ((left, right), (right, left)) if value.node.op.commutative else ((left, right),):
            op = number.node.op
            if isinstance(op, Constant) and not op.type.shape:
                return operand, _shortest(op.compute().item())
    return None, None


def _shortest(number: float) -> float:
    """The shortest decimal number that is the same in f32: 0.2 of 0.20000000298."""
    return float(f"{number:.7g}")


def _is_one_plus_magnitude(value: Value, x: Value) -> bool:
    if not isinstance(value.node.op, Add):
        return False
    left, right = value.node.operands
    return any(
        isinstance(size.node.op, Abs) and size.node.operands[0] is x and is_everywhere(one, 1)
        for size, one in ((left, right), (right, left))
    )
