"""Arithmetic of numbers and sizes that are known at compile time."""

from __future__ import annotations

import math
from typing import TypeVar

from compiler.dims import LARGEST, Dim, DimError, DivisionByZero, Size, Symbol, symbols
from compiler.elaborate.session import Session
from compiler.elaborate.values import CompileTimeValue, describe
from compiler.elaborate.work import of_sizes
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError
from grammar.source import Span

Number = TypeVar("Number", bound="int | float | Dim")


def size_arithmetic(session: Session, expression: syntax.Binary, left: Size, right: Size) -> CompileTimeValue:
    """One sign between two sizes; NablacError where the result is no size, or depends on a dim."""
    sign, span = expression.operator, expression.span
    if isinstance(left, Dim) or isinstance(right, Dim):
        session.charge(of_sizes(left, right), span)
    try:
        match sign:
            case "+":
                return bounded(session, left + right, span)
            case "-":
                return bounded(session, left - right, span)
            case "*":
                return bounded(session, left * right, span)
            case "//":
                return left // right
            case "%":
                return left % right
            case "**" if isinstance(left, int) and isinstance(right, int):
                return _power(session, expression, left, right)
            case "**" if isinstance(right, int) and 0 <= right <= 16:
                session.charge(right * of_sizes(left, left), span)
                return left**right
            case "<" | "<=" | ">" | ">=":
                return _ordered(session, expression, left, right)
    except ZeroDivisionError:
        raise session.fault(codes.E505, "division by zero", expression.right.span) from None
    except DivisionByZero as error:
        raise session.fault(codes.E505, str(error), span) from None
    except DimError as error:
        raise session.fault(codes.E307, str(error), span) from None
    raise session.fault(
        codes.E415, f"`{sign}` is not defined for {describe(left)} and {describe(right)}", expression.operator_span
    )


def number_arithmetic(session: Session, expression: syntax.Binary, left: float, right: float) -> CompileTimeValue:
    """One sign between two numbers, as in Python; NablacError where the result is no number."""
    span = expression.span
    try:
        match expression.operator:
            case "+":
                return bounded(session, left + right, span)
            case "-":
                return bounded(session, left - right, span)
            case "*":
                return bounded(session, left * right, span)
            case "/":
                return bounded(session, left / right, span)
            case "//":
                return left // right
            case "%":
                return left % right
            case "**":
                return _power(session, expression, left, right)
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
            case ">=":
                return left >= right
    except ZeroDivisionError:
        raise session.fault(codes.E505, "division by zero", expression.right.span) from None
    except OverflowError:
        raise session.fault(codes.E506, "float overflow: beyond 1.8e308", span) from None
    raise session.fault(codes.E415, f"`{expression.operator}` is not defined for numbers", expression.operator_span)


def bounded(session: Session, value: Number, span: Span) -> Number:
    """The number, unless it is too large to be one of ours."""
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


def _ordered(session: Session, expression: syntax.Binary, left: Size, right: Size) -> bool:
    """`<` and its kin between sizes, decided where it holds for all dims of at least 1, or for none."""
    gap = left - right
    sign = expression.operator
    if isinstance(gap, int):
        return {"<": gap < 0, "<=": gap <= 0, ">": gap > 0, ">=": gap >= 0}[sign]
    least, most = _least(gap), _least(-gap)
    if least is not None:
        if least > 0 or (least == 0 and sign in (">=", "<")):
            return sign in (">", ">=")
    if most is not None:
        if most > 0 or (most == 0 and sign in ("<=", ">")):
            return sign in ("<", "<=")
    raise undecided(session, expression, left, right)


def _least(size: Size) -> int | None:
    """The least value of a size whose terms all grow with the dims; None where that is not plain."""
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
