"""Signs between values: tensors make nodes, numbers and sizes fold, lists and texts join."""

from __future__ import annotations

from compiler.dims import Dim, differ
from compiler.elaborate import products
from compiler.elaborate.bounded import bounded_count, bounded_list, bounded_text
from compiler.elaborate.numbers import number_arithmetic, size_arithmetic, undecided
from compiler.elaborate.operands import not_a_tensor
from compiler.elaborate.primitives import operate
from compiler.elaborate.session import Session, evaluates
from compiler.elaborate.values import (
    Applicable,
    Argument,
    CompileTimeValue,
    Defined,
    Primitive,
    describe,
    is_number,
    is_size,
)
from compiler.elaborate.work import COPIED
from compiler.graph import Operator, Value
from compiler.operators import OPERATORS
from compiler.operators.leaves import size_of
from compiler.operators.making import cast
from compiler.types import DType
from grammar import codes, syntax
from grammar.diagnostics import Label
from grammar.source import Span

_OPERATORS = {operator.sign: name for name, operator in OPERATORS.items() if operator.sign}


@evaluates(syntax.Binary)
def _chain(session: Session, expression: syntax.Binary) -> CompileTimeValue:
    """A left-deep chain `a + b + c ...` without recursing along it."""
    spine = [expression]
    while isinstance(spine[-1].left, syntax.Binary):
        spine.append(spine[-1].left)
    innermost = spine[-1]
    if innermost.operator in ("and", "or"):
        left: CompileTimeValue = _logical(session, innermost)
    else:
        left = binary(session, innermost, session.evaluate(innermost.left), session.evaluate(innermost.right))
    for outer in reversed(spine[:-1]):
        if outer.operator in ("and", "or") and isinstance(left, bool):
            if left == (outer.operator == "or"):
                continue
        left = binary(session, outer, left, session.evaluate(outer.right))
    return left


def _logical(session: Session, expression: syntax.Binary) -> CompileTimeValue:
    left = session.evaluate(expression.left)
    if isinstance(left, bool) and left == (expression.operator == "or"):
        return left  # the right side may not even make sense then: `given(m) and rank(m) == 2`
    return binary(session, expression, left, session.evaluate(expression.right))


def binary(
    session: Session, expression: syntax.Binary, left: CompileTimeValue, right: CompileTimeValue
) -> CompileTimeValue:
    """One sign between two values."""
    sign = expression.operator
    if sign == " ":
        return products.side_by_side(session, expression, left, right)
    if isinstance(left, Value) or isinstance(right, Value):
        return _tensor(session, expression, left, right)
    if isinstance(left, bool) and isinstance(right, bool) and sign in ("and", "or"):
        return (left and right) if sign == "and" else (left or right)
    if sign in ("==", "!="):
        return _equal(session, expression, left, right) == (sign == "==")
    if is_number(left) and is_number(right):
        return number_arithmetic(session, expression, left, right)
    if is_size(left) and is_size(right) and sign != "/":
        return size_arithmetic(session, expression, left, right)
    if (is_number(left) or is_size(left)) and (is_number(right) or is_size(right)) and sign in _OPERATORS:
        return _tensor(session, expression, _as_scalar(session, left), _as_scalar(session, right))
    if sign == "+" and isinstance(left, list) and isinstance(right, list):
        bounded_count(session, len(left) + len(right), expression.span)
        return [*left, *right]
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return bounded_text(session, left + right, expression.span)
    for value, operand in ((left, expression.left), (right, expression.right)):
        if isinstance(value, Applicable):
            raise not_a_tensor(session, value, operand.span)
    raise session.fault(
        codes.E415,
        f"`{sign}` is not defined for {describe(left)} and {describe(right)}",
        expression.operator_span,
        labels=tuple(
            Label(side.span, describe(value)) for side, value in ((expression.left, left), (expression.right, right))
        ),
    )


def _as_scalar(session: Session, value: CompileTimeValue) -> CompileTimeValue:
    """A symbolic size as a float scalar, for true division and float arithmetic."""
    if not isinstance(value, Dim):
        return value
    dtype = session.local_float_type
    return session.make(lambda: cast(size_of(value), dtype), session.calls[-1].span)


def _tensor(
    session: Session, expression: syntax.Binary, left: CompileTimeValue, right: CompileTimeValue
) -> CompileTimeValue:
    for value, operand in ((left, expression.left), (right, expression.right)):
        if isinstance(value, Applicable):
            raise not_a_tensor(session, value, operand.span)
    sign = expression.operator
    operands = [Argument(None, left, expression.left.span), Argument(None, right, expression.right.span)]
    operator = Operator.registry[_OPERATORS[sign]]
    return operate(session, operator, {}, operands, expression.span, sign=sign, at=expression.operator_span)


@evaluates(syntax.Unary)
def _unary(session: Session, expression: syntax.Unary) -> CompileTimeValue:
    value = session.evaluate(expression.operand)
    match expression.operator:
        case "-" if is_number(value):
            return -value
        case "-" if isinstance(value, Dim):
            return -value
        case "-" if isinstance(value, Value):
            operands = [Argument(None, value, expression.operand.span)]
            return operate(session, Operator.registry["neg"], {}, operands, expression.span, sign="-")
        case "not" if isinstance(value, bool):
            return not value
        case "not" if isinstance(value, Value):
            operands = [Argument(None, value, expression.operand.span)]
            return operate(session, Operator.registry["logical_not"], {}, operands, expression.span, sign="not")
        case "^T" if isinstance(value, Value):
            return products.transposed(session, value, expression.span)
    if isinstance(value, Applicable):
        raise not_a_tensor(session, value, expression.operand.span)
    raise session.fault(codes.E415, f"`{expression.operator}` is not defined for {describe(value)}", expression.span)


def _equal(session: Session, expression: syntax.Binary, left: CompileTimeValue, right: CompileTimeValue) -> bool:
    if is_size(left) and is_size(right):
        if left == right:
            return True
        if differ(left, right):
            return False
        raise undecided(session, expression, left, right)
    if isinstance(left, (list, str)):
        _look_at(session, left, expression.span)
        _look_at(session, right, expression.span)
    if isinstance(left, (int, float, str, bool, DType, list)) and isinstance(
        right, (int, float, str, bool, DType, list)
    ):
        return isinstance(left, bool) == isinstance(right, bool) and left == right
    if isinstance(left, Primitive) and isinstance(right, Primitive):
        return left.operator is right.operator
    if isinstance(left, Defined) and isinstance(right, Defined):
        return left.syntax is right.syntax
    return left is right


def _look_at(session: Session, value: CompileTimeValue, span: Span) -> None:
    """Count what a comparison looks at."""
    if isinstance(value, list):
        bounded_list(session, value, span)
    elif isinstance(value, str):
        session.charge(len(value) * COPIED, span)
