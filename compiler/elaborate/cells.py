"""Recurrences: a cell's equations become the body of one Scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.dims import Size
from compiler.elaborate import calls, shapes
from compiler.elaborate.frame import Abandoned, Frame, ScanContext, Silence, State
from compiler.elaborate.frameworks import argument_hint
from compiler.elaborate.values import NONE, UNKNOWN, Defined, Given, Instance, ScanOf, describe
from compiler.elaborate.work import ITEM, NODE
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.indexing import Iota
from compiler.operators.shaping import Expand, Transpose
from compiler.operators.source import Constant, Input, SizeOf, constant
from compiler.rewrite import reached, replace
from compiler.types import DType, TensorType, TypeMismatch
from grammar import syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.elaborate.elaborator import Elaborator

SCAN = 40  # nodes that cost as much as closing a body
OPTIONS = ("axis", "reverse", "states", "truncate")


def scan_of(elaborator: Elaborator, given: list[Given], span: Span) -> ScanOf:
    """`scan(cell)`: the cell, and options that its application may repeat."""
    if not given or given[0].name is not None:
        raise elaborator.fault("E412", "scan needs a cell", span, hint="`scan(LSTMCell(32))(xs, axis: 1)`")
    cell = given[0].value
    if isinstance(cell, Defined) and cell.kind == "cell":
        cell = elaborator.instantiate(cell, [], given[0].span)
    if not isinstance(cell, Instance) or cell.defined.kind != "cell":
        hint = "a cell is declared with `cell Name(...) { ... }`"
        if isinstance(cell, Value):  # `x -> scan(cell, axis: 1)`, which gives `scan` the sequence first
            hint = "the cell comes first, the sequences in a second call: `scan(cell)(xs, axis: 1)`"
        raise elaborator.fault(
            "E412", f"scan runs a cell along an axis, and this is {describe(cell)}", given[0].span, hint=hint
        )
    options = {each.name: each for each in given[1:] if each.name is not None}
    extra = [each for each in given[1:] if each.name is None]
    unknown = [each for each in options.values() if each.name not in OPTIONS]
    if extra or unknown:
        wrong = (extra or unknown)[0]
        raise elaborator.fault(
            "E402",
            f"scan(cell) takes the options {', '.join(OPTIONS)}",
            wrong.named_at or wrong.span,
            hint=did_you_mean(wrong.name or "", OPTIONS)
            or "sequences come in a second call: `scan(cell)(xs, axis: 1)`",
        )
    return ScanOf(cell, options)


def scan(elaborator: Elaborator, scanned: ScanOf, given: list[Given], span: Span) -> Any:
    """Run a cell along an axis: the outputs stacked there, then the final states if `states` is set."""
    cell = scanned.cell
    options = dict(scanned.options)
    named: list[Given] = []
    for each in given:
        if each.name in OPTIONS:
            options[each.name] = each
        elif each.name is not None:
            named.append(each)
    if "axis" not in options:
        raise _no_axis(elaborator, named, span)
    axis, truncate = (_whole(elaborator, options.get(name), 0) for name in ("axis", "truncate"))
    reverse, wants_states = (_truth(elaborator, options.get(name)) for name in ("reverse", "states"))
    sequences = [(calls.tensor_argument(elaborator, each), each) for each in given if each.name is None]
    if not sequences:
        raise elaborator.fault("E412", "scan needs at least one sequence to walk along", span)
    axis, length = _length(elaborator, sequences, axis, span)
    elaborator.place(cell)

    session = elaborator.session
    step = Input("step", TensorType(DType.I64))()
    context = ScanContext(length, step)
    slices = [_slice_input(value, place, axis) for place, (value, _) in enumerate(sequences)]
    arguments = [Given(None, part, each.span) for part, (_, each) in zip(slices, sequences, strict=True)]
    inputs = {each.name.text for each in _inputs(cell)}
    whole = [each for each in named if each.name in inputs]
    first = {each.name: each for each in named if each.name not in inputs and each.name is not None}

    session.scans.append(context)
    frame = elaborator.enter(cell, [*arguments, *whole], span)
    frame.first_states = first
    try:
        elaborator.run(cell.defined.syntax.body)
        elaborator._leftover(frame, cell, span)
        outputs = elaborator._outputs(frame, cell, span)
        refused = {name for name, value in frame.scope.names.items() if value is UNKNOWN}
        unused = [each for name, each in first.items() if name not in frame.states and name not in refused]
        if unused:
            raise elaborator.fault(
                "E402",
                f"cell {cell.defined.name} has no state or input `{unused[0].name}`",
                unused[0].named_at or unused[0].span,
                hint=argument_hint(unused[0].name or "", [*frame.states, *inputs, *OPTIONS]),
            )
        stacked = list(outputs) if isinstance(outputs, tuple) else [outputs]
        if any(value is UNKNOWN for value in stacked):
            raise Silence
        for state in context.states:
            if state.next is None:
                raise elaborator.fault(
                    "E411",
                    f"state `{state.name}` of cell {cell.defined.name} has no next value",
                    state.span,
                    hint=f"state its equation: `{state.name}' = ...`",
                )
            if state.next is UNKNOWN:
                raise Silence
        if truncate < 0:
            raise elaborator.fault(
                "E404", "`truncate` of scan is a number of steps, or 0 for all", options["truncate"].span
            )
        made = _build(elaborator, context, slices, sequences, stacked, axis, reverse, truncate, span)
    except Abandoned:
        raise Silence from None
    finally:
        elaborator.leave()
        session.scans.pop()
    declared = set(frame.states.values())
    own = [made[place] for place, state in enumerate(context.states) if state in declared]
    ys = made[len(context.states) :]
    session.gave(cell, ys)
    if wants_states:
        return (*ys, *own)
    return ys[0] if len(ys) == 1 else ys


def _no_axis(elaborator: Elaborator, named: list[Given], span: Span) -> NablacError:
    """The error for a scan whose axis is not said: which it is cannot be seen from the shapes."""
    for each in named:
        if each.name is not None and (near := did_you_mean(each.name, ("axis",))):
            message = f"scan has no argument `{each.name}`"
            return elaborator.fault("E402", message, each.named_at or each.span, hint=near)
    return elaborator.fault(
        "E425",
        "scan is not told along which axis to run",
        span,
        hint="as in `scan(cell)(xs, axis: 1)`: of [batch, time, features] time is axis 1, of [time, features] 0",
    )


def apply_inside(elaborator: Elaborator, instance: Instance, given: list[Given], span: Span) -> Any:
    """A cell applied inside another cell: its states become states of the same scan."""
    if not elaborator.session.scans:
        raise elaborator.fault(
            "E410",
            f"cell {instance.defined.name} is one step of a recurrence",
            span,
            note="it is applied to a whole tensor here",
            hint="run it along an axis: `scan(cell)(xs, axis: 1)`",
        )
    elaborator.place(instance)
    frame = elaborator.enter(instance, given, span)
    try:
        elaborator.run(instance.defined.syntax.body)
        elaborator._leftover(frame, instance, span)
        return elaborator.session.gave(instance, elaborator._outputs(frame, instance, span))
    except Abandoned:
        return UNKNOWN
    finally:
        elaborator.leave()


def declare_state(elaborator: Elaborator, statement: syntax.Declare, declared: syntax.Declared) -> Any:
    """A state: its value at the start of a step, as an input of the scan's body."""
    frame, name = elaborator.frame, declared.name.text
    if frame.kind == "optimizer":
        return _optimizer_state(elaborator, statement, declared)
    if declared.type is None:
        raise elaborator.fault(
            "E306", f"state `{name}` needs a shape", declared.span, hint=f"`state {name}: [batch, ...] = 0`"
        )
    dtype = shapes.dtype_of(elaborator, declared.type) or frame.float_type or elaborator.session.float_type
    type = TensorType(dtype, shapes.sizes_of(elaborator, declared.type))
    given = frame.first_states.get(name)
    current: Value = elaborator.session.make(lambda: Input(f"{name}", type)(), declared.span)
    if given is not None and given.value is not NONE:
        initial, span = calls.as_tensor(elaborator, given.value, given.span, dtype), given.span
    elif statement.initializer is not None:
        initial, span = _first_value(elaborator, statement, declared, type), statement.initializer.span
    else:
        initial, span = calls.as_tensor(elaborator, 0, declared.span, dtype), declared.span
    if initial.type != type:
        if given is not None and given.value is not NONE and initial.type.rank > 0:
            raise elaborator.fault(
                "E303",
                f"state `{name}` of cell {frame.name} is {type}, and its first value is {initial.type}",
                span,
                labels=(Label(declared.span, "declared here"),),
            )
        scalar = initial
        initial = calls.typed(elaborator, lambda: Expand(type.shape)(scalar), span, [], what=f"state `{name}`")
    state = State(name, current, initial, declared.span)
    frame.states[name] = state
    elaborator.session.scans[-1].states.append(state)
    return current


def _first_value(
    elaborator: Elaborator, statement: syntax.Declare, declared: syntax.Declared, type: TensorType
) -> Value:
    """A state's value before the first step: it is made outside of the scan, so that its draws have no step."""
    session, initializer = elaborator.session, statement.initializer
    assert initializer is not None
    step = session.scans.pop()
    try:
        if statement.drawn:
            value = elaborator.draw(initializer, list(type.shape), initializer.span)
        else:
            value = elaborator.stated(statement, initializer, declared)
        tensor = calls.as_tensor(elaborator, value, initializer.span, type.dtype)
    finally:
        session.scans.append(step)
    if statement.drawn and tensor.type != type:
        raise elaborator.misshapen(declared, type, tensor, initializer.span)
    return tensor


def _optimizer_state(elaborator: Elaborator, statement: syntax.Declare, declared: syntax.Declared) -> Any:
    """A state of an optimizer: one tensor for each parameter, of the parameter's own type."""
    frame, name = elaborator.frame, declared.name.text
    if declared.type is not None:
        raise elaborator.fault(
            "E414",
            "a state of an optimizer has the shape of its parameter",
            declared.type.span,
            hint=f"write `state {name} = 0`",
        )
    type = frame.states["param"].current.type
    current: Value = elaborator.session.make(lambda: Input(name, type)(), declared.span)
    initial: Value = elaborator.session.make(lambda: constant(0, type.dtype), declared.span)
    if statement.initializer is not None:
        span = statement.initializer.span
        if statement.drawn:
            value = elaborator.draw(statement.initializer, list(type.shape), span)
        else:
            value = elaborator.stated(statement, statement.initializer, declared)
        initial = calls.as_tensor(elaborator, value, span, type.dtype)
        if initial.type != type and (statement.drawn or initial.type.dtype != type.dtype):
            raise elaborator.misshapen(declared, type, initial, span)
        if initial.type != type:
            whole = initial
            initial = calls.typed(elaborator, lambda: Expand(type.shape)(whole), span, [], what=f"state `{name}`")
        _begin_before_training(elaborator, name, initial, frame, span)
    frame.states[name] = State(name, current, initial, declared.span)
    return current


def _begin_before_training(elaborator: Elaborator, name: str, initial: Value, frame: Frame, span: Span) -> None:
    """First values of an optimizer are there before the first step: of its inputs only the parameter is."""
    known = (elaborator.session.key, frame.states["param"].current)
    for node in Graph({}, {"initial": initial}):
        if isinstance(node.op, Input) and node.result not in known:
            raise elaborator.fault(
                "E417",
                f"the first value of `{name}` depends on `{node.op.label}`, which no step has given yet",
                span,
                hint=f"begin at 0, and choose in its equation: `{name}' = where(step == 1, {node.op.label}, ...)`",
            )


def _build(
    elaborator: Elaborator,
    context: ScanContext,
    slices: list[Value],
    sequences: list[tuple[Value, Given]],
    outputs: list[Value],
    axis: int,
    reverse: bool,
    truncate: int,
    span: Span,
) -> tuple[Value, ...]:
    """Close the body over what it takes from outside, and make the Scan."""
    nexts = [state.next for state in context.states if state.next is not None]
    ends = [*nexts, *outputs]
    formal = [state.current for state in context.states] + slices
    body_nodes = Graph({}, {str(place): end for place, end in enumerate(ends)}).nodes
    elaborator.session.charge(
        (SCAN + len(body_nodes)) * ITEM * NODE, span
    )  # those of the step are made again on its own inputs
    stepped = context.step.node in body_nodes
    if stepped:
        formal.append(context.step)
    _begin_outside(elaborator, context, formal)
    captured = _captures(body_nodes, {value.node for value in formal}, ends)
    labels = [value.node.op.label for value in formal]  # type: ignore[attr-defined]
    names = _unique([*labels, *(f"captured_{place}" for place in range(len(captured)))])
    taken = [*formal, *captured]
    inputs = {name: Input(name, value.type)() for name, value in zip(names, taken, strict=True)}
    closed = replace(ends, dict(zip(taken, inputs.values(), strict=True)))
    states = len(context.states)
    labels = _unique(
        [f"next_{state.name}" for state in context.states] + [f"output_{place}" for place in range(len(outputs))]
    )
    body = Graph(inputs, dict(zip(labels, closed, strict=True)), name="step")
    walked = [_to_front(elaborator, value, axis, span) for value, _ in sequences]
    if stepped:
        walked.append(elaborator.session.make(lambda: Iota(context.length)(), span))
    operands = [*(state.initial for state in context.states), *walked, *captured]
    build = Scan(body, states, len(walked), reverse, truncate)
    try:
        results = elaborator.session.make(lambda: build.apply(*operands).results, span)
    except TypeMismatch as mismatch:
        raise elaborator.fault("E301", f"scan: {mismatch}", span, hint=mismatch.hint) from None
    stacked = [_from_front(elaborator, value, axis, span) for value in results[states:]]
    return (*results[:states], *stacked)


def _begin_outside(elaborator: Elaborator, context: ScanContext, formal: list[Value]) -> None:
    """First values are there before the first step: they cannot depend on what a step is given."""
    stepped = reached([state.initial for state in context.states], [*formal, context.step])
    for state in context.states:
        if state.initial.node in stepped:
            raise elaborator.fault(
                "E417",
                f"the first value of `{state.name}` depends on what each step is given",
                state.span,
                hint=f"make it outside of the cell, and give it: `scan(cell)(xs, {state.name}: ...)`",
            )


def _captures(nodes: tuple[Node, ...], formal: set[Node], ends: list[Value]) -> list[Value]:
    """Values made outside the step that the step uses: all that depends on no formal input is computed once."""
    inside = set(formal)
    for node in nodes:
        if any(operand.node in inside for operand in node.operands):
            inside.add(node)
    free = (Constant, SizeOf)  # as cheap inside as outside
    captured: dict[Value, None] = {}
    used = [operand for node in nodes if node in inside for operand in node.operands] + ends
    for value in used:
        if value.node not in inside and not isinstance(value.node.op, free):
            captured[value] = None
    return list(captured)


def _slice_input(value: Value, place: int, axis: int) -> Value:
    shape = tuple(size for each, size in enumerate(value.shape) if each != axis)
    made: Value = Input(f"x{place}" if place else "x", TensorType(value.type.dtype, shape))()
    return made


def _length(elaborator: Elaborator, sequences: list[tuple[Value, Given]], axis: int, span: Span) -> tuple[int, Size]:
    first, given = sequences[0]
    length: Size | None = None
    for value, each in sequences:
        try:
            place = value.type.axis(axis)
        except TypeMismatch as mismatch:
            raise elaborator.fault("E314", f"scan: {mismatch}", each.span, hint=mismatch.hint) from None
        size = value.shape[place]
        if length is not None and size != length:
            raise elaborator.fault(
                "E413",
                f"scan walks sequences of one length, and these have {length} and {size}",
                each.span,
                labels=(Label(given.span, f"this is {first.type}"),),
            )
        length = size
    assert length is not None
    return first.type.axis(axis), length


def _to_front(elaborator: Elaborator, value: Value, axis: int, span: Span) -> Value:
    if axis == 0:
        return value
    order = (axis, *(each for each in range(value.type.rank) if each != axis))
    made: Value = elaborator.session.make(lambda: Transpose(order)(value), span)
    return made


def _from_front(elaborator: Elaborator, value: Value, axis: int, span: Span) -> Value:
    axis = min(axis, value.type.rank - 1)
    if axis == 0:
        return value
    order = (*range(1, axis + 1), 0, *range(axis + 1, value.type.rank))
    made: Value = elaborator.session.make(lambda: Transpose(order)(value), span)
    return made


def _inputs(cell: Instance) -> list[syntax.Declared]:
    from compiler.elaborate.elaborator import declared_inputs

    return declared_inputs(cell.defined.syntax)


def _unique(names: list[str]) -> list[str]:
    """The names, a number behind each that stands before it."""
    taken: dict[str, int] = {}  # and the last number tried behind each
    for name in names:
        found = name
        while found in taken:
            taken[name] += 1
            found = f"{name}_{taken[name]}"
        taken[found] = 0
    return list(taken)


def _whole(elaborator: Elaborator, given: Given | None, default: int) -> int:
    if given is None:
        return default
    if not isinstance(given.value, int) or isinstance(given.value, bool):
        raise elaborator.fault(
            "E404", f"`{given.name}` of scan is a whole number, and {describe(given.value)} is given", given.span
        )
    return given.value


def _truth(elaborator: Elaborator, given: Given | None) -> bool:
    if given is None:
        return False
    if not isinstance(given.value, bool):
        raise elaborator.fault(
            "E404", f"`{given.name}` of scan is true or false, and {describe(given.value)} is given", given.span
        )
    return given.value
