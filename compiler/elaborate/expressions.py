"""Names, literals, lists and ranges."""

from __future__ import annotations

from compiler.elaborate.bounded import bounded_list
from compiler.elaborate.frame import Frame
from compiler.elaborate.frameworks import name_hint
from compiler.elaborate.interruptions import AlreadyReported, require_known
from compiler.elaborate.session import MOST_CONSTANTS, Session, evaluates
from compiler.elaborate.values import UNKNOWN, CompileTimeValue, Interval, Lazy
from compiler.types import DType
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.foreign_syntax import comment_hint


@evaluates(syntax.Number)
def number(session: Session, expression: syntax.Number) -> int | float:
    """`3`, `0.5`."""
    return expression.value


@evaluates(syntax.Text)
def text(session: Session, expression: syntax.Text) -> str:
    """`"same"`."""
    return expression.value


@evaluates(syntax.Boolean)
def boolean(session: Session, expression: syntax.Boolean) -> bool:
    """`true`, `false`."""
    return expression.value


@evaluates(syntax.ListOf)
def list_of(session: Session, expression: syntax.ListOf) -> CompileTimeValue:
    """`[a, b]`."""
    return bounded_list(session, [session.evaluate(item) for item in expression.items], expression.span)


@evaluates(syntax.TupleOf)
def tuple_of(session: Session, expression: syntax.TupleOf) -> CompileTimeValue:
    """`a, b`."""
    return tuple(session.evaluate(item) for item in expression.items)


@evaluates(syntax.Range)
def interval(session: Session, expression: syntax.Range) -> Interval:
    """`start..stop`."""
    return Interval(session.evaluate(expression.start), session.evaluate(expression.stop))


@evaluates(syntax.Name)
def name(session: Session, expression: syntax.Name) -> CompileTimeValue:
    """The value of a name: the piped value, the flag `training`, a next value, or what a scope binds it to."""
    if expression.primed:
        return _next_value(session, expression)
    if expression.text == "_":
        if not session.piped:
            raise session.fault(
                codes.E210, "`_` stands for the piped value, but nothing is piped here", expression.span
            )
        session.placed[-1] = True
        return session.piped[-1].value
    if expression.text == "training":
        return session.training
    try:
        value = require_known(session.frame.scope.find(expression.text))
    except KeyError:
        raise unknown_name(session, expression) from None
    if isinstance(value, DType) and value == expression.text:  # the name of a dtype, and not a variable that holds one
        return session.actual(value)
    return evaluate_const(session, value) if isinstance(value, Lazy) else value


def _next_value(session: Session, name: syntax.Name) -> CompileTimeValue:
    """`h'`; NablacError if it is read before its equation."""
    frame = session.frame
    if name.text not in frame.states and frame.scope.names.get(name.text) is UNKNOWN:
        raise AlreadyReported  # its declaration was refused
    if name.text not in frame.states and name.text not in frame.buffers:
        raise session.fault(
            codes.E208,
            f"`{name.text}'` is a next value, but `{name.text}` is neither a state nor a buffer",
            name.span,
            hint=did_you_mean(name.text, [*frame.states, *frame.buffers]),
        )
    if name.text not in frame.next_values:
        raise session.fault(
            codes.E209,
            f"`{name.text}'` is read before its equation",
            name.span,
            labels=(Label(frame.declared[name.text], "the state"),),
            hint=f"write its equation first: `{name.text}' = ...`",
        )
    return require_known(frame.next_values[name.text])


def unknown_name(session: Session, name: syntax.Name) -> NablacError:
    """The error for a name that no scope has."""
    names = list(session.frame.scope.known())
    hint = name_hint(name.text, names) or comment_hint(name.span)
    return session.fault(codes.E201, f"unknown name `{name.text}`", name.span, hint=hint)


def evaluate_const(session: Session, lazy: Lazy) -> CompileTimeValue:
    """The value of a `const`, evaluated in the scope of its declaration when it is first used."""
    name = lazy.syntax.name
    if lazy.busy:
        raise session.fault(codes.E510, f"circular definition of `{name.text}`", name.span)
    if len(session.frames) >= MOST_CONSTANTS:
        message = f"a chain of more than {MOST_CONSTANTS} constants"
        raise session.fault(codes.E503, message, name.span)
    lazy.busy = True
    try:
        with session.inside(Frame("fn", name.text, lazy.scope, "")):
            value = session.evaluate(lazy.syntax.value)
    finally:
        lazy.busy = False
    lazy.scope.names[name.text] = value
    return value
