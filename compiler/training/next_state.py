"""The next values of the parameters and of a step's own states, from the gradients: the optimizer's part of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from compiler.graph import Graph, Value
from compiler.model_spec import GRADIENT, PARAMETER, STEP, TrainingSpec
from compiler.operators.comparison import Where
from compiler.operators.leaves import Buffer, Input, Parameter, constant
from compiler.origins import origin
from compiler.rewrite import replace
from compiler.training.accumulation import Accumulation
from compiler.training.clipping import clip_gradients
from compiler.training.equations import first_value, next_values
from compiler.training.loss_scaling import LossScaling
from compiler.training.own_state import OwnState, buffer_of
from compiler.training.parameters import is_decayed
from compiler.training.precision import convert, widen
from compiler.training.split import GradientTransform
from compiler.training.updates import Update, combine_updates
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from grammar.record import Record


class NextState(Record):
    """The next values by path, with small parameters combined and with all apart, and the states of the step's own."""

    states: tuple[OwnState, ...]
    combined: dict[str, Value]
    apart: dict[str, Value]


def next_state(
    spec: TrainingSpec,
    parameters: Mapping[str, Value],
    gradients: dict[str, Value],
    rate: Value,
    accumulation: Accumulation | None,
    scaling: LossScaling | None = None,
) -> NextState:
    """What the gradients, by path, make of the parameters: `rate` is the factor of the learning rate."""
    settings = spec.settings
    transforms: list[GradientTransform] = [partial(clip_gradients, settings=settings)]
    if accumulation is not None:
        transforms.insert(0, accumulation.add)
    apply = accumulation.apply if accumulation is not None else None
    if scaling is not None:
        transforms.insert(0, partial(scaling.keep_finite, update=apply))
        # Stands for `scaling.apply`, of all gradients, so that each parameter's equations read its own alone.
        apply = Input("apply", TensorType(DType.BOOL))()
    for transform in transforms:
        gradients = transform(gradients)
    own = {**(accumulation.sums if accumulation is not None else {}), **(scaling.following if scaling else {})}
    states, equations = [*own], list[Update]()
    for path, gradient in gradients.items():
        update, update_states = _update(spec, path, parameters[path], gradient, apply, rate)
        equations.append(update)
        states += update_states
    fraction = settings.average
    averaged = [OwnState("average", path) for path in gradients] if fraction is not None else []

    def with_own_states(following: dict[str, Value]) -> dict[str, Value]:
        averages = {
            state.path: _average(parameters[state.of], following[state.of], state, fraction or 0.0, apply)
            for state in averaged
        }
        values = {state.path: value for state, value in own.items()} | following | averages
        if scaling is None or apply is None:
            return values
        return dict(zip(values, replace(list(values.values()), {apply: scaling.apply}), strict=True))

    combined = with_own_states(combine_updates(equations))
    apart = {path: value for update in equations for path, value in update.next_values().items()}
    return NextState((*states, *averaged), combined, with_own_states(apart))


def _update(
    spec: TrainingSpec, path: str, parameter: Value, gradient: Value, apply: Value | None, rate: Value
) -> tuple[Update, list[OwnState]]:
    """The optimizer's equations for one parameter, and their states.

    They run in f32 for floats of 16 bits: in f16 the square of a gradient of 1e-4 is 0, and so is an `eps` of 1e-8.
    """
    equations, settings = spec.optimizer.equations[path], spec.settings
    if isinstance(equations, NablacError):
        raise equations
    equations_path = f"optimizer.{path}"
    with origin(spec.span, equations_path):
        dtype = gradient.type.dtype
        before, flow = (Input(name, parameter.type.with_dtype(dtype))() for name in (PARAMETER, GRADIENT))
        decayed = settings.weight_decay and is_decayed(path, parameter, settings)
        pulled = flow + before * constant(settings.weight_decay, dtype) if decayed else flow
        inputs = equations.graph.inputs
        stand_ins = {PARAMETER: before, GRADIENT: pulled, STEP: spec.step}
        following = next_values(
            equations, equations_path, {inputs[name]: value for name, value in stand_ins.items() if name in inputs}
        )
        if settings.plateau is not None:  # the loop lowers the rate when the monitored quantity stops improving
            following[PARAMETER] = before + rate * (following[PARAMETER] - before)
        wide = widen(parameter)
        operands, results = {before: wide, flow: gradient}, {}
        states: list[OwnState] = []
        for name, value in following.items():
            current, target = before, path
            if name != PARAMETER:
                states.append(OwnState("optimizer", path, name))
                current, target = inputs[name], states[-1].path
                operands[current] = buffer_of(
                    states[-1], current.type, first_value(equations, name, equations_path, wide)
                )
            kept = value if apply is None else Where()(apply, value, current)
            results[target] = convert(kept, parameter.type.dtype) if name == PARAMETER else kept
        return Update(operands, results), states


def _average(parameter: Value, following: Value, state: OwnState, fraction: float, apply: Value | None) -> Value:
    """The exponential moving average of a parameter (Polyak and Juditsky 1992), starting at its initial value.

    In f32 for 16-bit floats, in which adding a thousandth has no effect.
    """
    op = parameter.node.op
    assert isinstance(op, Parameter)
    dtype = op.type.dtype.wide
    first = None if op.initial is None else _with_outputs(op.initial, widen)
    kept = Buffer(state.path, op.type.with_dtype(dtype), first)()
    moved = kept * constant(fraction, dtype) + widen(following) * constant(1 - fraction, dtype)
    return moved if apply is None else Where()(apply, moved, kept)


def _with_outputs(graph: Graph, change: Callable[[Value], Value]) -> Graph:
    return Graph(graph.inputs, {name: change(value) for name, value in graph.outputs.items()})
