"""Assignments, outputs and loops."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.elaborate.bounded import bounded_list
from compiler.elaborate.instances import claim_path
from compiler.elaborate.interruptions import AlreadyReported
from compiler.elaborate.operands import as_tensor, not_a_tensor
from compiler.elaborate.search_ranges import resolve_choices, resolve_range
from compiler.elaborate.session import MOST_ITERATIONS, Session, runs
from compiler.elaborate.values import NONE, UNKNOWN, CompileTimeValue, Defined, Instance, Interval, ScanOf, describe
from compiler.elaborate.work import EXPRESSION
from compiler.operators.leaves import Buffer
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.source import Span


@runs(syntax.Preset)
def run_preset(session: Session, statement: syntax.Preset) -> None:
    """Nothing: presets are read before the body runs, by `compiler.elaborate.presets`."""


@runs(syntax.Assign)
def run_assign(session: Session, statement: syntax.Assign) -> None:
    """`a, b = value`: a name for each value."""
    value = session.evaluate(statement.value)
    targets, span = statement.targets, statement.value.span
    if len(targets) == 1:
        _assign(session, targets[0], value, span)
        return
    if value is UNKNOWN:
        raise AlreadyReported
    if not isinstance(value, (tuple, list)):
        raise session.fault(codes.E409, f"{len(targets)} names on the left, but {describe(value)} on the right", span)
    if len(value) != len(targets):
        raise session.fault(codes.E409, f"{len(targets)} names on the left, but {len(value)} values on the right", span)
    for target, item in zip(targets, value, strict=True):
        _assign(session, target, item, span)


def _assign(session: Session, target: syntax.Name, value: CompileTimeValue, span: Span) -> None:
    """Bind a name, or the next value of a state or buffer."""
    if target.primed:
        _assign_next(session, target, value, span)
        return
    if target.text == "_":
        return
    if isinstance(value, Instance) and value.defined.kind in ("layer", "model", "cell"):
        claim_path(session, value, target.text, span)
    session.add_name(value, target.text, span)
    session.frame.scope.names[target.text] = value


def _assign_next(session: Session, target: syntax.Name, value: CompileTimeValue, span: Span) -> None:
    """`h' = value`: the equation of a state or buffer."""
    frame, name = session.frame, target.text
    current = frame.states[name].current if name in frame.states else frame.buffers.get(name)
    if current is None and frame.scope.names.get(name) is UNKNOWN:  # its declaration was refused
        raise AlreadyReported
    if current is None:
        raise session.fault(
            codes.E208,
            f"`{name}'` is a next value, but `{name}` is neither a state nor a buffer",
            target.span,
            hint=did_you_mean(name, [*frame.states, *frame.buffers]) or f"declare it: `state {name}: [batch, ...] = 0`",
        )
    if name in frame.equations:
        raise session.fault(
            codes.E202,
            f"`{name}'` has two equations",
            target.span,
            labels=(Label(frame.equations[name], "first here"),),
            hint="a state has one next value; `where(condition, a, b)` chooses between two",
        )
    frame.equations[name] = target.span
    if value is UNKNOWN:
        frame.next_values[name] = value
        raise AlreadyReported
    tensor = as_tensor(session, value, span, current.type.dtype)
    if tensor.type != current.type:
        declared = frame.declared.get(name)
        raise session.fault(
            codes.E309,
            f"`{name}` is {current.type}, but its next value is {tensor.type}",
            span,
            labels=(Label(declared, "declared here"),) if declared else (),
        )
    frame.next_values[name] = tensor
    session.add_name(tensor, name, span, primed=True)
    if name in frame.states:
        frame.states[name].next = tensor
        return
    assert isinstance(current.node.op, Buffer)
    if session.scans:
        raise session.fault(
            codes.E414,
            f"`{name}'` is not allowed inside a scan: a buffer has one next value, but a scan has many steps",
            target.span,
            hint="what changes from step to step is a `state` of the cell",
        )
    session.updates[current.node.op.path] = tensor


@runs(syntax.Output)
def run_output(session: Session, statement: syntax.Output) -> None:
    """`output a, b`, or `output name = value`."""
    value = statement.value
    for item in value.items if isinstance(value, syntax.TupleOf) else (value,):
        _put_out(session, statement, item)


def _put_out(session: Session, statement: syntax.Output, item: syntax.Expression) -> None:
    """Add one item of an `output` statement; a tuple is several outputs."""
    item, frame = resolve_choices(session, item), session.frame
    if statement.name is not None:
        name: str | None = statement.name.text
    elif isinstance(item, syntax.Name) and item.text not in frame.inputs:
        name = item.text  # in `x = x -> Dense(4)` the name remains that of the input
    else:
        name = None
    try:
        value = resolve_range(session, session.evaluate(item))
        if isinstance(value, (Instance, Defined, ScanOf)) and frame.kind != "fn":
            raise not_a_tensor(session, value, item.span)
        values = value if isinstance(value, tuple) else (value,)
        session.charge(len(values) * EXPRESSION, item.span)
        if frame.kind != "fn":
            values = tuple(_output_tensor(session, output, item.span) for output in values)
    except (NablacError, AlreadyReported):
        frame.outputs.append((name, UNKNOWN, item.span))
        if statement.name is not None:  # what reads it is not wrong itself
            frame.scope.names[statement.name.text] = UNKNOWN
        raise
    for output in values:
        frame.outputs.append((name if len(values) == 1 else None, output, item.span))
        if statement.name is not None and len(values) == 1:
            session.add_name(output, statement.name.text, item.span)
    if statement.name is not None and not isinstance(value, tuple):
        frame.scope.names[statement.name.text] = value


def _output_tensor(session: Session, value: CompileTimeValue, span: Span) -> CompileTimeValue:
    """A value as an output has it: a tensor, unless it is unknown or none."""
    return value if value is UNKNOWN or value is NONE else as_tensor(session, value, span, session.local_float_type)


@runs(syntax.For)
def run_for(session: Session, statement: syntax.For) -> None:
    """Run the body for each item; paths in it contain the index of the iteration."""
    items = _items(session, statement)
    count = items.stop - items.start if isinstance(items, range) else len(items)  # `len` is limited to 2**63
    session.iterations += max(count, 0)
    if session.iterations > MOST_ITERATIONS:
        raise session.fault(
            codes.E502,
            f"the loops of this model run more than {MOST_ITERATIONS:,} times",
            statement.iterable.span,
            note=f"{count:,} times here",
            hint="`for` is unrolled at compile time; along an axis of a tensor use `scan`",
        )
    frame = session.frame
    reported = len(session.diagnostics.reported)
    for index, item in enumerate(items):
        session.charge(EXPRESSION, statement.variable.span)
        frame.loops.append(index)
        try:
            frame.scope.names[statement.variable.text] = item
            session.run(statement.body)
        finally:
            frame.loops.pop()
        if len(session.diagnostics.reported) > reported:
            raise AlreadyReported  # later iterations would only repeat the error


def _iterable(session: Session, iterable: syntax.Expression) -> CompileTimeValue:
    """The value after `in`; ranges in a list there are not searched, but are for inner loops to iterate over."""
    if isinstance(iterable, syntax.ListOf) and any(isinstance(item, syntax.Range) for item in iterable.items):
        return bounded_list(session, [session.evaluate(item) for item in iterable.items], iterable.span)
    return session.evaluate(iterable)


def _items(session: Session, statement: syntax.For) -> Sequence[CompileTimeValue]:
    """The items that a loop iterates over."""
    value, span = _iterable(session, statement.iterable), statement.iterable.span
    match value:
        case Interval(int() as start, int() as stop):
            return range(start, stop)
        case list() | tuple():
            return value
        case Interval():
            end = next(end for end in (value.start, value.stop) if not isinstance(end, int))
            raise session.fault(
                codes.E508,
                f"the bounds of a loop must be whole numbers known at compile time, got {describe(end)}",
                span,
                hint="along an axis of a tensor use `scan`",
            )
    if value is UNKNOWN:
        raise AlreadyReported
    raise session.fault(codes.E508, f"a loop runs over `a..b` or a list, got {describe(value)}", span)
