"""Pipes: `x -> Dense(4) -> relu`."""

from __future__ import annotations

from compiler.elaborate.binding import evaluate_arguments
from compiler.elaborate.interruptions import require_known
from compiler.elaborate.session import Session, evaluates
from compiler.elaborate.values import Argument, CompileTimeValue, Defined
from grammar import codes, syntax
from grammar.diagnostics import NablacError
from grammar.source import Span


@evaluates(syntax.Pipe)
def _pipe(session: Session, expression: syntax.Pipe) -> CompileTimeValue:
    """`a -> b -> c` without recursing along it."""
    stages = [expression]
    while isinstance(stages[-1].value, syntax.Pipe):
        stages.append(stages[-1].value)
    first = stages[-1].value
    value, span = session.evaluate(first), first.span
    for pipe in reversed(stages):
        value = _stage(session, Argument(None, value, span), pipe)
        span = pipe.span
    return value


def _stage(session: Session, piped: Argument, pipe: syntax.Pipe) -> CompileTimeValue:
    stage = pipe.stage
    if isinstance(stage, syntax.Binary):
        raise _applied_to_less(session, pipe, stage)
    if not isinstance(stage, syntax.Call):
        callee = session.evaluate(stage)
        return require_known(session.apply(callee, [piped], stage.span))
    callee = session.evaluate(stage.callee)
    session.piped.append(piped)
    session.placed.append(False)
    try:
        arguments = evaluate_arguments(session, stage.arguments)
    finally:
        session.piped.pop()
        placed = session.placed.pop()
    if isinstance(callee, Defined) and callee.kind in ("layer", "model", "cell"):
        instance = session.apply(callee, arguments, stage.span)  # these may use a size of the piped value
        return require_known(session.apply(instance, [piped], stage.span))
    if not placed:
        arguments = [piped, *arguments]
    return require_known(session.apply(callee, arguments, stage.span))


def _applied_to_less(session: Session, pipe: syntax.Pipe, stage: syntax.Binary) -> NablacError:
    """The error for `x -> Dense(4) + x`, written as if `->` bound tighter."""
    first: syntax.Expression = stage
    while isinstance(first, syntax.Binary):
        first = first.left
    shown = "(x -> f) + y"
    if isinstance(first, (syntax.Name, syntax.Call, syntax.Attribute)):
        applied = pipe.value.span.to(first.span).text
        rest = Span(stage.span.source, first.span.end, stage.span.end).text
        whole = " ".join(f"({applied}) {rest}".split())
        shown = whole if len(whole) <= 60 and "#" not in whole else shown
    message = "a sum or a product cannot be applied after `->`"
    return session.fault(codes.E407, message, stage.span, hint=f"`->` binds loosest: `{shown}`")
