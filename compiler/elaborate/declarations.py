"""Declarations in a body: inputs, targets, parameters, buffers and states."""

from __future__ import annotations

from compiler.elaborate.declared_shapes import bind_input, dtype_of, sizes_of
from compiler.elaborate.definition_bodies import declared_inputs
from compiler.elaborate.first_values import initial_graph
from compiler.elaborate.frame import Frame
from compiler.elaborate.instances import no_input
from compiler.elaborate.interruptions import AlreadyReported, CallAborted
from compiler.elaborate.operands import as_tensor
from compiler.elaborate.session import Session, runs
from compiler.elaborate.states import declare_state
from compiler.elaborate.values import NONE, UNKNOWN, CompileTimeValue, Instance
from compiler.elaborate.work import CALL
from compiler.graph import Value
from compiler.operators.casting import StopGradient
from compiler.operators.leaves import Buffer, Input, Parameter
from compiler.types import TensorType
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError

_REPEATED = {"param", "buffer", "state"}  # in a loop each iteration has its own


@runs(syntax.Declare)
def run_declare(session: Session, statement: syntax.Declare) -> None:
    """Declare the names of a statement; an input that does not fit its declaration aborts the call."""
    frame = session.frame
    for declared in statement.names:
        _check_first(session, statement, declared)
    for declared in statement.names:
        try:
            frame.scope.names[declared.name.text] = _declare(session, statement, declared)
        except NablacError as error:
            session.report(error)
            if statement.kind == "input" and frame.instance is not None:
                raise CallAborted from None
            frame.scope.names[declared.name.text] = UNKNOWN


def _check_first(session: Session, statement: syntax.Declare, declared: syntax.Declared) -> None:
    """NablacError for a name declared before; states and parameters are new in each iteration of a loop."""
    frame, name = session.frame, declared.name.text
    first = frame.declared.get(name)
    if first is not None and (first != declared.name.span or statement.kind not in _REPEATED):
        raise session.fault(
            codes.E202,
            f"`{name}` is declared twice in {frame.kind} {frame.name}",
            declared.span,
            note=None if first != declared.name.span else "once more in each round of the loop",
            labels=(Label(first, "first here"),),
        )
    frame.declared[name] = declared.name.span
    frame.equations.pop(name, None)
    frame.next_values.pop(name, None)


def _declare(session: Session, statement: syntax.Declare, declared: syntax.Declared) -> CompileTimeValue:
    if statement.kind == "state":
        return declare_state(session, statement, declared)
    if statement.kind in ("param", "buffer"):
        return _parameter(session, statement, declared)
    if session.frame.instance is None or session.frame.kind == "train":
        return _model_input(session, declared)
    return _input(session, session.frame.instance, declared)


def _model_input(session: Session, declared: syntax.Declared) -> Value:
    """An input of the model itself, or a target: a tensor that the caller feeds."""
    frame, name = session.frame, declared.name.text
    assert declared.type is not None
    if declared.optional:
        choice = f"let a hyperparameter choose: `if with_{name} {{ input {name}: ... }}`"
        raise session.fault(
            codes.E414,
            f"the inputs of model {frame.name} are fixed at compile time: `{name}` cannot be optional",
            declared.span,
            hint=choice if frame.kind == "model" else None,
        )
    dtype = dtype_of(session, declared.type) or session.float_type
    sizes = sizes_of(session, declared.type, binds=True)
    value = session.make(lambda: Input(name, TensorType(dtype, sizes))(), declared.span)
    frame.float_type = frame.float_type or (dtype if dtype.is_float else None)
    frame.inputs[name] = value
    return value


def _input(session: Session, instance: Instance, declared: syntax.Declared) -> CompileTimeValue:
    """An input of the applied definition: the argument of that name, or the next positional one."""
    frame, name = session.frame, declared.name.text
    argument = frame.named.pop(name, None) or (frame.arguments.pop(0) if frame.arguments else None)
    if argument is None or argument.value is NONE:
        if declared.optional:
            return NONE
        raise _missing_input(session, instance, declared)
    if argument.value is UNKNOWN:
        raise AlreadyReported
    tensor = as_tensor(session, argument.value, argument.span, session.local_float_type)
    bind_input(session, declared, tensor, argument.span)
    session.add_name(tensor, name, argument.span)
    return tensor


def _missing_input(session: Session, instance: Instance, declared: syntax.Declared) -> NablacError:
    """The error for an input without an argument; an argument with an unknown name is reported instead."""
    frame = session.frame
    inputs = declared_inputs(instance.defined.syntax)
    names = {input.name.text for input in inputs}
    foreign = next((argument for argument in frame.named.values() if argument.name not in names), None)
    if foreign is not None:
        return no_input(session, instance, foreign)
    needed = ", ".join(input.name.text for input in inputs if not input.optional)
    return session.fault(
        codes.E405,
        f"{frame.kind} {frame.name} needs its input `{declared.name.text}`",
        session.calls[-1].span,
        labels=(Label(declared.span, "declared here"),),
        hint=f"as in `{frame.name}(...)({needed})`",
    )


def _parameter(session: Session, statement: syntax.Declare, declared: syntax.Declared) -> Value:
    """A parameter or buffer: created at the first application of its instance, and shared by later ones."""
    frame = session.frame
    assert declared.type is not None
    dtype = dtype_of(session, declared.type) or session.local_float_type
    sizes = sizes_of(session, declared.type)
    unknown = next((size for size in sizes if not isinstance(size, int)), None)
    if unknown is not None:
        raise session.fault(
            codes.E310,
            f"`{declared.name.text}` cannot have an axis of size {unknown}, which is known only when the model runs",
            declared.span,
            labels=tuple(
                Label(binding.span, f"`{name}` is bound to {unknown} here")
                for name, binding in frame.dims.items()
                if binding.size == unknown
            ),
            hint="write the size as a number in the model's input",
        )
    path, type = _path(frame, declared.name.text), TensorType(dtype, sizes)
    value = _stored(session, statement, declared, path, type)
    if frame.instance is not None:
        frame.instance.parameters[declared.name.text] = value
    if statement.kind == "buffer":
        frame.buffers[declared.name.text] = value
        before = session.updates.get(path)
        if before is not None:  # a later application continues from the value that the one before computed
            return session.make(lambda: StopGradient()(before), declared.span)
    return value


def _stored(
    session: Session, statement: syntax.Declare, declared: syntax.Declared, path: str, type: TensorType
) -> Value:
    """The parameter or buffer at `path`; NablacError if an earlier application gave it another type."""
    span = declared.span
    if path in session.parameters:
        known = session.parameters[path]
        if known.type != type:
            raise session.fault(
                codes.E308,
                f"`{path}` is {known.type} from the first application of its instance, but would be {type} here",
                span,
                hint="an instance shares its parameters between applications; create a second one for another shape",
            )
        return known
    initial = initial_graph(session, statement, declared, type)
    session.charge(CALL, span)
    operator = Parameter if statement.kind == "param" else Buffer
    value = session.make(lambda: operator(path, type, initial)(), span)
    session.parameters[path] = value
    return value


def _path(frame: Frame, name: str) -> str:
    """The path of a parameter or buffer, with the indices of the loops around its declaration."""
    numbered = ".".join([name, *map(str, frame.loops)])
    return f"{frame.path}.{numbered}" if frame.path else numbered
