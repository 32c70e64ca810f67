"""Decisions at compile time: `if`, conditional expressions and assertions."""

from __future__ import annotations

import re

from compiler.elaborate.bounded import MOST_ITEMS, shown
from compiler.elaborate.interruptions import AlreadyReported
from compiler.elaborate.session import Session, evaluates, runs
from compiler.elaborate.values import UNKNOWN, CompileTimeValue, describe
from compiler.elaborate.work import PIECE, REFUSED
from compiler.graph import Value
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError
from grammar.source import Source, Span

_INTERPOLATED = re.compile(r"\{([^{}]*)\}")


def truth(session: Session, condition: syntax.Expression) -> bool:
    """A condition known at compile time."""
    value = session.evaluate(condition)
    if value is UNKNOWN:
        raise AlreadyReported
    if isinstance(value, Value):
        raise session.fault(
            codes.E315,
            "a condition must be known when the model is compiled",
            condition.span,
            note=f"this is {describe(value)}",
            hint="choose between tensors with `where(condition, a, b)`",
        )
    if not isinstance(value, bool):
        raise session.fault(codes.E507, f"a condition must be true or false, got {describe(value)}", condition.span)
    return value


@evaluates(syntax.Conditional)
def conditional(session: Session, expression: syntax.Conditional) -> CompileTimeValue:
    """`then if condition else otherwise`; only the chosen one is evaluated."""
    return session.evaluate(expression.then if truth(session, expression.condition) else expression.otherwise)


@runs(syntax.If)
def run_if(session: Session, statement: syntax.If) -> None:
    """Run the branch that the condition selects."""
    session.run(statement.then if truth(session, statement.condition) else statement.otherwise)


@runs(syntax.Assert)
def run_assert(session: Session, statement: syntax.Assert) -> None:
    """NablacError with the assertion's message if its condition is false."""
    if truth(session, statement.condition):
        return
    message = f"`{statement.condition.span.text}` does not hold"
    if statement.message is not None:
        value, span = session.evaluate(statement.message), statement.message.span
        message = _interpolate(session, value, span) if isinstance(value, str) else shown(session, value, span)
    call = session.calls[-1] if session.calls and session.frame.kind != "model" else None
    labels = (Label(call.span, f"{call.what} is applied here"),) if call else ()
    raise session.fault(codes.E501, message, statement.span, note="this assertion fails", labels=labels)


def _interpolate(session: Session, text: str, span: Span) -> str:
    """A message with the expressions in braces replaced by their values."""
    parts = _INTERPOLATED.split(text)  # the expressions in braces are at odd indices
    pieces: list[str] = []
    length = 0
    for index, part in enumerate(parts):
        pieces.append(_piece(session, part, span) if index % 2 else part)
        length += len(pieces[-1])
        if length > MOST_ITEMS:
            return "".join(pieces)[:MOST_ITEMS]
    return "".join(pieces)


def _piece(session: Session, written: str, span: Span) -> str:
    """The value of an expression in a message, or its text in braces if it has none."""
    from grammar.parser import parse

    session.charge(PIECE + len(written), span)
    try:
        tree = parse(Source(span.source.name, f"const message = {written}\n", span.source.library))
        constant = tree.declarations[0]
        assert isinstance(constant, syntax.Const)
        return shown(session, session.evaluate(constant.value), span)
    except (NablacError, AlreadyReported):
        session.charge(REFUSED, span)
        return f"{{{written}}}"
