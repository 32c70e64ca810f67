"""Calls of a value, and what is not something to call."""

from __future__ import annotations

from typing import Any

from compiler.dims import Dim
from compiler.elaborate import products
from compiler.elaborate.binding import evaluate_arguments, unquoted_hint
from compiler.elaborate.interruptions import require_known
from compiler.elaborate.session import Session, calls, evaluates
from compiler.elaborate.values import Argument, Builtin, CompileTimeValue, describe, is_number
from compiler.graph import Value
from grammar import codes, syntax
from grammar.source import Span


@evaluates(syntax.Call)
def call(session: Session, expression: syntax.Call) -> CompileTimeValue:
    """`f(a, name: b)`; `U (r * h)` of a matrix is its product with the vectors in parentheses."""
    callee = session.evaluate(expression.callee)
    arguments = evaluate_arguments(session, expression.arguments)
    product = products.applied(session, expression, callee, arguments)
    if product is not None:
        return product
    return require_known(session.apply(callee, arguments, expression.span))


@calls(Builtin)
def call_builtin(session: Session, callee: Builtin, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """A function implemented by the compiler."""
    return callee.call(session, arguments, span)


@calls(object)
def refuse_call(session: Session, callee: Any, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """NablacError for a value that cannot be called, with a hint at what may have been meant."""
    hint = unquoted_hint(session, callee, "")
    if is_number(callee) or isinstance(callee, Value):
        hint = "write a product with `*`, a matrix product with `@`"
    if isinstance(callee, Dim):
        hint = "an input's shape binds this name to a dim, which hides the function; rename the dim"
    raise session.fault(codes.E407, f"{describe(callee)} cannot be called", span, hint=hint)
