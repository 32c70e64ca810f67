"""Binding arguments to parameters: names, kinds, missing and surplus ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.elaborate.frameworks import argument_hint, name_hint
from compiler.elaborate.interruptions import AlreadyReported
from compiler.elaborate.session import Session
from compiler.elaborate.value_kinds import Kind
from compiler.elaborate.values import (
    UNKNOWN,
    Applicable,
    Argument,
    CompileTimeValue,
    Defined,
    Instance,
    describe,
    is_number,
    is_size,
)
from compiler.graph import Value
from compiler.types import DType
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.limits import MOST_ERRORS
from grammar.source import Span

_NAMED = ("fn", "layer", "cell")  # kinds of hyperparameters whose values are names


def evaluate_arguments(session: Session, written: Sequence[syntax.Argument]) -> list[Argument]:
    """The arguments of a call, evaluated in order."""
    check_names(session, written)
    return [argument_of(argument, session.evaluate(argument.value)) for argument in written]


def argument_of(argument: syntax.Argument, value: CompileTimeValue) -> Argument:
    """A written argument with its value."""
    if argument.name is None:
        return Argument(None, value, argument.value.span)
    return Argument(argument.name.text, value, argument.value.span, argument.name.span)


def check_names(session: Session, written: Iterable[syntax.Argument]) -> None:
    """NablacError unless named arguments come last, each name once."""
    names: dict[str, Span] = {}
    for argument in written:
        if argument.name is None:
            if names:
                raise session.fault(
                    codes.E422, "a positional argument follows a named argument", argument.span, hint="name it too"
                )
            continue
        name = argument.name.text
        if name in names:
            labels = (Label(names[name], "first here"),)
            raise session.fault(codes.E416, f"`{name}` is given twice", argument.name.span, labels=labels)
        names[name] = argument.name.span


def bind_names(
    session: Session, what: str, names: Sequence[str], arguments: list[Argument], span: Span, declared: Span | None
) -> dict[str, Argument]:
    """Arguments by parameter name; NablacError holds every surplus, unknown and repeated one."""
    bound: dict[str, Argument] = {}
    known = names if len(names) < 16 else frozenset(names)
    wrong: list[NablacError] = []
    labels = (Label(declared, "defined here"),) if declared is not None and declared.source is not span.source else ()
    for index, argument in enumerate(arguments):
        if len(wrong) == MOST_ERRORS:
            break
        if argument.name is None:
            if index >= len(names):
                listed = f": {', '.join(names)}" if names else ""
                raise session.fault(
                    codes.E403,
                    f"{what} takes {len(names)} argument{'s' * (len(names) != 1)}{listed}",
                    argument.span,
                    note="one too many",
                    labels=labels,
                )
            bound[names[index]] = argument
        elif argument.name not in known:
            message, at = f"{what} has no argument `{argument.name}`", argument.named_at or argument.span
            hint = argument_hint(argument.name, names)
            wrong.append(session.fault(codes.E402, message, at, labels=labels, hint=hint))
        elif argument.name in bound:
            first = (Label(bound[argument.name].span, "first here"),)
            message, at = f"`{argument.name}` is given twice", argument.named_at or argument.span
            wrong.append(session.fault(codes.E416, message, at, labels=first))
        else:
            bound[argument.name] = argument
    if wrong:
        raise NablacError(*(diagnostic for error in wrong for diagnostic in error.diagnostics))
    return bound


def bind_hypers(session: Session, defined: Defined, arguments: list[Argument], span: Span) -> dict[str, Argument]:
    """The arguments of a definition by hyperparameter; those without a default are required."""
    what, hypers = f"{defined.kind} {defined.name}", defined.syntax.hypers
    names = [hyper.name.text for hyper in hypers]
    bound = bind_names(session, what, names, arguments, span, defined.syntax.name.span)
    for hyper in hypers:
        if hyper.default is None and hyper.name.text not in bound:
            raise session.fault(
                codes.E401,
                f"{what} needs `{hyper.name.text}`",
                span,
                labels=(Label(hyper.span, "has no default"),),
                hint=f"pass it: `{defined.name}({hyper.name.text}: ...)`",
            )
    return bound


_TEXT = Kind("a text", lambda value: isinstance(value, str) and not isinstance(value, DType))
_KINDS = {
    "int": Kind("a whole number", is_size),
    "float": Kind("a number", is_number),
    "bool": Kind("true or false", lambda value: isinstance(value, bool)),
    "text": _TEXT,
    "str": _TEXT.replace(words="a str"),
    "list": Kind("a list", lambda value: isinstance(value, list)),
    "dtype": Kind("a dtype", lambda value: isinstance(value, DType)),
    "fn": Kind("a function", lambda value: isinstance(value, Applicable)),
    "layer": Kind("a layer", lambda value: isinstance(value, (Instance, Defined))),
    "cell": Kind("a cell", lambda value: isinstance(value, (Instance, Defined))),
    "tensor": Kind("a tensor", lambda value: isinstance(value, Value)),
}


def check_hyper(
    session: Session, defined: Defined, hyper: syntax.Hyper, value: CompileTimeValue, span: Span
) -> CompileTimeValue:
    """A hyperparameter's value; NablacError if it is not of the declared kind."""
    if hyper.kind is None:
        return value
    kind = hyper.kind.text
    if kind not in _KINDS:
        raise session.fault(
            codes.E404,
            f"unknown kind of hyperparameter `{kind}`",
            hyper.kind.span,
            hint=did_you_mean(kind, _KINDS) or f"the kinds are {', '.join(_KINDS)}",
        )
    if value is UNKNOWN:
        raise AlreadyReported
    if defined.kind == "optimizer" and isinstance(value, Value):
        return value  # a schedule of the step
    if not _KINDS[kind].allows(value):
        what = f"`{hyper.name.text}` of {defined.kind} {defined.name}"
        raise session.fault(
            codes.E404,
            f"{what} must be {_KINDS[kind].words}, got {describe(value)}",
            span,
            labels=(Label(hyper.span, "declared here"),),
            hint=unquoted_hint(session, value, f"{hyper.name.text}: ") if kind in _NAMED else None,
        )
    return float(value) if kind == "float" and is_number(value) else value


def unquoted_hint(session: Session, value: CompileTimeValue, before: str) -> str | None:
    """The hint for a text that names what was meant, such as "relu" for the function `relu`."""
    if not isinstance(value, str) or isinstance(value, DType):
        return None
    scope = session.frame.scope
    return f"write `{before}{value}`, without quotes" if value in scope else name_hint(value, scope.known())
