"""Arithmetic of numbers and sizes that are known at compile time."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, TypeVar

from compiler.dims import LARGEST, Dim, DimError, DivisionByZero, Size, Symbol, symbols
from compiler.elaborate.session import Session
from compiler.elaborate.values import CompileTimeValue, describe
from compiler.elaborate.work import of_sizes
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError
from grammar.source import Span

Number = TypeVar("Number", bound="int | float | Dim")
_Compute = Callable[[Any, Any], int | float | Dim]

_ARITHMETIC: dict[str, _Compute] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MOST_POWER = 16  # of a symbolic size


def number_arithmetic(session: Session, expression: syntax.Binary, left: float, right: float) -> CompileTimeValue:
    """A sign between two numbers, as in Python; NablacError where the result is not a number."""
    sign = expression.operator
    if sign in _COMPARISONS:
        return _COMPARISONS[sign](left, right)
    if sign == "**":
        return _power(session, expression, left, right)
    compute = _function_of(session, expression, left, right)
    try:
        return bounded(session, compute(left, right), expression.span)
    except ZeroDivisionError:
        raise session.fault(codes.E505, "division by zero", expression.right.span) from None
    except OverflowError:
        raise session.fault(codes.E506, "float overflow: beyond 1.8e308", expression.span) from None


def size_arithmetic(session: Session, expression: syntax.Binary, left: Size, right: Size) -> CompileTimeValue:
    """A sign other than `/` between two sizes, of which one is symbolic.

    NablacError where the result is not a size, or depends on the values of dims.
    """
    sign, span = expression.operator, expression.span
    session.charge(of_sizes(left, right), span)
    try:
        if sign in _COMPARISONS:
            return _compare(session, expression, left, right)
        if sign == "**" and isinstance(right, int) and 0 <= right <= _MOST_POWER:
            session.charge(right * of_sizes(left, left), span)
            return left**right
        compute = _function_of(session, expression, left, right)
        return bounded(session, compute(left, right), span)
    except ZeroDivisionError:
        raise session.fault(codes.E505, "division by zero", expression.right.span) from None
    except DivisionByZero as error:
        raise session.fault(codes.E505, str(error), span) from None
    except DimError as error:
        raise session.fault(codes.E307, str(error), span) from None


def _function_of(session: Session, expression: syntax.Binary, left: Size | float, right: Size | float) -> _Compute:
    """What a sign computes; NablacError for one that is not defined for numbers and sizes."""
    function = _ARITHMETIC.get(expression.operator)
    if function is None:
        message = f"`{expression.operator}` is not defined for {describe(left)} and {describe(right)}"
        raise session.fault(codes.E415, message, expression.operator_span)
    return function


def bounded(session: Session, value: Number, span: Span) -> Number:
    """The number; NablacError for one too large: integers have 64 bits, floats are finite."""
    if isinstance(value, int) and abs(value) > LARGEST:
        raise session.fault(codes.E506, "integer overflow: beyond 2**63 - 1", span)
    if isinstance(value, float) and math.isinf(value):
        raise session.fault(codes.E506, "float overflow: beyond 1.8e308", span)
    return value


def _power(session: Session, expression: syntax.Binary, left: float, right: float) -> CompileTimeValue:
    if isinstance(left, int) and isinstance(right, int) and right >= 0 and abs(left) > 1 and right > 63:
        raise session.fault(codes.E506, "integer overflow: beyond 2**63 - 1", expression.span)
    try:
        value: int | float | complex = left**right
    except OverflowError:
        raise session.fault(codes.E506, "float overflow: beyond 1.8e308", expression.span) from None
    except ZeroDivisionError:
        raise session.fault(codes.E505, "division by zero", expression.span) from None
    if isinstance(value, complex):
        raise session.fault(codes.E505, "fractional power of a negative number", expression.span)
    return bounded(session, value, expression.span)


def _compare(session: Session, expression: syntax.Binary, left: Size, right: Size) -> bool:
    """Whether one size is larger or smaller; NablacError where that differs between dims of at least 1."""
    gap = left - right
    sign = expression.operator
    if isinstance(gap, int):
        return _COMPARISONS[sign](gap, 0)
    least, least_negated = _least(gap), _least(-gap)
    if least is not None:
        if least > 0 or (least == 0 and sign in (">=", "<")):
            return sign in (">", ">=")
    if least_negated is not None:
        if least_negated > 0 or (least_negated == 0 and sign in ("<=", ">")):
            return sign in ("<", "<=")
    raise undecided(session, expression, left, right)


def _least(size: Size) -> int | None:
    """The least value of a size whose terms all grow with the dims; None where that is not evident."""
    if isinstance(size, int):
        return size
    total = 0
    for monomial, factor in size.terms:
        if monomial and (factor < 0 or any(not isinstance(atom, Symbol) for atom, _ in monomial)):
            return None
        total += factor
    return total


def undecided(session: Session, expression: syntax.Binary, left: Size, right: Size) -> NablacError:
    """The error for a comparison that depends on dims which are known only when the model runs."""
    names = sorted(symbols(left) | symbols(right))
    frame = session.frame
    labels = tuple(
        Label(frame.dims[name].span, f"`{name}` is known only when the model runs")
        for name in names
        if name in frame.dims
    )
    return session.fault(
        codes.E313,
        f"cannot decide {left} {expression.operator} {right} at compile time: it depends on "
        + " and ".join(f"`{name}`" for name in names),
        expression.span,
        labels=labels,
        hint="write the size as a number in the model's input, or make it a hyperparameter",
    )
