"""Outputs that are to be an input again, as those of an autoencoder: the loss takes their difference."""

from __future__ import annotations

from compiler.comparisons import Form, comparisons, moved_from
from compiler.model_spec import ModelSpec


def reconstructions(model: ModelSpec) -> dict[str, str]:
    """The input that an output is compared with, by the output's name; both have one shape."""
    spec, graph = model.training, model.graph
    if spec is None:
        return {}
    rebuilt: dict[str, str] = {}
    for comparison in comparisons(spec.loss, spec.targets, graph.inputs):
        if comparison.form is not Form.LOCATION or len(comparison.sources) != 1:
            continue
        (source,) = comparison.sources
        for name, value in graph.outputs.items():
            of_input = source in graph.inputs and value.shape == graph.inputs[source].shape
            if of_input and moved_from(comparison.value, {value}):
                rebuilt.setdefault(name, source)
    return rebuilt
