"""Initial values of parameters, buffers and states: drawn by an initializer, or given by an expression."""

from __future__ import annotations

from compiler.dims import Size
from compiler.elaborate.binding import evaluate_arguments
from compiler.elaborate.operands import as_tensor, build_checked
from compiler.elaborate.session import Session
from compiler.elaborate.values import (
    Argument,
    Builtin,
    CompileTimeValue,
    Defined,
    Instance,
    Primitive,
    ScanOf,
    describe,
)
from compiler.elaborate.work import EXPRESSION
from compiler.graph import Graph, Value
from compiler.operators.leaves import Input, Parameter
from compiler.operators.shaping import Expand
from compiler.types import TensorType
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError
from grammar.source import Span


def initial_graph(
    session: Session, statement: syntax.Declare, declared: syntax.Declared, type: TensorType
) -> Graph | None:
    """The graph that computes the initial value of a parameter or buffer; its only possible input is `seed`."""
    if statement.initializer is None:
        return None
    span, frame = statement.initializer.span, session.frame
    outer_key, session.key = session.key, None
    outer_scans, session.scans = session.scans, []
    outer_type, frame.float_type = frame.float_type, type.dtype if type.dtype.is_float else None
    outer_draws, frame.draws = frame.draws, 0
    try:
        tensor = first_value(session, statement, declared, type)
        if tensor.type != type:
            if tensor.type.dtype != type.dtype:
                raise misshapen(session, declared, type, tensor, span)
            tensor = build_checked(session, lambda: Expand(type.shape)(tensor), span, [])
        nodes = Graph({}, {"initial": tensor}).nodes
        session.charge(len(nodes) * EXPRESSION, span)
        if any(isinstance(node.op, (Input, Parameter)) and node.results[0] is not session.key for node in nodes):
            raise session.fault(codes.E417, "an initial value cannot depend on inputs or parameters", span)
        return Graph({"seed": session.key} if session.key is not None else {}, {"initial": tensor})
    finally:
        session.key, session.scans = outer_key, outer_scans
        frame.float_type, frame.draws = outer_type, outer_draws


def first_value(session: Session, statement: syntax.Declare, declared: syntax.Declared, type: TensorType) -> Value:
    """The value of an initializer; NablacError if a drawn one is not of the declared type."""
    initializer = statement.initializer
    assert initializer is not None
    if statement.drawn:
        value = _draw(session, initializer, type.shape)
    else:
        value = _evaluate_stated(session, statement, initializer, declared)
    tensor = as_tensor(session, value, initializer.span, type.dtype)
    if statement.drawn and tensor.type != type:
        raise misshapen(session, declared, type, tensor, initializer.span)
    return tensor


def misshapen(session: Session, declared: syntax.Declared, type: TensorType, initial: Value, span: Span) -> NablacError:
    """The error for an initial value that is not of the declared type."""
    message = f"`{declared.name.text}` is {type}, but its initializer gives {initial.type}"
    return session.fault(codes.E417, message, span, labels=(Label(declared.span, "declared here"),))


def _evaluate_stated(
    session: Session, statement: syntax.Declare, initializer: syntax.Expression, declared: syntax.Declared
) -> CompileTimeValue:
    """The value after `=`; NablacError for an initializer such as `glorot_uniform()`, which belongs after `~`."""
    callee = initializer.callee if isinstance(initializer, syntax.Call) else initializer
    if isinstance(callee, syntax.Name) and callee.text in session.frame.scope:
        function = session.frame.scope.find(callee.text)
        arguments = initializer.arguments if isinstance(initializer, syntax.Call) else ()
        names = [argument.name.text if argument.name is not None else None for argument in arguments]
        if isinstance(function, Defined) and _takes_shape(function) and None not in names and "shape" not in names:
            written = f"{statement.kind} {declared.span.text} ~ {initializer.span.text}"
            raise session.fault(
                codes.E417,
                f"`{callee.text}` is an initializer: it takes the shape, which `=` does not pass",
                initializer.span,
                hint=f"use `~`: `{written}`",
            )
    return session.evaluate(initializer)


def _draw(session: Session, initializer: syntax.Expression, sizes: tuple[Size, ...]) -> CompileTimeValue:
    """`~ f(args)` is `f(shape, args)`; `~ f` is `f(shape)`."""
    span = initializer.span
    shape = Argument(None, list(sizes), span)
    if isinstance(initializer, syntax.Call):
        callee = session.evaluate(initializer.callee)
        arguments = evaluate_arguments(session, initializer.arguments)
    else:
        callee, arguments = session.evaluate(initializer), []
    if not isinstance(callee, (Defined, Instance, Builtin, Primitive, ScanOf)):
        raise session.fault(
            codes.E417,
            f"an initializer must be a function of the shape, got {describe(callee)}",
            span,
            hint="write a fixed initial value with `=`",
        )
    return session.apply(callee, [shape, *arguments], span)


def _takes_shape(defined: Defined) -> bool:
    hypers = defined.syntax.hypers
    return defined.kind == "fn" and bool(hypers) and hypers[0].name.text == "shape"
