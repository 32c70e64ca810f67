"""The training step as a graph: loss, gradients and the optimizer's equations, in ordinary operators.

Parameters, buffers and the optimizer's states are updates of the graph, so that the step runs on any backend and can be
exported to ONNX like a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from compiler.gradient_stop import find_gradient_stop
from compiler.graph import Graph, Value
from compiler.model_spec import RATE, STEP, ModelSpec, TrainingSettings, TrainingSpec
from compiler.operators.arithmetic import Abs as Absolute
from compiler.operators.arithmetic import Floor, Mod
from compiler.operators.comparison import Equal
from compiler.operators.leaves import Input, constant
from compiler.operators.reductions import Sum
from compiler.passes.pipeline import Stage, run_stage
from compiler.rewrite import replace
from compiler.targets import ORT_CPU
from compiler.training.accumulation import Accumulation, batch_weight
from compiler.training.checkpoint_scans import checkpoint_scans
from compiler.training.data_parallel import EXAMPLES, OverWorkers
from compiler.training.gradients import gradient_name, gradient_of
from compiler.training.loss_scaling import LossScaling
from compiler.training.losses import inputs_of, loss_graph, training_of
from compiler.training.measures import Measure, last_value, measures_of, parts_of, with_parts
from compiler.training.mixed_precision import check_is_f32, mixed_precision, short_type
from compiler.training.next_state import next_state
from compiler.training.own_state import OwnState
from compiler.training.parameters import check_patterns, is_decayed, trained_parameters
from compiler.training.precision import convert, widen
from compiler.training.split import GradientTransform, Handover, SplitStep, update_graph
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, Label, NablacError
from grammar.record import Record

LEARNING_RATE = "learning_rate"  # its name in the history


class TrainingStep(Record):
    """`graph` has the batch, `step` and `seed` as inputs, the loss and the metrics as outputs.

    Its updates are the trained parameters, the buffers and the step's own `states`, by path. It is the composition of
    the two graphs of `split`, which is None where the update reads more of a batch than its gradients.
    """

    graph: Graph
    trained: tuple[str, ...]
    states: Mapping[str, OwnState]
    measures: dict[str, Measure]  # of the loss, and of metrics that combine over batches
    measured: Graph  # as `graph`, with the parts of the measures as outputs too
    split: SplitStep | None

    @property
    def averages(self) -> dict[str, str]:
        """The path of a parameter's running average, by the parameter's path."""
        return {state.of: path for path, state in self.states.items() if state.kind == "average"}


def training_step(
    model: ModelSpec,
    memory_budget: int | None = None,
    sizes: Mapping[str, int] | None = None,
    workers: OverWorkers | None = None,
    short: DType | None = None,
) -> TrainingStep:
    """The training step of a model; NablacError if no gradient reaches a parameter.

    With a `memory_budget` in bytes, recurrences whose gradients would save more than it, at these `sizes` of the named
    dims, are checkpointed. With `workers`, it is that of a batch which is shared out to several of them; NablacError
    for a loss or a buffer that is not made of sums over the examples. With `short`, its products are in these floats of
    16 bits, and in f16 its loss is scaled; NablacError for a model that is not in f32.
    """
    begun = _begin(model, memory_budget, sizes, workers, short)
    spec, graph, measures = begun.spec, begun.graph, begun.measures
    parameters, gradients = begun.parameters, begun.gradients
    handover, changes = Handover(), dict[Value, Value]()
    flows = {path: handover.stand_in(gradient_name(path), gradient) for path, gradient in gradients.items()}
    accumulation, number = None, Input(STEP, spec.step.type)()
    if spec.settings.accumulate > 1:
        apply, changes[spec.step] = _accumulation_schedule(number, spec.settings.accumulate)
        accumulation = begun.accumulation(apply, handover)
    if begun.scaling is not None:  # a skipped step is none: of Adam's corrections and of schedules too
        changes[spec.step] = changes.get(spec.step, number) - convert(begun.scaling.skipped, spec.step.type.dtype)
    rate = Input(RATE, spec.step.type)()
    following = next_state(spec, parameters, flows, rate, accumulation, begun.scaling)
    learning_rate = _learning_rate(spec, rate)
    if learning_rate is not None:
        measures = {**measures, LEARNING_RATE: last_value(LEARNING_RATE, learning_rate)}
    parts = parts_of(measures)
    shown = {name: graph.outputs[name] for name in ("loss", *spec.metrics)}
    outputs = shown | {name: graph.outputs.get(name, value) for name, value in parts.items()}
    # The training loop runs the graph without the parts where it does not report the batch.
    measured = [name for name in outputs if name in measures or name in parts]
    if workers is not None:
        outputs[EXAMPLES] = graph.outputs[EXAMPLES]
        measured.append(EXAMPLES)

    def graph_of(kind: str, names: Iterable[str], ends: Mapping[str, Value], updates: Mapping[str, Value]) -> Graph:
        chosen = {name: ends[name] for name in names}
        inputs = inputs_of(model, (*ends.values(), *updates.values()))
        return Graph(inputs, chosen, dict(updates), f"{graph.name}.{kind}", graph.doc, graph.layers)

    composed = {**graph.updates, **handover.compose(following.combined)}
    handed = handover.by_name()
    outputs, composed, handed, combined, apart = _with_changes(
        changes, outputs, composed, handed, following.combined, following.apart
    )
    plain, whole = (graph_of("step", names, outputs, composed) for names in (shown, measured))
    of_model = {path: composed[path] for path in graph.updates}
    gradient, measured_gradient = (
        graph_of("gradient", (*names, *handed), {**outputs, **handed}, of_model) for names in (shown, measured)
    )
    update = update_graph(combined, f"{graph.name}.update")
    split = None
    if handover.is_complete_for(update):
        split = SplitStep(gradient, measured_gradient, update, update_graph(apart, update.name))
    return TrainingStep(
        plain, tuple(gradients), {state.path: state for state in following.states}, measures, whole, split
    )


def map_graphs(step: TrainingStep, change: Callable[[Graph], Graph]) -> TrainingStep:
    """A step with a change of each of its graphs that keeps their inputs, outputs and updates."""
    split = step.split
    if split is not None:
        split = split.replace(gradient=change(split.gradient), measured=change(split.measured))
    return step.replace(graph=change(step.graph), measured=change(step.measured), split=split)


def check_training_step(model: ModelSpec) -> None:
    """Raise the NablacError that `training_step` would, without building all of a step.

    Parameters of one type, of which a deep model has many, share the optimizer's equations: one of them has all errors.
    """
    begun = _begin(model, short=short_type(training_of(model).settings.precision, ORT_CPU))
    spec, handover = begun.spec, Handover()
    first: dict[object, str] = {}
    for path in begun.gradients:
        first.setdefault((id(spec.optimizer.equations[path]), begun.parameters[path].type), path)
    accumulation = None
    if spec.settings.accumulate > 1:
        apply, _ = _accumulation_schedule(Input(STEP, spec.step.type)(), spec.settings.accumulate)
        accumulation = begun.accumulation(apply, handover)
    gradients = {path: begun.gradients[path] for path in first.values()}
    next_state(spec, begun.parameters, gradients, Input(RATE, spec.step.type)(), accumulation, begun.scaling)


class _Begun(Record):
    """What a step begins with: the loss and the gradients that reach parameters."""

    spec: TrainingSpec
    graph: Graph
    measures: dict[str, Measure]
    parameters: Mapping[str, Value]
    gradients: dict[str, Value]
    scaling: LossScaling | None

    def accumulation(self, apply: Value, handover: Handover) -> Accumulation:
        return Accumulation(batch_weight(self.spec, self.measures["loss"], self.graph), apply, handover)


def _begin(
    model: ModelSpec,
    memory_budget: int | None = None,
    sizes: Mapping[str, int] | None = None,
    workers: OverWorkers | None = None,
    short: DType | None = None,
) -> _Begun:
    spec = training_of(model)
    measures = {name: measure for name, measure in measures_of(model.graph, spec).items() if not measure.rows}
    graph = with_parts(loss_graph(model), measures)
    if workers is not None:
        graph = workers.share_model(graph, model)
    graph = run_stage(graph, Stage.BEFORE_GRADIENT)
    if short is not None:
        check_is_f32(graph, spec.loss, short, spec.span)
        measured = {"loss", *spec.metrics, *parts_of(measures)}
        graph = mixed_precision(graph, short, graph.outputs.keys() - measured)
    if workers is not None:
        graph = workers.reduce_measures(graph, measures, model)
    if memory_budget is not None:
        graph = checkpoint_scans(graph, memory_budget, sizes or {})
    check_patterns(graph.outputs["loss"], spec.settings)
    parameters = trained_parameters(graph.outputs["loss"], spec.settings)
    reduce = workers.reduce_gradients if workers is not None else None
    scaling = LossScaling() if short is DType.F16 else None
    gradients = _gradients(spec, graph.outputs["loss"], parameters, reduce, scaling)
    return _Begun(spec, graph, measures, parameters, gradients, scaling)


def _with_changes(changes: Mapping[Value, Value], *ends: dict[str, Value]) -> list[dict[str, Value]]:
    """Dicts of values by name after the changes, with the nodes that they share."""
    values = iter(replace([value for group in ends for value in group.values()], changes) if changes else ())
    return [{name: next(values) for name in group} for group in ends] if changes else list(ends)


def _gradients(
    spec: TrainingSpec,
    loss: Value,
    parameters: Mapping[str, Value],
    reduce: GradientTransform | None = None,
    scaling: LossScaling | None = None,
) -> dict[str, Value]:
    """The gradients of the loss with its penalties, by path, where there are any; in f32 for 16-bit floats.

    `reduce` changes those of the loss alone: penalties are the same at every worker. Gradients flow back from the loss
    times the scale, and are divided by it at the parameters.
    """
    penalized = _add_penalties(loss, parameters, spec.settings)
    if reduce is None:
        reached = _reached(penalized, parameters, scaling=scaling)
    else:
        reached = reduce(_reached(loss, parameters, scaling=scaling))
        penalties = _reached(penalized, parameters, stop=loss) if penalized is not loss else {}
        reached = {
            path: reached[path] + penalties[path] if path in reached and path in penalties else flow
            for path, flow in {**penalties, **reached}.items()
        }
        reached = {path: reached[path] for path in parameters if path in reached}
    if not reached:
        raise _nothing_to_train_error(spec, penalized, list(parameters.values()))
    return reached


def _reached(
    loss: Value, parameters: Mapping[str, Value], stop: Value | None = None, scaling: LossScaling | None = None
) -> dict[str, Value]:
    """The gradients of a scalar by path, where there are any; none flows through `stop`."""
    if stop is not None:
        (loss,) = replace([loss], {stop: constant(0.0, stop.type.dtype)})
    scaled = loss if scaling is None else scaling.scale_loss(loss)
    gradients = zip(parameters, gradient_of(scaled, list(parameters.values())), strict=True)
    reached = {path: widen(gradient) for path, gradient in gradients if gradient is not None}
    return reached if scaling is None else scaling.unscale(reached)


def _accumulation_schedule(number: Value, every: int) -> tuple[Value, Value]:
    """Whether the optimizer takes a step after the batch of a number, and the number of that step."""
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
