"""Recurrences: a cell's equations become the body of one Scan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compiler.dims import Size
from compiler.elaborate.definition_bodies import declared_inputs
from compiler.elaborate.frame import Frame, ScanContext, State
from compiler.elaborate.frameworks import argument_hint
from compiler.elaborate.instances import check_leftover, claim_path, entered, instantiate, outputs_of, record_outputs
from compiler.elaborate.interruptions import AlreadyReported, CallAborted
from compiler.elaborate.operands import tensor_argument
from compiler.elaborate.session import Session, calls
from compiler.elaborate.values import UNKNOWN, Argument, CompileTimeValue, Defined, Instance, ScanOf, Unknown, describe
from compiler.elaborate.work import NODE
from compiler.graph import Value
from compiler.operators.control import Scan
from compiler.operators.indexing import Iota
from compiler.operators.leaves import Input
from compiler.operators.shaping import Transpose
from compiler.recurrence import RecurrentState, Step
from compiler.types import DType, TensorType, TypeMismatch
from grammar import codes
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.source import Span

SCAN = 40  # the cost of building the body of a Scan, in nodes
OPTIONS = ("axis", "reverse", "states", "truncate")


def scan_of(session: Session, arguments: list[Argument], span: Span) -> ScanOf:
    """`scan(cell)`: the cell and the options, which its application may override."""
    if not arguments or arguments[0].name is not None:
        raise session.fault(codes.E412, "scan needs a cell", span, hint="as in `scan(LSTMCell(32))(xs, axis: 1)`")
    cell = arguments[0].value
    if isinstance(cell, Defined) and cell.kind == "cell":
        cell = instantiate(session, cell, [], arguments[0].span)
    if not isinstance(cell, Instance) or cell.defined.kind != "cell":
        hint = "a cell is declared with `cell Name(...) { ... }`"
        if isinstance(cell, Value):  # `x -> scan(cell, axis: 1)`, which gives `scan` the sequence first
            hint = "pass the cell first, the sequences in a second call: `scan(cell)(xs, axis: 1)`"
        raise session.fault(codes.E412, f"scan takes a cell, got {describe(cell)}", arguments[0].span, hint=hint)
    options = {argument.name: argument for argument in arguments[1:] if argument.name is not None}
    extra = [argument for argument in arguments[1:] if argument.name is None]
    unknown = [argument for argument in options.values() if argument.name not in OPTIONS]
    if extra or unknown:
        wrong = (extra or unknown)[0]
        raise session.fault(
            codes.E402,
            f"scan(cell) takes the options {', '.join(OPTIONS)}",
            wrong.named_at or wrong.span,
            hint=did_you_mean(wrong.name or "", OPTIONS)
            or "pass the sequences in a second call: `scan(cell)(xs, axis: 1)`",
        )
    return ScanOf(cell, options)


@calls(ScanOf)
def scan(session: Session, scanned: ScanOf, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """Run a cell along an axis: its outputs stacked along it, followed by the final states if `states` is set."""
    cell = scanned.cell
    named = [argument for argument in arguments if argument.name is not None and argument.name not in OPTIONS]
    options = scanned.options | {argument.name: argument for argument in arguments if argument.name in OPTIONS}
    if "axis" not in options:
        raise _no_axis(session, named, span)
    axis, truncate = (_whole(session, options.get(name), 0) for name in ("axis", "truncate"))
    reverse, wants_states = (_truth(session, options.get(name)) for name in ("reverse", "states"))
    sequences = [(tensor_argument(session, argument), argument) for argument in arguments if argument.name is None]
    if not sequences:
        raise session.fault(codes.E412, "scan needs at least one sequence", span)
    axis, length = _length(session, sequences, axis)
    claim_path(session, cell)

    context = ScanContext(length, Input("step", TensorType(DType.I64))())
    slices = [_slice_input(value, index, axis) for index, (value, _) in enumerate(sequences)]
    inputs = [declared.name.text for declared in declared_inputs(cell.defined.syntax)]
    parts = [Argument(None, part, argument.span) for part, (_, argument) in zip(slices, sequences, strict=True)]
    whole = [argument for argument in named if argument.name in inputs]
    with _scanning(session, context), entered(session, cell, [*parts, *whole], span) as frame:
        frame.first_states = {
            argument.name: argument for argument in named if argument.name and argument.name not in inputs
        }
        step = _run_step(session, frame, cell, slices)
        if truncate < 0:
            message = "`truncate` of scan must be a number of steps, or 0 for all"
            raise session.fault(codes.E404, message, options["truncate"].span)
        states, outputs = _build(session, step, [value for value, _ in sequences], axis, reverse, truncate, span)
    declared = set(frame.states.values())  # without those of nested cells
    own = [value for state, value in zip(context.states, states, strict=True) if state in declared]
    record_outputs(session, cell, outputs)
    if wants_states:
        return (*outputs, *own)
    return outputs[0] if len(outputs) == 1 else outputs


@contextmanager
def _scanning(session: Session, context: ScanContext) -> Iterator[None]:
    session.scans.append(context)
    try:
        yield
    finally:
        session.scans.pop()


def _run_step(session: Session, frame: Frame, cell: Instance, slices: list[Value]) -> Step:
    """The cell's equations for one step of the sequences."""
    try:
        session.run(cell.defined.syntax.body)
    except CallAborted:
        raise AlreadyReported from None
    check_leftover(session, frame, cell)
    result = outputs_of(session, frame, cell)
    results = result if isinstance(result, tuple) else (result,)
    refused = {name for name, value in frame.scope.names.items() if value is UNKNOWN}
    for name, argument in frame.first_states.items():
        if name not in frame.states and name not in refused:
            inputs = [declared.name.text for declared in declared_inputs(cell.defined.syntax)]
            raise session.fault(
                codes.E402,
                f"cell {cell.defined.name} has no state or input `{name}`",
                argument.named_at or argument.span,
                hint=argument_hint(name, [*frame.states, *inputs, *OPTIONS]),
            )
    outputs = tuple(value for value in results if isinstance(value, Value))
    if len(outputs) < len(results):  # an UNKNOWN, since an output of a cell is a tensor
        raise AlreadyReported
    context = session.scans[-1]
    states = tuple(_state_with_next(session, cell, state) for state in context.states)
    return Step(states, tuple(slices), context.step, outputs)


def _state_with_next(session: Session, cell: Instance, state: State) -> RecurrentState:
    """A state with its next value; NablacError if no equation gives it one."""
    if state.next is None:
        raise session.fault(
            codes.E411,
            f"state `{state.name}` of cell {cell.defined.name} has no next value",
            state.span,
            hint=f"add its equation: `{state.name}' = ...`",
        )
    if isinstance(state.next, Unknown):
        raise AlreadyReported
    return RecurrentState(state.name, state.current, state.initial, state.next)


def _no_axis(session: Session, named: list[Argument], span: Span) -> NablacError:
    """The error for a scan without an axis, which the shapes do not determine."""
    for argument in named:
        if argument.name is not None and (near := did_you_mean(argument.name, ("axis",))):
            message = f"scan has no argument `{argument.name}`"
            return session.fault(codes.E402, message, argument.named_at or argument.span, hint=near)
    return session.fault(
        codes.E425,
        "scan needs an axis to run along",
        span,
        hint="as in `scan(cell)(xs, axis: 1)`: time is axis 1 of [batch, time, features], axis 0 of [time, features]",
    )


def _build(
    session: Session, step: Step, sequences: list[Value], axis: int, reverse: bool, truncate: int, span: Span
) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """The Scan of a step along an axis: the final states, and the outputs stacked along it."""
    # The nodes of the step are rebuilt on the inputs of the body.
    session.charge((SCAN + len(step.nodes)) * NODE / 3, span)
    begun = step.begun_inside()
    if begun is not None:
        raise session.fault(
            codes.E417,
            f"the initial value of `{begun.name}` depends on the inputs of a step",
            session.scans[-1].states[step.states.index(begun)].span,
            hint=f"compute it outside the cell and pass it: `scan(cell)(xs, {begun.name}: ...)`",
        )
    body = step.body()
    leading = [_to_front(session, value, axis, span) for value in sequences]
    if step.is_numbered:
        length = session.scans[-1].length
        leading.append(session.make(lambda: Iota(length)(), span))
    operands = [*(state.initial for state in step.states), *leading, *step.captured]
    operator = Scan(body, len(step.states), len(leading), reverse, truncate=truncate)
    try:
        results = session.make(lambda: operator.apply(*operands).results, span)
    except TypeMismatch as mismatch:
        raise session.fault(codes.E301, f"scan: {mismatch}", span, hint=mismatch.hint) from None
    count = len(step.states)
    return results[:count], tuple(_from_front(session, value, axis, span) for value in results[count:])


def _slice_input(value: Value, index: int, axis: int) -> Value:
    shape = tuple(size for number, size in enumerate(value.shape) if number != axis)
    return Input(f"x{index}" if index else "x", TensorType(value.type.dtype, shape))()


def _length(session: Session, sequences: list[tuple[Value, Argument]], axis: int) -> tuple[int, Size]:
    first, argument = sequences[0]
    length: Size | None = None
    for value, other in sequences:
        try:
            index = value.type.axis(axis)
        except TypeMismatch as mismatch:
            raise session.fault(codes.E314, f"scan: {mismatch}", other.span, hint=mismatch.hint) from None
        size = value.shape[index]
        if length is not None and size != length:
            raise session.fault(
                codes.E413,
                f"scan needs sequences of equal length, got {length} and {size}",
                other.span,
                labels=(Label(argument.span, f"this is {first.type}"),),
            )
        length = size
    assert length is not None
    return first.type.axis(axis), length


def _to_front(session: Session, value: Value, axis: int, span: Span) -> Value:
    if axis == 0:
        return value
    order = (axis, *(other for other in range(value.type.rank) if other != axis))
    return session.make(lambda: Transpose(order)(value), span)


def _from_front(session: Session, value: Value, axis: int, span: Span) -> Value:
    axis = min(axis, value.type.rank - 1)
    if axis == 0:
        return value
    order = (*range(1, axis + 1), 0, *range(axis + 1, value.type.rank))
    return session.make(lambda: Transpose(order)(value), span)


def _whole(session: Session, argument: Argument | None, default: int) -> int:
    if argument is None:
        return default
    if not isinstance(argument.value, int) or isinstance(argument.value, bool):
        raise session.fault(
            codes.E404,
            f"`{argument.name}` of scan must be a whole number, got {describe(argument.value)}",
            argument.span,
        )
    return argument.value


def _truth(session: Session, argument: Argument | None) -> bool:
    if argument is None:
        return False
    if not isinstance(argument.value, bool):
        raise session.fault(
            codes.E404,
            f"`{argument.name}` of scan must be true or false, got {describe(argument.value)}",
            argument.span,
        )
    return argument.value
