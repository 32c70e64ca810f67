"""Optimizers: their equations, run on stand-ins for a parameter, its gradient and its states."""

from __future__ import annotations

from collections.abc import Iterable

from compiler.elaborate.frame import CallSite, Frame, State
from compiler.elaborate.instances import instantiate
from compiler.elaborate.operands import converted
from compiler.elaborate.program import library
from compiler.elaborate.session import Session
from compiler.elaborate.signals import AlreadyReported, BudgetExceeded
from compiler.elaborate.values import UNKNOWN, Defined, Instance, Scope, is_number
from compiler.elaborate.work import Work
from compiler.graph import Graph, Value, origin
from compiler.model_spec import GRADIENT, PARAMETER, SEED, STEP, OptimizerSpec, TrainingSettings, UpdateEquations
from compiler.operators.source import Input
from compiler.training.parameters import is_exempt, trained_parameters
from compiler.types import TensorType
from grammar import syntax
from grammar.diagnostics import Diagnostics, NablacError
from grammar.source import Span

_DECAY = "weight_decay"  # the hyperparameter of an optimizer that decays weights beside the gradient


def optimizer_spec(
    session: Session,
    instance: Instance | None,
    train: syntax.Train,
    loss: Value,
    settings: TrainingSettings,
    step: Value,
) -> OptimizerSpec:
    """The equations of an optimizer, `adam()` where there is none, for each trained parameter of a loss.

    They are run once for a type of parameter, and once for each parameter where they draw: draws depend on its path.
    What is wrong with them for a type is kept, and not reported: it matters where a training step is made.
    """
    diagnostics, work, session.work = session.diagnostics, session.work, Work()
    by_type: dict[tuple[TensorType, bool], UpdateEquations | NablacError] = {}
    by_path: dict[str, UpdateEquations | NablacError] = {}
    chosen = instance
    try:
        for path, parameter in trained_parameters(loss, settings).items():
            type = parameter.type.with_dtype(parameter.type.dtype.wide)
            exempt = is_exempt(path, parameter, settings)
            equations = by_type.get((type, exempt))
            if equations is None or _draws(equations):
                session.diagnostics = Diagnostics()
                try:
                    chosen = chosen or _default(session, train.model.span)
                    its = _without_decay(chosen) if exempt else chosen
                    equations = _equations(session, its, train.span, type, step, f"optimizer.{path}")
                except NablacError as error:
                    equations = error
                except (AlreadyReported, BudgetExceeded):
                    equations = NablacError(*session.diagnostics.found)
                by_type[type, exempt] = equations
            by_path[path] = equations
    finally:
        session.diagnostics, session.work = diagnostics, work
    rate = instance.hypers.get("lr") if instance is not None else None
    return OptimizerSpec(by_path, rate if isinstance(rate, Value) or is_number(rate) else None)


def _draws(equations: UpdateEquations | NablacError) -> bool:
    return isinstance(equations, UpdateEquations) and SEED in equations.graph.inputs


def _without_decay(instance: Instance) -> Instance:
    """An optimizer whose own decay leaves a parameter alone."""
    if _DECAY not in instance.hypers:
        return instance
    return Instance(instance.defined, {**instance.hypers, _DECAY: 0.0}, instance.span)


def _equations(
    session: Session, instance: Instance, span: Span, type: TensorType, step: Value, path: str
) -> UpdateEquations:
    """An optimizer's equations for a type of parameter, as a graph; its nodes come from `path`."""
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
    """Run an optimizer's equations once on a parameter of a made-up shape: every type must come out right."""
    dtype = session.float_type.wide
    type = TensorType(dtype, (7, 5))
    step = Input(STEP, TensorType(dtype))()
    run_optimizer(session, instance, span, Input(PARAMETER, type)(), Input(GRADIENT, type)(), step)


def _default(session: Session, span: Span) -> Instance:
    """What trains where the block names no optimizer: `adam()`."""
    adam = library().find("adam")
    assert isinstance(adam, Defined)
    return instantiate(session, adam, [], span)


def run_optimizer(
    session: Session,
    instance: Instance,
    span: Span,
    parameter: Value,
    gradient: Value,
    step: Value,
    path: str = "",
) -> dict[str, State]:
    """An optimizer's equations for one parameter: its states by name, `param` among them, with their next values."""
    dtype = parameter.type.dtype
    # A rate that is a tensor, of numbers of the model's type, works on parameters in what these are updated in.
    with origin(span, path):
        hypers = {
            name: converted(value, value.type.dtype.wide) if isinstance(value, Value) else value
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
        for name, state in frame.states.items():
            if state.next is None or state.next is UNKNOWN:
                raise _without_next(session, instance.defined.name, name, state)
        return frame.states


def _without_next(session: Session, optimizer: str, name: str, state: State) -> NablacError:
    if name == PARAMETER:
        hint = "as in `param' = param - lr * grad`"
        return session.fault("E606", f"optimizer {optimizer} never says what `param'` is", state.span, hint=hint)
    message = f"optimizer {optimizer} has a state `{name}` without a next value"
    return session.fault("E606", message, state.span, hint=f"state its equation: `{name}' = ...`")
