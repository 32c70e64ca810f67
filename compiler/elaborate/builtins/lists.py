"""Lists of sizes and numbers."""

from __future__ import annotations

from compiler.dims import Dim
from compiler.elaborate.bounded import bounded_count
from compiler.elaborate.builtins.declaring import builtin, list_argument, whole_argument
from compiler.elaborate.numbers import bounded
from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, CompileTimeValue, describe, is_number, is_size
from compiler.elaborate.work import EXPRESSION, of_sizes
from grammar import codes
from grammar.source import Span


@builtin("len", "list")
def _len(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    return len(list_argument(session, bound["list"], "len"))


@builtin("product", "list")
def _product(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    total: int | float | Dim = 1
    for item in list_argument(session, bound["list"], "product"):
        if is_size(item) and is_size(total):
            session.charge(EXPRESSION + of_sizes(item, total), span)
            total = bounded(session, total * item, span)
        elif is_number(item) and is_number(total):
            session.charge(EXPRESSION, span)
            total = bounded(session, total * item, span)
        else:
            message = f"product takes a list of numbers, got a list with {describe(item)}"
            if is_number(item) or is_size(item):
                message = f"product multiplies sizes or numbers, not {describe(total)} by {describe(item)}"
            raise session.fault(codes.E404, message, bound["list"].span)
    return total


@builtin("range", "n")
def _range(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    count = whole_argument(session, bound["n"], "range")
    bounded_count(session, count, span)
    return list(range(count))


@builtin("pair", "x")
def _pair(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    value = bound["x"].value
    if isinstance(value, list):
        if len(value) != 2:
            raise session.fault(
                codes.E404, f"expected a number or a list of two numbers, got {describe(value)}", bound["x"].span
            )
        return value
    if not is_size(value):
        raise session.fault(
            codes.E404, f"expected a number or a list of two numbers, got {describe(value)}", bound["x"].span
        )
    return [value, value]
