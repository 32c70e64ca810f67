"""Optimizers: their equations, elaborated on placeholders for a parameter, its gradient and its states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

from compiler.elaborate.frame import CallSite, Frame, State
from compiler.elaborate.instances import instantiate
from compiler.elaborate.interruptions import AlreadyReported, BudgetExceeded
from compiler.elaborate.program import library
from compiler.elaborate.reporting import bounded
from compiler.elaborate.session import Session
from compiler.elaborate.values import UNKNOWN, Argument, CompileTimeValue, Defined, Instance, Scope, is_number
from compiler.elaborate.work import Work
from compiler.graph import Graph, Value
from compiler.model_spec import GRADIENT, PARAMETER, SEED, STEP, OptimizerSpec, TrainingSettings, UpdateEquations
from compiler.operators.leaves import Input, constant
from compiler.operators.making import cast
from compiler.origins import origin
from compiler.recurrence import RecurrentState
from compiler.training.parameters import is_exempt, rate_of, trained_parameters
from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, Diagnostics, NablacError
from grammar.source import Span

_RATE = "lr"  # the hyperparameter of an optimizer that is its learning rate
_DECAY = "weight_decay"  # the hyperparameter of an optimizer with decoupled weight decay


class _Deferred(Mapping[str, UpdateEquations | NablacError]):
    """A mapping that is computed when it is first read: only training reads the equations of an optimizer."""

    def __init__(self, compute: Callable[[], Mapping[str, UpdateEquations | NablacError]]) -> None:
        self._compute = compute

    @cached_property
    def _computed(self) -> Mapping[str, UpdateEquations | NablacError]:
        return self._compute()

    def __getitem__(self, path: str) -> UpdateEquations | NablacError:
        return self._computed[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._computed)

    def __len__(self) -> int:
        return len(self._computed)


def optimizer_spec(
    session: Session, instance: Instance | None, span: Span, loss: Value, settings: TrainingSettings, step: Value
) -> OptimizerSpec:
    """The equations of an optimizer, `adam()` where there is none, for each trained parameter of a loss.

    `span` is where a text asks for them, `step` the input that counts the steps from 1. They are elaborated when they
    are first read.
    """
    equations = _Deferred(lambda: _equations_by_path(session, instance, span, loss, settings, step))
    rate = instance.hypers.get(_RATE) if instance is not None else None
    return OptimizerSpec(equations, rate if isinstance(rate, Value) or is_number(rate) else None)


def _equations_by_path(
    session: Session, instance: Instance | None, span: Span, loss: Value, settings: TrainingSettings, step: Value
) -> dict[str, UpdateEquations | NablacError]:
    """See `optimizer_spec`: elaborated once for a type of parameter; once for each parameter if they draw.

    Draws depend on the parameter's path. A mistake in the equations for a type is stored instead of reported: it
    matters only where a training step is made.
    """
    diagnostics, work, session.work = session.diagnostics, session.work, Work()
    by_type: dict[tuple[TensorType, bool, float], UpdateEquations | NablacError] = {}
    by_path: dict[str, UpdateEquations | NablacError] = {}
    chosen = instance
    try:
        with bounded():
            for path, parameter in trained_parameters(loss, settings).items():
                type = parameter.type.with_dtype(parameter.type.dtype.wide)
                exempt, rate = is_exempt(path, parameter, settings), rate_of(path, settings)
                equations = by_type.get((type, exempt, rate))
                if equations is None or _draws(equations):
                    session.diagnostics = Diagnostics()
                    try:
                        chosen = chosen or _of_library(session, "adam", {}, span)
                        optimizer = _at_rate(_without_decay(chosen) if exempt else chosen, rate, span)
                        equations = _equations(session, optimizer, span, type, step, f"optimizer.{path}")
                    except NablacError as error:
                        equations = error
                    except (AlreadyReported, BudgetExceeded):
                        equations = NablacError(*session.diagnostics.reported)
                    by_type[type, exempt, rate] = equations
                by_path[path] = equations
    finally:
        session.diagnostics, session.work = diagnostics, work
    return by_path


def library_optimizer(
    name: str, hypers: Mapping[str, float], loss: Value, settings: TrainingSettings, step: Value
) -> OptimizerSpec:
    """An optimizer of the library, such as `adam` with `{"lr": 1e-3}`, for a loss of a graph without a text.

    NablacError for an unknown optimizer or hyperparameter.
    """
    diagnostics, float_type = Diagnostics(), loss.type.dtype
    session = Session(training=True, float_type=float_type, diagnostics=diagnostics, work=Work())
    instance = _of_library(session, name, hypers, None)
    return optimizer_spec(session, instance, instance.span, loss, settings, step)


def _draws(equations: UpdateEquations | NablacError) -> bool:
    return isinstance(equations, UpdateEquations) and SEED in equations.graph.inputs


def _without_decay(instance: Instance) -> Instance:
    """An optimizer without its own weight decay."""
    if _DECAY not in instance.hypers:
        return instance
    return Instance(instance.defined, {**instance.hypers, _DECAY: 0.0}, instance.span)


def _at_rate(instance: Instance, factor: float, span: Span) -> Instance:
    """An optimizer with its learning rate times a factor."""
    if factor == 1 or _RATE not in instance.hypers:
        return instance
    rate = instance.hypers[_RATE]
    if isinstance(rate, Value):
        with origin(span, "optimizer"):
            scaled: CompileTimeValue = rate * constant(factor, rate.type.dtype)
    elif is_number(rate):
        scaled = rate * factor
    else:  # which the optimizer refuses
        scaled = rate
    return Instance(instance.defined, {**instance.hypers, _RATE: scaled}, instance.span)


def _equations(
    session: Session, instance: Instance, span: Span, type: TensorType, step: Value, path: str
) -> UpdateEquations:
    """An optimizer's equations for a type of parameter, as a graph whose nodes have this path."""
    with origin(span, path):
        parameter, gradient = Input(PARAMETER, type)(), Input(GRADIENT, type)()
        states = run_optimizer(session, instance, span, parameter, gradient, step, path)
        outputs = {name: state.next for name, state in states.items()}
        first = {name: state.initial for name, state in states.items() if name != PARAMETER}
        inputs = {PARAMETER: parameter, GRADIENT: gradient, STEP: step}
        inputs |= {name: state.current for name, state in states.items() if name != PARAMETER}
        if session.key in _inputs([*outputs.values(), *first.values()]):
            assert session.key is not None
            inputs[SEED] = session.key
        outside = tuple(value for value in instance.hypers.values() if isinstance(value, Value))
        return UpdateEquations(Graph(inputs, outputs), first, outside, path)


def _inputs(ends: Iterable[Value]) -> set[Value | None]:
    reached = Graph({}, {str(number): end for number, end in enumerate(ends)})
    return {node.result for node in reached if isinstance(node.op, Input)}


def check_optimizer(session: Session, instance: Instance, span: Span) -> None:
    """Run an optimizer's equations on a parameter of an arbitrary shape; NablacError for errors in them."""
    dtype = session.float_type.wide
    type = TensorType(dtype, (7, 5))
    step = Input(STEP, TensorType(dtype))()
    run_optimizer(session, instance, span, Input(PARAMETER, type)(), Input(GRADIENT, type)(), step)


def _of_library(session: Session, name: str, hypers: Mapping[str, float], span: Span | None) -> Instance:
    """An instance of an optimizer of the library; NablacError if it has none of this name."""
    defined = library().find(name) if name in library().files else None
    if not isinstance(defined, Defined) or defined.kind != "optimizer":
        raise NablacError(Diagnostic(codes.E607, f"the library has no optimizer `{name}`", span))
    span = span or defined.syntax.name.span
    return instantiate(session, defined, [Argument(hyper, value, span) for hyper, value in hypers.items()], span)


def run_optimizer(
    session: Session,
    instance: Instance,
    span: Span,
    parameter: Value,
    gradient: Value,
    step: Value,
    path: str = "",
) -> dict[str, RecurrentState]:
    """An optimizer's equations for one parameter: its states by name, `param` among them, with their next values."""
    dtype = parameter.type.dtype
    # A learning rate that is a tensor of the model's type is converted to the type in which parameters are updated.
    with origin(span, path):
        hypers = {
            name: cast(value, value.type.dtype.wide) if isinstance(value, Value) else value
            for name, value in instance.hypers.items()
        }
    scope = Scope(instance.defined.scope, hypers)
    frame = Frame("optimizer", instance.defined.name, scope, path, instance=instance, float_type=dtype)
    scope.names |= {PARAMETER: parameter, GRADIENT: gradient, STEP: step}
    frame.states[PARAMETER] = State(PARAMETER, parameter, parameter, instance.defined.syntax.name.span)
    frame.declared[PARAMETER] = instance.defined.syntax.name.span
    with session.inside(frame, CallSite(span, f"optimizer {instance.defined.name}")):
        session.run(instance.defined.syntax.body)
        if any(value is UNKNOWN for value in (*scope.names.values(), *frame.next_values.values())):
            raise AlreadyReported
        states: dict[str, RecurrentState] = {}
        for name, state in frame.states.items():
            if not isinstance(state.next, Value):
                raise _without_next(session, instance.defined.name, name, state)
            states[name] = RecurrentState(name, state.current, state.initial, state.next)
        return states


def _without_next(session: Session, optimizer: str, name: str, state: State) -> NablacError:
    if name == PARAMETER:
        hint = "as in `param' = param - lr * grad`"
        return session.fault(codes.E606, f"optimizer {optimizer} has no equation for `param'`", state.span, hint=hint)
    message = f"state `{name}` of optimizer {optimizer} has no next value"
    return session.fault(codes.E606, message, state.span, hint=f"add its equation: `{name}' = ...`")
