"""The loss of a model as a graph from the batch to the loss and the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter

from compiler.graph import Graph, Value
from compiler.model_spec import SEED, ModelSpec, TrainingSpec
from compiler.operators.leaves import Input
from compiler.training.measures import Measure, measures_of, parts_of
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


def measured_loss(model: ModelSpec) -> tuple[Graph, dict[str, Measure]]:
    """The graph of the parts of a model's loss and metrics, and their measures, which combine the parts."""
    graph, measures = loss_graph(model), measures_of(model.graph, training_of(model))
    return Graph(graph.inputs, parts_of(measures), {}, graph.name, graph.doc, graph.layers), measures


def loss_graph(model: ModelSpec) -> Graph:
    """A model with its loss: the inputs are the batch, the outputs `loss`, the metrics, and the model's own outputs."""
    spec, graph = training_of(model), model.graph
    outputs = {"loss": spec.objective, **spec.metrics, **_rename_outputs(graph.outputs, {"loss", *spec.metrics})}
    inputs = inputs_of(model, (*outputs.values(), *spec.updates.values()))
    return Graph(inputs, outputs, dict(spec.updates), graph.name, graph.doc, spec.layers)


def whole_graph(model: ModelSpec) -> Graph:
    """A graph that reads every weight of a model: those of its outputs, and those that its loss and metrics read."""
    return model.graph if model.training is None else loss_graph(model)


def training_of(model: ModelSpec) -> TrainingSpec:
    """How a model is trained; NablacError if it has no train block."""
    if model.training is None:
        name = model.graph.name
        raise NablacError(
            Diagnostic(
                codes.E612,
                f"model {name} has no train block",
                place=name,
                hint=f"add one: `train {name} {{ target t: [batch, 1]; loss mse(y, t) }}`",
            )
        )
    return model.training


def inputs_of(model: ModelSpec, ends: Iterable[Value]) -> dict[str, Value]:
    """The inputs of a training graph by label: the model's inputs and targets, then those of the step itself."""
    named = {**model.graph.inputs, **training_of(model).targets}
    labels = {
        node.result: node.op.label
        for node in Graph({}, {str(number): end for number, end in enumerate(ends)})
        if isinstance(node.op, Input)
    }
    used, known = labels.keys(), set(named.values())
    extra = {label: value for value, label in sorted(labels.items(), key=itemgetter(1)) if value not in known}
    return {**{name: value for name, value in named.items() if name != SEED or value in used}, **extra}


def _rename_outputs(outputs: Mapping[str, Value], taken: Iterable[str]) -> dict[str, Value]:
    """The model's outputs; one with the name of a metric gets the suffix `.output`."""
    return {f"{name}.output" if name in taken else name: value for name, value in outputs.items()}
