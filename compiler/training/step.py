"""The training step as a graph: loss, gradients and the optimizer's equations, in ordinary operators.

Parameters, buffers and the optimizer's states are updates of the graph, so that the step runs on any backend and can be
exported to ONNX like a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compiler.gradient_stop import find_gradient_stop
from compiler.graph import Graph, Value, origin
from compiler.model_spec import GRADIENT, PARAMETER, RATE, STEP, ModelSpec, TrainingSettings, TrainingSpec
from compiler.operators.arithmetic import Abs as Absolute
from compiler.operators.arithmetic import Floor, Mod
from compiler.operators.comparison import Equal, Where
from compiler.operators.leaves import Buffer, Input, Parameter, constant
from compiler.operators.reductions import Sum
from compiler.passes.pipeline import Stage, run_stage
from compiler.rewrite import replace
from compiler.training.accumulation import accumulate_gradients
from compiler.training.checkpoint_scans import checkpoint_scans
from compiler.training.clipping import clip_gradients
from compiler.training.equations import first_value, next_values
from compiler.training.gradients import gradient_of
from compiler.training.losses import inputs_of, loss_graph, training_of
from compiler.training.measures import Measure, last_value, measures_of, parts_of, with_parts
from compiler.training.own_state import OwnState, buffer_of
from compiler.training.parameters import check_patterns, is_decayed, trained_parameters
from compiler.training.precision import convert, widen
from compiler.training.updates import Update, combine_updates
from grammar import codes
from grammar.diagnostics import Diagnostic, Label, NablacError
from grammar.record import Record

LEARNING_RATE = "learning_rate"  # its name in the history


class TrainingStep(Record):
    """`graph` has the batch, `step` and `seed` as inputs, the loss and the metrics as outputs.

    Its updates are the trained parameters, the buffers and the step's own `states`, by path.
    """

    graph: Graph
    trained: tuple[str, ...]
    states: Mapping[str, OwnState]
    measures: dict[str, Measure]  # of the loss, and of metrics that combine over batches
    measured: Graph  # as `graph`, with the parts of the measures as outputs too

    @property
    def averages(self) -> dict[str, str]:
        """The path of a parameter's running average, by the parameter's path."""
        return {state.of: path for path, state in self.states.items() if state.kind == "average"}


def training_step(
    model: ModelSpec, memory_budget: int | None = None, sizes: Mapping[str, int] | None = None
) -> TrainingStep:
    """The training step of a model; NablacError if no gradient reaches a parameter.

    With a `memory_budget` in bytes, recurrences whose gradients would save more than it, at these `sizes` of the named
    dims, are checkpointed.
    """
    spec = training_of(model)
    settings = spec.settings
    measures = {name: measure for name, measure in measures_of(model.graph, spec).items() if not measure.rows}
    graph = run_stage(with_parts(loss_graph(model), measures), Stage.BEFORE_GRADIENT)
    if memory_budget is not None:
        graph = checkpoint_scans(graph, memory_budget, sizes or {})
    check_patterns(graph.outputs["loss"], settings)
    parameters = trained_parameters(graph.outputs["loss"], settings)
    gradients = _gradients(spec, graph.outputs["loss"], parameters)
    updates, states = dict(graph.updates), list[OwnState]()
    apply: Value | None = None
    changes: dict[Value, Value] = {}
    if settings.accumulate > 1:
        apply, optimizer_step = _accumulation_schedule(spec.step, settings.accumulate)
        changes[spec.step] = optimizer_step
        gradients, sums = accumulate_gradients(spec, gradients, measures["loss"], graph, apply)
        states += sums
        updates |= {state.path: value for state, value in sums.items()}
    gradients = clip_gradients(gradients, settings)
    rate = Input(RATE, spec.step.type)()
    equations = []
    for path, gradient in gradients.items():
        update, update_states = _update(spec, path, parameters[path], gradient, apply, rate)
        equations.append(update)
        states += update_states
    updates |= combine_updates(equations)
    if settings.average is not None:
        for path in gradients:
            state = OwnState("average", path)
            states.append(state)
            updates[state.path] = _average(parameters[path], updates[path], state, settings.average, apply)
    learning_rate = _learning_rate(spec, rate)
    if learning_rate is not None:
        measures = {**measures, LEARNING_RATE: last_value(LEARNING_RATE, learning_rate)}
    parts = parts_of(measures)
    shown = {name: graph.outputs[name] for name in ("loss", *spec.metrics)}
    outputs = shown | {name: graph.outputs.get(name, value) for name, value in parts.items()}
    ends = replace([*outputs.values(), *updates.values()], changes)
    outputs = dict(zip(outputs, ends, strict=False))
    updates = dict(zip(updates, ends[len(outputs) :], strict=True))
    inputs = inputs_of(model, ends)
    # The training loop runs the graph without the parts where it does not report the batch.
    measured, plain = (
        Graph(inputs, {name: outputs[name] for name in names}, updates, f"{graph.name}.step", graph.doc, graph.layers)
        for names in ((name for name in outputs if name in measures or name in parts), shown)
    )
    return TrainingStep(plain, tuple(gradients), {state.path: state for state in states}, measures, measured)


def _gradients(spec: TrainingSpec, loss: Value, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """The gradients of the loss with its penalties, by path, where there are any; in f32 for 16-bit floats."""
    loss = _add_penalties(loss, parameters, spec.settings)
    gradients = zip(parameters, gradient_of(loss, list(parameters.values())), strict=True)
    reached = {path: widen(gradient) for path, gradient in gradients if gradient is not None}
    if not reached:
        raise _nothing_to_train_error(spec, loss, list(parameters.values()))
    return reached


def _accumulation_schedule(step: Value, every: int) -> tuple[Value, Value]:
    """Whether the optimizer takes a step after a batch, and the number of that step; the graph's own counts batches."""
    number = Input(STEP, step.type)()
    dtype = number.type.dtype
    apply = Equal()(Mod()(number, constant(every, dtype)), constant(0, dtype))
    return apply, Floor()((number + (every - 1)) / every)


def _learning_rate(spec: TrainingSpec, rate: Value) -> Value | None:
    """The optimizer's learning rate, if it changes from step to step; otherwise None."""
    learning_rate, shrinks = spec.optimizer.learning_rate, spec.settings.plateau is not None
    if isinstance(learning_rate, Value):
        return widen(learning_rate) * rate if shrinks else widen(learning_rate)
    if not shrinks or learning_rate is None:
        return None
    return constant(learning_rate, rate.type.dtype) * rate


def _nothing_to_train_error(spec: TrainingSpec, loss: Value, parameters: list[Value]) -> NablacError:
    message = "nothing to train: no gradient of the loss reaches a parameter"
    node = next((node for parameter in parameters if (node := find_gradient_stop(loss, parameter)) is not None), None)
    if node is None:
        hint = "does `freeze` match all of them?" if spec.settings.freeze else "the loss depends on no parameter"
        return NablacError(Diagnostic(codes.E610, message, spec.span, hint=hint))
    where = node.origin.span
    labels = (Label(where, f"no gradient flows through `{node.op.name}`"),) if where is not None else ()
    hint = "use a differentiable loss, such as `cross_entropy` instead of `accuracy`"
    return NablacError(Diagnostic(codes.E610, message, spec.span, labels=labels, hint=hint))


def _add_penalties(loss: Value, parameters: Mapping[str, Value], settings: TrainingSettings) -> Value:
    """The loss plus `l1` times the sum of magnitudes and `l2` times the sum of squares."""
    for factor, size_of in ((settings.l1, Absolute()), (settings.l2, _square)):
        for path, value in parameters.items():
            if factor and is_decayed(path, value, settings):
                loss = loss + Sum(None)(size_of(value)) * constant(factor, loss.type.dtype)
    return loss


def _square(value: Value) -> Value:
    return value * value


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
