"""Instantiating definitions with hyperparameters, and applying them: the result is the outputs of the body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from compiler.elaborate.binding import bind_hypers, check_hyper
from compiler.elaborate.definition_bodies import declared_inputs
from compiler.elaborate.frame import CallSite, Frame
from compiler.elaborate.interruptions import CallAborted
from compiler.elaborate.layer_copies import Recording, application_key, copy_application
from compiler.elaborate.search_ranges import resolve_range
from compiler.elaborate.session import MOST_CALLS, Session, calls
from compiler.elaborate.values import UNKNOWN, Argument, CompileTimeValue, Defined, Instance, Scope, describe
from compiler.elaborate.work import CALL, COPIED
from compiler.graph import Value
from compiler.origins import Layer
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.source import Span


@calls(Defined)
def call_definition(session: Session, callee: Defined, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """The result of a `fn`, or an instance of a layer, cell, model or optimizer."""
    if callee.kind == "fn":
        return _call_function(session, callee, arguments, span)
    if arguments and isinstance(arguments[0].value, Value) and callee.kind in ("layer", "cell", "model"):
        raise session.fault(
            codes.E423,
            f"{callee.kind} {callee.name} takes hyperparameters here, got a tensor",
            arguments[0].span,
            hint=f"instantiate it first, then apply it: `{callee.name}(...)(x)`, or `x -> {callee.name}(...)`",
        )
    return instantiate(session, callee, arguments, span)


def instantiate(session: Session, defined: Defined, arguments: list[Argument], span: Span) -> Instance:
    """Bind a definition's hyperparameters; defaults are evaluated in order and may use earlier ones."""
    session.charge(CALL + len(defined.syntax.hypers), span)
    bound = bind_hypers(session, defined, arguments, span)
    scope = Scope(defined.scope)
    for hyper in defined.syntax.hypers:
        name = hyper.name.text
        if name in bound:
            value, where = bound[name].value, bound[name].span
        else:
            value, where = _default(session, defined, scope, hyper), _default_span(session, hyper)
        scope.names[name] = check_hyper(session, defined, hyper, value, where)
    return Instance(defined, scope.names, span)


def _default(session: Session, defined: Defined, scope: Scope, hyper: syntax.Hyper) -> CompileTimeValue:
    """The default of a hyperparameter without an argument."""
    assert hyper.default is not None
    with _applied(session, "fn", defined, scope, "", hyper.default.span, default=True):
        value = session.evaluate(hyper.default)
    return resolve_range(session, value)


def _default_span(session: Session, hyper: syntax.Hyper) -> Span:
    """Where errors of a default are reported: at a range, or else at the hyperparameter."""
    default = hyper.default
    return default.span if default is not None and default.span in session.ranges else hyper.span


@calls(Instance)
def apply_instance(session: Session, instance: Instance, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """A layer, model or cell applied to tensors: its outputs, one value or a tuple.

    A cell applied inside another one adds its states to the same scan.
    """
    kind, name = instance.defined.kind, instance.defined.name
    if kind == "optimizer":
        raise session.fault(codes.E407, f"{describe(instance)} cannot be applied to tensors", span)
    if kind == "cell" and not session.scans:
        raise session.fault(
            codes.E410,
            f"cell {name} is one step of a recurrence",
            span,
            note="applied to a whole tensor here",
            hint="run it along an axis: `scan(cell)(xs, axis: 1)`",
        )
    claim_path(session, instance)
    key = application_key(session, instance, arguments)
    if key is None:
        return _run_body(session, instance, arguments, span)
    copied = copy_application(session, key, instance, arguments, span)
    if copied is not None:
        return copied
    recording = Recording(session, instance, arguments)
    outputs = _run_body(session, instance, arguments, span)
    recording.keep(key, outputs)
    return outputs


def _run_body(session: Session, instance: Instance, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """The outputs of an instance's body, run in a frame of its own; UNKNOWN after an error in its inputs."""
    with entered(session, instance, arguments, span) as frame:
        try:
            session.run(instance.defined.syntax.body)
            check_leftover(session, frame, instance)
            return record_outputs(session, instance, _named_outputs(session, frame, instance))
        except CallAborted:
            return UNKNOWN


def _call_function(session: Session, defined: Defined, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """The result of a `fn`; it shares the path and the count of random draws with its caller."""
    bound = instantiate(session, defined, arguments, span)
    outer = session.frames[-1] if session.frames else None
    scope, path = Scope(defined.scope, bound.hypers), outer.path if outer is not None else ""
    with _applied(session, defined.kind, defined, scope, path, span) as frame:
        if outer is not None:
            frame.taken, frame.loops, frame.float_type = outer.taken, outer.loops, outer.float_type
            frame.draws = outer.draws
        try:
            session.run(defined.syntax.body)
            return outputs_of(session, frame, bound)
        finally:
            if outer is not None:
                outer.draws = frame.draws


@contextmanager
def entered(session: Session, instance: Instance, arguments: list[Argument], span: Span) -> Iterator[Frame]:
    """Inside a new frame for one application of an instance that has a path."""
    defined, path = instance.defined, instance.path or ""
    scope = Scope(defined.scope, dict(instance.hypers))
    with _applied(session, defined.kind, defined, scope, path, span) as frame:
        if path:  # recorded before its nested layers; an optimizer has none
            session.layers.setdefault(path, Layer(defined.name, defined.syntax.doc))
        frame.instance = instance
        frame.arguments = [argument for argument in arguments if argument.name is None]
        frame.named = {argument.name: argument for argument in arguments if argument.name is not None}
        yield frame


@contextmanager
def _applied(
    session: Session, kind: str, defined: Defined, scope: Scope, path: str, span: Span, *, default: bool = False
) -> Iterator[Frame]:
    """Inside a new frame for a definition applied at `span`, or for one of its defaults."""
    if len(session.frames) >= MOST_CALLS:
        raise session.too_deep(span)
    session.charge(CALL, span)
    call = CallSite(span, f"{defined.kind} {defined.name}", default)
    with session.inside(Frame(kind, defined.name, scope, path), call) as frame:
        yield frame


# Paths


def claim_path(session: Session, instance: Instance, name: str | None = None, span: Span | None = None) -> None:
    """Assign a path to an instance without one, from the name that it is bound to or its definition's."""
    if instance.path is None:
        instance.path = session.frame.claim(name or snake_case(instance.defined.name))
        session.charge(len(instance.path) * COPIED, span or instance.span)


def snake_case(name: str) -> str:
    """`MultiHeadAttention` as `multi_head_attention`; `Conv2D` as `conv2d`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


# Inputs and outputs


def check_leftover(session: Session, frame: Frame, instance: Instance) -> None:
    """NablacError for arguments that no input of the body has used."""
    defined = instance.defined
    if frame.named:
        raise no_input(session, instance, next(iter(frame.named.values())))
    if frame.arguments:
        count = len(declared_inputs(defined.syntax))
        raise session.fault(
            codes.E406,
            f"{defined.kind} {defined.name} takes {count} input{'s' * (count != 1)}",
            frame.arguments[0].span,
            note="one too many",
            labels=(Label(defined.syntax.name.span, "defined here"),),
        )


def no_input(session: Session, instance: Instance, argument: Argument) -> NablacError:
    """The error for a named argument that matches no input."""
    defined, name = instance.defined, argument.name or ""
    inputs = [declared.name.text for declared in declared_inputs(defined.syntax)]
    return session.fault(
        codes.E402,
        f"{defined.kind} {defined.name} has no input `{name}`",
        argument.named_at or argument.span,
        labels=(Label(defined.syntax.name.span, f"its inputs are {', '.join(inputs) or 'none'}"),),
        hint=did_you_mean(name, inputs),
    )


def outputs_of(session: Session, frame: Frame, instance: Instance) -> CompileTimeValue:
    """The outputs of a body that ran in `frame`: one value, or a tuple of several."""
    if not frame.outputs:
        raise session.fault(
            codes.E408,
            f"{frame.kind} {frame.name} has no `output`",
            instance.defined.syntax.name.span,
            hint="end it with `output ...`",
        )
    values = [value for _, value, _ in frame.outputs]
    if any(value is UNKNOWN for value in values):
        return UNKNOWN if len(values) == 1 else tuple(values)
    return values[0] if len(values) == 1 else tuple(values)


def _named_outputs(session: Session, frame: Frame, instance: Instance) -> CompileTimeValue:
    """The outputs of a body; `out` is a name for those without one."""
    outputs = outputs_of(session, frame, instance)
    for _, value, span in frame.outputs:
        session.add_name(value, "out", span)
    return outputs


def record_outputs(session: Session, instance: Instance, results: CompileTimeValue) -> CompileTimeValue:
    """Record an application of a layer, and the types of its outputs at the first; returns `results`."""
    assert instance.path is not None
    layer = session.layers[instance.path]
    types = layer.outputs
    if not types:
        values = results if isinstance(results, tuple) else (results,)
        types = tuple(value.type for value in values if isinstance(value, Value))
    session.layers[instance.path] = Layer(layer.definition, layer.doc, types, layer.applications + 1)
    return results
