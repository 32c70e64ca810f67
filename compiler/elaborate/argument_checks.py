"""The arguments of every call of a known name in a file, including calls that are never evaluated."""

from __future__ import annotations

from typing import Any

from compiler.elaborate.binding import argument_of, bind_hypers, check_hyper, check_names
from compiler.elaborate.frame import Frame
from compiler.elaborate.interruptions import AlreadyReported
from compiler.elaborate.primitives import bind_operator
from compiler.elaborate.program import Program
from compiler.elaborate.session import Session
from compiler.elaborate.unknown_names import names_of, references
from compiler.elaborate.values import UNKNOWN, Argument, Builtin, CompileTimeValue, Defined, Primitive
from grammar import syntax
from grammar.diagnostics import NablacError
from grammar.record import Record
from grammar.source import Span


def check_arguments(program: Program, session: Session) -> None:
    """Report unknown and missing arguments, and literals of the wrong kind.

    Calls with a reported error are skipped: they have been evaluated.
    """
    fault_spans = [diagnostic.span for diagnostic in session.diagnostics.reported if diagnostic.span is not None]
    with session.inside(Frame("fn", program.source.name, program.scope, "")):
        _check_calls(program, session, fault_spans)


def _check_calls(program: Program, session: Session, fault_spans: list[Span]) -> None:
    for declaration in program.tree.declarations:
        if isinstance(declaration, (syntax.Definition, syntax.Const)):
            local = names_of(declaration)
            for callee, arguments, piped, span in _calls(declaration):
                if callee.text in local or callee.text not in program.scope:
                    continue
                if any(
                    span.source is reported.source and span.start <= reported.start < span.end
                    for reported in fault_spans
                ):
                    continue
                try:
                    _check(session, program.scope.find(callee.text), arguments, piped, span)
                except NablacError as error:
                    session.report(error)
                except AlreadyReported:
                    pass


_Called = tuple[syntax.Name, tuple[syntax.Argument, ...], bool, Span]


def _calls(declaration: syntax.Definition | syntax.Const) -> list[_Called]:
    """Every call of a name, in order, and whether its first argument is a piped value or a drawn parameter's shape.

    Stages with `_` are left out: whether it is an argument is known only when they are evaluated.
    """
    called: list[_Called] = []
    waiting: list[Any] = [declaration]
    while waiting:
        part = waiting.pop()
        match part:
            case syntax.Pipe(
                value=value, stage=syntax.Call(callee=syntax.Name() as callee, arguments=arguments) as stage
            ):
                waiting += [value, arguments]
                if all(name.text != "_" for name in references(arguments)):
                    called.append((callee, arguments, True, stage.span))
            case syntax.Declare(
                drawn=True,
                names=names,
                initializer=syntax.Call(callee=syntax.Name() as callee, arguments=arguments) as drawn,
            ):
                waiting += [names, arguments]
                called.append((callee, arguments, True, drawn.span))
            case syntax.Call(callee=syntax.Name() as callee, arguments=arguments, span=span):
                waiting.append(arguments)
                called.append((callee, arguments, False, span))
            case tuple():
                waiting += part
            case Record():
                waiting += vars(part).values()
    return sorted(called, key=lambda call: call[-1].start)


def _check(
    session: Session, callee: CompileTimeValue, arguments: tuple[syntax.Argument, ...], piped: bool, span: Span
) -> None:
    check_names(session, arguments)
    bindable = [argument_of(argument, _literal(argument.value)) for argument in arguments]
    if piped and not (isinstance(callee, Defined) and callee.kind != "fn"):
        bindable.insert(0, Argument(None, UNKNOWN, span))
    match callee:
        case Defined():
            bound = bind_hypers(session, callee, bindable, span)
            for hyper in callee.syntax.hypers:
                argument = bound.get(hyper.name.text)
                if argument is not None and argument.value is not UNKNOWN:
                    check_hyper(session, callee, hyper, argument.value, argument.span)
        case Primitive():
            bind_operator(session, callee.operator, bindable, span)
        case Builtin() if callee.bind is not None:
            callee.bind(session, bindable, span)


def _literal(expression: syntax.Expression) -> CompileTimeValue:
    """The value of a literal, UNKNOWN for other expressions; a list has as many items as are written."""
    match expression:
        case syntax.Number(value=value) | syntax.Text(value=value) | syntax.Boolean(value=value):
            return value
        case syntax.ListOf(items=items):
            return [UNKNOWN] * len(items)
        case _:
            return UNKNOWN
