"""Arithmetic of numbers and sizes that are known at compile time."""

from __future__ import annotations

import math
from typing import Any

from compiler.dims import Dim, DimError, Size, symbols
from compiler.elaborate.expressions import LARGEST_INTEGER
from compiler.elaborate.session import Session
from compiler.elaborate.values import describe
from compiler.elaborate.work import of_sizes
from grammar import syntax
from grammar.diagnostics import Label
from grammar.source import Span


def size_arithmetic(session: Session, expression: syntax.Binary, left: Size, right: Size) -> Any:
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
        raise session.fault("E505", "division by zero", expression.right.span) from None
    except DimError as error:
        code = "E505" if "zero" in str(error) else "E307"
        raise session.fault(code, str(error), span) from None
    raise session.fault(
        "E415", f"`{sign}` does not work between {describe(left)} and {describe(right)}", expression.operator_span
    )


def number_arithmetic(session: Session, expression: syntax.Binary, left: float, right: float) -> Any:
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
        raise session.fault("E505", "division by zero", expression.right.span) from None
    except OverflowError:
        raise session.fault("E506", "a number beyond what a float holds", span) from None
    raise session.fault("E415", f"`{expression.operator}` does not work between numbers", expression.operator_span)


def bounded(session: Session, value: Any, span: Span) -> Any:
    """The number, unless it is too large to be one of ours."""
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise session.fault("E506", "a whole number beyond 2**63 - 1", span)
    if isinstance(value, float) and math.isinf(value):
        raise session.fault("E506", "a number beyond what a float holds", span)
    return value


def _power(session: Session, expression: syntax.Binary, left: float, right: float) -> Any:
    if isinstance(left, int) and isinstance(right, int) and right >= 0 and abs(left) > 1 and right > 63:
        raise session.fault("E506", "a whole number beyond 2**63 - 1", expression.span)
    try:
        value = left**right
    except (OverflowError, ZeroDivisionError) as error:
        code, message = (
            ("E506", "a number beyond what a float holds")
            if isinstance(error, OverflowError)
            else ("E505", "division by zero")
        )
        raise session.fault(code, message, expression.span) from None
    if isinstance(value, complex):
        raise session.fault("E505", "a root of a negative number", expression.span)
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
        if monomial and (factor < 0 or any(type(atom).__name__ != "Symbol" for atom, _ in monomial)):
            return None
        total += factor
    return total


def undecided(session: Session, expression: syntax.Binary, left: Size, right: Size) -> Exception:
    names = sorted(symbols(left) | symbols(right))
    frame = session.frame
    labels = tuple(
        Label(frame.dims[name].span, f"`{name}` is known only when the model runs")
        for name in names
        if name in frame.dims
    )
    return session.fault(
        "E313",
        f"whether {left} {expression.operator} {right} depends on {' and '.join(f'`{name}`' for name in names)}",
        expression.span,
        labels=labels,
        hint="write the size as a number in the model's input, or make it a hyperparameter",
    )
