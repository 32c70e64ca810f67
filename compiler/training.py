"""The training step as a graph: loss, gradients and the optimizer's equations, made of ordinary operators.

What changes from step to step - parameters, buffers and the optimizer's states - are updates of the graph, so that the
step runs on any backend and compiles to ONNX as a model does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import replace as replace_field
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any, Literal

from compiler.accumulation import Weight, weight_of
from compiler.build import Elaborated
from compiler.dims import DimError
from compiler.elaborate.training import TrainingSpec
from compiler.elaborate.values import is_number
from compiler.gradient import gradients
from compiler.gradient_stop import find_gradient_stop
from compiler.graph import Graph, NotDifferentiable, Value, origin
from compiler.measures import Measure, as_it_is, measures_of, parts_of, with_parts
from compiler.operators.arithmetic import Abs as Absolute
from compiler.operators.arithmetic import Add, Floor, Maximum, Minimum, Mod, Sqrt
from compiler.operators.casting import Cast
from compiler.operators.comparison import Equal, Where
from compiler.operators.making import filled
from compiler.operators.reductions import Max, Sum
from compiler.operators.shaping import Expand
from compiler.operators.source import Buffer, Input, Parameter, constant
from compiler.passes.pipeline import Stage, run_stage
from compiler.rewrite import replace
from compiler.types import DType, TensorType, TypeMismatch
from compiler.updates import Update, applied
from grammar.diagnostics import Diagnostic, Label, NablacError

# Inputs of a training step beside the batch: its number from 1, the key of its draws, and the factor of its rate.
STEP, SEED, RATE = "step", "seed", "rate"
LEARNING_RATE = "learning_rate"  # of the history
_LEAST_PEAK = 1e-30  # what gradients are divided by at the least: all may be 0


@dataclass(frozen=True)
class OwnState:
    """What a training step keeps beside parameters and buffers: a state of the optimizer, an average, a running sum."""

    kind: Literal["optimizer", "average", "accumulated"]
    of: str = ""  # the parameter that it belongs to; none for the sum of what batches weigh
    name: str = ""  # what the optimizer calls it

    @property
    def path(self) -> str:
        """Its key in checkpoints and in ONNX; paths of the model have no slash, so that none is like it."""
        return "/".join(part for part in (self.kind, self.name, self.of) if part)


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """`graph` has the batch, `step` and `seed` for inputs, the loss and the metrics for outputs.

    Its updates are the trained parameters, the buffers and, in `states` by their paths, what the step keeps for itself.
    """

    graph: Graph
    trained: tuple[str, ...]
    states: dict[str, OwnState]
    measures: dict[str, Measure]  # of the loss and of metrics that add up over batches; outputs of `measured`
    measured: Graph

    @property
    def averages(self) -> dict[str, str]:
        """Where the running average of a parameter is, by the parameter's path."""
        return {state.of: path for path, state in self.states.items() if state.kind == "average"}


def measured_loss(elaborated: Elaborated) -> tuple[Graph, dict[str, Measure]]:
    """What the loss and the metrics of a model are measured by, and the parts of these measures as outputs."""
    graph, measures = loss_graph(elaborated), measures_of(elaborated)
    return Graph(graph.inputs, parts_of(measures), {}, graph.name, graph.doc, graph.layers), measures


def loss_graph(elaborated: Elaborated) -> Graph:
    """A model with its loss and metrics: the batch in; `loss`, the metrics, and the model's own outputs out."""
    spec, graph = _spec(elaborated), elaborated.graph
    assert spec.loss is not None
    outputs = {"loss": spec.loss, **spec.metrics, **_apart(graph.outputs, {"loss", *spec.metrics})}
    inputs = _inputs(elaborated, (*outputs.values(), *spec.updates.values()))
    return Graph(inputs, outputs, spec.updates, graph.name, graph.doc, spec.layers)


def whole_graph(elaborated: Elaborated) -> Graph:
    """A graph that reads every weight of a model: those of its outputs, and those that its loss and metrics read."""
    spec = elaborated.training
    return elaborated.graph if spec is None or spec.loss is None else loss_graph(elaborated)


def training_step(elaborated: Elaborated) -> TrainingStep:
    """The step that a model's train block describes; NablacError where no gradient can flow."""
    spec = _spec(elaborated)
    measures = {name: each for name, each in measures_of(elaborated).items() if not each.rows}
    graph = run_stage(with_parts(loss_graph(elaborated), measures), Stage.BEFORE_GRADIENT)
    settings = spec.settings
    parameters = _parameters(graph.outputs["loss"], settings)
    loss = _regularized(graph.outputs["loss"], parameters, settings)
    grads = gradient_of(loss, list(parameters.values()))
    found = {path: _wide(grad) for (path, _), grad in zip(parameters.items(), grads, strict=True) if grad is not None}
    if not found:
        raise _nothing_to_train(spec, loss, list(parameters.values()))
    changes: dict[Value, Value] = {}
    updates: dict[str, Value] = dict(graph.updates)
    states: list[OwnState] = []
    apply: Value | None = None
    every = settings.get("accumulate", 1)
    if every > 1:  # what is fed counts batches, and the optimizer its own steps
        number: Value = Input(STEP, spec.step.type)()
        dtype = number.type.dtype
        apply = Equal()(Mod()(number, constant(every, dtype)), constant(0, dtype))
        changes[spec.step] = Floor()((number + (every - 1)) / every)
        weight = weight_of(measures["loss"])
        if weight is None:
            raise _does_not_add_up(spec)
        found = _accumulated(found, _in_graph(weight, measures["loss"], graph), apply, updates)
        states += [OwnState("accumulated")] if weight.value is not None else []
        states += [OwnState("accumulated", path) for path in found]
    found = _limited(found, settings)
    updates |= applied([_update(spec, path, parameters[path], grad, apply, states) for path, grad in found.items()])
    if "average" in settings:
        for path in found:
            states.append(OwnState("average", path))
            updates[states[-1].path] = _average(parameters[path], updates[path], states[-1], settings["average"], apply)
    rate = _learning_rate(spec)
    if rate is not None:
        measures = {**measures, LEARNING_RATE: as_it_is(LEARNING_RATE, rate)}
    parts = parts_of(measures)
    shown = {name: graph.outputs[name] for name in ("loss", *spec.metrics)}
    outputs = shown | {name: graph.outputs.get(name, value) for name, value in parts.items()}
    ends = replace([*outputs.values(), *updates.values()], changes)
    outputs = dict(zip(outputs, ends, strict=False))
    updates = dict(zip(updates, ends[len(outputs) :], strict=True))
    inputs = _inputs(elaborated, ends)
    # The loop asks for no figure of a batch that would not count.
    measured, plain = (
        Graph(inputs, {name: outputs[name] for name in names}, updates, f"{graph.name}.step", graph.doc, graph.layers)
        for names in ((name for name in outputs if name in measures or name in parts), shown)
    )
    return TrainingStep(plain, tuple(found), {each.path: each for each in states}, measures, measured)


def _learning_rate(spec: TrainingSpec) -> Value | None:
    """What the optimizer calls its `lr`, where that is another in other steps."""
    given = spec.optimizer.hypers.get("lr") if spec.optimizer is not None else None
    if isinstance(given, Value):
        rate = _wide(given)
        return rate * spec.rate if "plateau" in spec.settings else rate
    if "plateau" not in spec.settings or given is None or not is_number(given):
        return None
    return constant(given, spec.rate.type.dtype) * spec.rate


def _nothing_to_train(spec: TrainingSpec, loss: Value, parameters: list[Value]) -> NablacError:
    message = "there is nothing to train: no gradient of the loss reaches a parameter"
    node = next((node for each in parameters if (node := find_gradient_stop(loss, each)) is not None), None)
    if node is None:
        hint = "does `freeze` name them all?" if spec.settings.get("freeze") else "the loss depends on no parameter"
        return NablacError(Diagnostic("E610", message, spec.span, hint=hint))
    where = node.origin.span
    labels = (Label(where, f"none flows through `{node.op.name}`"),) if where is not None else ()
    hint = "the loss needs a smooth form, as `cross_entropy` is of `accuracy`"
    return NablacError(Diagnostic("E610", message, spec.span, labels=labels, hint=hint))


def gradient_graph(
    elaborated: Elaborated, wrt: Iterable[str] = ("*",), *, second: bool = False, cut: bool = True
) -> Graph:
    """The loss and its gradients as outputs, `grad.<name>` for each parameter and float input whose name matches.

    With `second`, also `hvp.<name>`: the Hessian's product with a vector, fed as `along.<name>` (Pearlmutter 1994).
    `cut` set to False sees through `stop_gradient` and truncation, as differences do.
    """
    spec, graph = _spec(elaborated), elaborated.graph
    assert spec.loss is not None
    loss = spec.loss if cut else run_stage(Graph({}, {"loss": spec.loss}), Stage.GRADIENT_CHECK).outputs["loss"]
    sources = {name: value for name, value in graph.inputs.items() if value.type.dtype.is_float}
    sources |= _parameters(loss, {})
    patterns = list(wrt)
    chosen = {name: each for name, each in sources.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    if not chosen:
        raise NablacError(
            Diagnostic(
                "E614",
                f"no parameter or float input is called like {' or '.join(f'`{each}`' for each in patterns)}",
                place="wrt",
                hint=f"there are {', '.join(list(sources)[:8])}{', ...' if len(sources) > 8 else ''}",
            )
        )
    grads = _filled(chosen, gradient_of(loss, list(chosen.values())))
    outputs = {"loss": loss, **{f"grad.{name}": grad for name, grad in grads.items()}}
    if second:
        along = {name: Input(f"along.{name}", value.type)() for name, value in chosen.items()}
        products = [Sum(None)(grads[name] * vector) for name, vector in along.items()]
        total = products[0]
        for each in products[1:]:
            total = total + each
        seconds = _filled(chosen, gradient_of(total, list(chosen.values())))
        outputs |= {f"hvp.{name}": value for name, value in seconds.items()}
    return Graph(_inputs(elaborated, outputs.values()), outputs, {}, f"{graph.name}.gradient", graph.doc, graph.layers)


def _filled(chosen: Mapping[str, Value], grads: Iterable[Value | None]) -> dict[str, Value]:
    """Gradients by name, zeros where nothing flows."""
    return {
        name: grad if grad is not None else filled(0, value.type)
        for (name, value), grad in zip(chosen.items(), grads, strict=True)
    }


def gradient_of(loss: Value, wrt: list[Value]) -> list[Value | None]:
    """The gradients of a scalar; NablacError names the line of an operator that has none."""
    try:
        return gradients([loss], [constant(1.0, loss.type.dtype)], wrt)
    except NotDifferentiable as error:
        node = error.node
        raise NablacError(
            Diagnostic(
                "E611",
                f"no gradient flows through `{error}`",
                node.origin.span if node is not None else None,
                note="on the way from the loss to a parameter",
                hint="`stop_gradient(...)` around it says that none is meant to",
            )
        ) from error
    except (TypeMismatch, DimError) as error:
        message = f"the gradient of the loss cannot be built: {error}"
        raise NablacError(Diagnostic("E611", message, loss.node.origin.span)) from error


def _spec(elaborated: Elaborated) -> TrainingSpec:
    if elaborated.training is None:
        name = elaborated.graph.name
        raise NablacError(
            Diagnostic(
                "E612",
                f"model {name} has no train block",
                place=name,
                hint=f"say how to train it: `train {name} {{ target t: [batch, 1]; loss mse(y, t) }}`",
            )
        )
    return elaborated.training


def _apart(outputs: Mapping[str, Value], taken: Iterable[str]) -> dict[str, Value]:
    """The model's outputs, one that is called like a metric under another name."""
    return {f"{name}.output" if name in taken else name: value for name, value in outputs.items()}


def _inputs(elaborated: Elaborated, ends: Iterable[Value]) -> dict[str, Value]:
    """What has to be fed: the model's inputs and targets, then what the step itself asks for."""
    spec = _spec(elaborated)
    named = {**elaborated.graph.inputs, **spec.targets}
    reached = Graph({}, {str(place): end for place, end in enumerate(ends)})
    used = {node.result for node in reached if isinstance(node.op, Input)}
    extra = {value.node.op.label: value for value in sorted(used - set(named.values()), key=_label)}  # type: ignore[attr-defined]
    return {**{name: value for name, value in named.items() if name != SEED or value in used}, **extra}


def _label(value: Value) -> str:
    return str(value.node.op.label)  # type: ignore[attr-defined]


def _parameters(loss: Value, settings: Mapping[str, Any]) -> dict[str, Value]:
    """The parameters that the loss depends on, but those whose path matches a pattern of `freeze`."""
    found = {node.op.path: node.result for node in Graph({}, {"loss": loss}) if isinstance(node.op, Parameter)}
    for setting in ("freeze", "undecayed"):
        for pattern in _patterns(settings.get(setting, ())):
            if not any(fnmatchcase(path, pattern) for path in found):
                raise NablacError(
                    Diagnostic(
                        "E613",
                        f"`{setting}` names `{pattern}`, and no parameter is called so",
                        hint=f"parameters are {', '.join(list(found)[:8])}{', ...' if len(found) > 8 else ''}",
                    )
                )
    frozen = _patterns(settings.get("freeze", ()))
    return {path: value for path, value in found.items() if not any(fnmatchcase(path, each) for each in frozen)}


def _patterns(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _decayed(path: str, value: Value, settings: Mapping[str, Any]) -> bool:
    """Whether decay and penalties hold for a parameter: unless `undecayed` says which not, for those of two axes."""
    patterns = settings.get("undecayed")
    if patterns is None:
        return value.type.rank >= 2
    return not any(fnmatchcase(path, each) for each in _patterns(patterns))


def _regularized(loss: Value, parameters: Mapping[str, Value], settings: Mapping[str, Any]) -> Value:
    """The loss with `l1` and `l2` times the sums of magnitudes and of squares."""
    for name in ("l1", "l2"):
        for path, value in parameters.items():
            if settings.get(name) and _decayed(path, value, settings):
                size: Value = Absolute()(value) if name == "l1" else value * value
                loss = loss + Sum(None)(size) * constant(settings[name], loss.type.dtype)
    return loss


def _in_graph(weight: Weight, measure: Measure, graph: Graph) -> Weight:
    """A weight as a float of at least 32 bits, of the value that is an output of `graph`."""
    if weight.value is None:
        return weight
    value = next(graph.outputs[name] for name, part in measure.parts.items() if part.value is weight.value)
    if not value.type.dtype.is_float:
        value = Cast(graph.outputs["loss"].type.dtype.wide)(value)
    return replace_field(weight, value=_wide(value))


def _does_not_add_up(spec: TrainingSpec) -> NablacError:
    message = "`accumulate` adds up the gradients of batches, and this loss of several batches is not made of theirs"
    note = (
        "it adds up where it is a mean or a sum over the examples, times a number, or a sum of means of as many items"
    )
    hint = "a larger `batch` in the place of `accumulate`"
    return NablacError(Diagnostic("E618", message, spec.span, note=note, hint=hint))


def _accumulated(
    grads: Mapping[str, Value], weight: Weight, apply: Value, updates: dict[str, Value]
) -> dict[str, Value]:
    """The gradients of the batches since the last update as if they had been one batch; buffers keep them till then."""

    def total(state: OwnState, value: Value) -> Value:
        summed: Value = _buffer(state.path, value.type, 0.0) + value
        updates[state.path] = Where()(apply, filled(0, value.type), summed)
        return summed

    if weight.value is None:
        return {path: total(OwnState("accumulated", path), grad) for path, grad in grads.items()}
    floor = constant(weight.least, weight.value.type.dtype)
    own, weights = (
        Maximum()(each, floor) if weight.least else each
        for each in (weight.value, total(OwnState("accumulated"), weight.value))
    )
    return {path: total(OwnState("accumulated", path), grad * own) / weights for path, grad in grads.items()}


def _limited(grads: dict[str, Value], settings: Mapping[str, Any]) -> dict[str, Value]:
    """Gradients clipped by value, then by their common norm (Pascanu et al. 2013)."""
    if "clip_value" in settings:
        limit = settings["clip_value"]
        grads = {
            path: Maximum()(Minimum()(grad, constant(limit, grad.type.dtype)), constant(-limit, grad.type.dtype))
            for path, grad in grads.items()
        }
    if "clip_norm" in settings:
        grads = _norm_limited(grads, settings["clip_norm"])
    return grads


def _norm_limited(grads: dict[str, Value], limit: float) -> dict[str, Value]:
    """Gradients times limit / norm, where their norm is larger, as PyTorch's clip_grad_norm_ has it.

    The norm is taken of gradients over the largest number among them, so that no square overflows or is lost.
    """
    some = {path: grad for path, grad in grads.items() if grad.type.elements != 0}
    if not some:
        return grads
    dtype = next(iter(some.values())).type.dtype
    peaks: list[Value] = [Max(None)(Absolute()(grad)) for grad in some.values()]
    peak: Value = reduce(Maximum(), peaks, constant(_LEAST_PEAK, dtype))
    squares: list[Value] = [Sum(None)((grad / peak) * (grad / peak)) for grad in some.values()]
    norm = Sqrt()(reduce(Add(), squares))
    scale = Minimum()(constant(limit, dtype) / peak / (norm + constant(1e-6, dtype) / peak), constant(1.0, dtype))
    return grads | {path: grad * scale for path, grad in some.items()}


def _wide(value: Value) -> Value:
    """A value to add up, in f32 where it holds floats of 16 bits."""
    return _converted(value, value.type.dtype.wide)


def _converted(value: Value, dtype: DType) -> Value:
    result: Value = value if value.type.dtype == dtype else Cast(dtype)(value)
    return result


def _update(
    spec: TrainingSpec, path: str, parameter: Value, grad: Value, apply: Value | None, own: list[OwnState]
) -> Update:
    """The optimizer's equations for one parameter; the states that they keep are added to `own`.

    They run in f32 for floats of 16 bits: in f16 the square of a gradient of 1e-4 is 0, and so is an `eps` of 1e-8.
    """
    with origin(spec.span, f"optimizer.{path}"):
        dtype = grad.type.dtype
        before, flow = (Input(name, parameter.type.with_dtype(dtype))() for name in ("param", "grad"))
        wide = _wide(parameter)
        decay = spec.settings.get("weight_decay", 0)
        decayed = bool(decay) and _decayed(path, parameter, spec.settings)
        pulled = flow + before * constant(decay, dtype) if decayed else flow
        left_out = "undecayed" in spec.settings and not _decayed(path, parameter, spec.settings)
        states = spec.optimize(f"optimizer.{path}", before, pulled, left_out)
        if "plateau" in spec.settings:  # what the loop shrinks when the monitored quantity no longer improves
            states["param"].next = before + spec.rate * (states["param"].next - before)
        taken, given = {before: wide, flow: grad}, {}
        for name, state in states.items():
            stand_in, target = before, path
            if name != "param":
                own.append(OwnState("optimizer", path, name))
                stand_in, target = state.current, own[-1].path
                (initial,) = replace([state.initial], {before: wide})
                taken[stand_in] = _buffer(target, stand_in.type, initial)
            following = state.next if apply is None else Where()(apply, state.next, stand_in)
            given[target] = _converted(following, parameter.type.dtype) if name == "param" else following
        return Update(taken, given)


def _average(parameter: Value, following: Value, state: OwnState, share: float, apply: Value | None) -> Value:
    """The exponential moving average of a parameter (Polyak and Juditsky 1992), which begins at its first value.

    In f32 of 16-bit floats, which a thousandth of themselves would not move.
    """
    op = parameter.node.op
    assert isinstance(op, Parameter)
    dtype = op.type.dtype.wide
    first = None if op.initial is None else _each(op.initial, _wide)
    kept: Value = Buffer(state.path, op.type.with_dtype(dtype), first)()
    moved = kept * constant(share, dtype) + _wide(following) * constant(1 - share, dtype)
    result: Value = moved if apply is None else Where()(apply, moved, kept)
    return result


def _each(graph: Graph, change: Callable[[Value], Value]) -> Graph:
    return Graph(graph.inputs, {name: change(value) for name, value in graph.outputs.items()})


def _buffer(path: str, type: TensorType, initial: Value | float) -> Value:
    """State of the training step's own, with its first value, which may be drawn from the seed."""
    first: Value = initial if isinstance(initial, Value) else constant(initial, type.dtype)
    if first.type != type:
        first = Expand(type.shape)(first)
    seeds = [node.result for node in Graph({}, {"initial": first}) if isinstance(node.op, Input)]
    result: Value = Buffer(path, type, Graph({SEED: seeds[0]} if seeds else {}, {"initial": first}))()
    return result
