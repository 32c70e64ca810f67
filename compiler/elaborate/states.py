"""States of cells, which are inputs of each step, and of optimizers, which are tensors for each parameter."""

from __future__ import annotations

from compiler.elaborate.declared_shapes import dtype_of, sizes_of
from compiler.elaborate.first_values import first_value, misshapen
from compiler.elaborate.frame import Frame, State
from compiler.elaborate.operands import as_tensor, build_checked
from compiler.elaborate.session import Session
from compiler.elaborate.values import NONE
from compiler.graph import Graph, Value
from compiler.operators.leaves import Input, constant
from compiler.operators.shaping import Expand
from compiler.types import TensorType
from grammar import codes, syntax
from grammar.diagnostics import Label
from grammar.source import Span


def declare_state(session: Session, statement: syntax.Declare, declared: syntax.Declared) -> Value:
    """A state's value at the start of a step."""
    if session.frame.kind == "optimizer":
        return _optimizer_state(session, statement, declared)
    return _cell_state(session, statement, declared)


def _cell_state(session: Session, statement: syntax.Declare, declared: syntax.Declared) -> Value:
    """A state of a cell: its initial value is an argument of the scan, that of its initializer, or 0."""
    frame, name = session.frame, declared.name.text
    if declared.type is None:
        raise session.fault(
            codes.E306, f"state `{name}` needs a shape", declared.span, hint=f"as in `state {name}: [batch, ...] = 0`"
        )
    dtype = dtype_of(session, declared.type) or session.local_float_type
    type = TensorType(dtype, sizes_of(session, declared.type))
    argument = frame.first_states.get(name)
    if argument is not None and argument.value is NONE:
        argument = None
    current = session.make(lambda: Input(name, type)(), declared.span)
    if argument is not None:
        initial, span = as_tensor(session, argument.value, argument.span, dtype), argument.span
    elif statement.initializer is not None:
        initial, span = _before_scan(session, statement, declared, type), statement.initializer.span
    else:
        initial, span = as_tensor(session, 0, declared.span, dtype), declared.span
    if initial.type != type and argument is not None and initial.type.rank > 0:
        raise session.fault(
            codes.E303,
            f"state `{name}` of cell {frame.name} is {type}, but its initial value is {initial.type}",
            span,
            labels=(Label(declared.span, "declared here"),),
        )
    state = State(name, current, _expanded(session, name, initial, type, span), declared.span)
    frame.states[name] = state
    session.scans[-1].states.append(state)
    return current


def _before_scan(session: Session, statement: syntax.Declare, declared: syntax.Declared, type: TensorType) -> Value:
    """A state's value before the first step, computed outside the scan: its draws do not depend on the step."""
    context = session.scans.pop()
    try:
        return first_value(session, statement, declared, type)
    finally:
        session.scans.append(context)


def _optimizer_state(session: Session, statement: syntax.Declare, declared: syntax.Declared) -> Value:
    """A state of an optimizer: one tensor for each parameter, of the parameter's own type."""
    frame, name = session.frame, declared.name.text
    if declared.type is not None:
        raise session.fault(
            codes.E414,
            "a state of an optimizer has the shape of its parameter",
            declared.type.span,
            hint=f"write `state {name} = 0`",
        )
    type = frame.states["param"].current.type
    current = session.make(lambda: Input(name, type)(), declared.span)
    initial = session.make(lambda: constant(0, type.dtype), declared.span)
    if statement.initializer is not None:
        span = statement.initializer.span
        initial = first_value(session, statement, declared, type)
        if initial.type.dtype != type.dtype:
            raise misshapen(session, declared, type, initial, span)
        initial = _expanded(session, name, initial, type, span)
        _begin_before_training(session, name, initial, frame, span)
    frame.states[name] = State(name, current, initial, declared.span)
    return current


def _expanded(session: Session, name: str, initial: Value, type: TensorType, span: Span) -> Value:
    """An initial value expanded to the shape of the state."""
    if initial.type == type:
        return initial
    return build_checked(session, lambda: Expand(type.shape)(initial), span, [], what=f"state `{name}`")


def _begin_before_training(session: Session, name: str, initial: Value, frame: Frame, span: Span) -> None:
    """NablacError if an optimizer's initial value depends on an input that has no value before the first step."""
    known = (session.key, frame.states["param"].current)
    for node in Graph({}, {"initial": initial}):
        if isinstance(node.op, Input) and node.result not in known:
            raise session.fault(
                codes.E417,
                f"the initial value of `{name}` depends on `{node.op.label}`, which has no value before the first step",
                span,
                hint=f"start at 0 and choose in its equation: `{name}' = where(step == 1, {node.op.label}, ...)`",
            )
