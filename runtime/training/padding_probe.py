"""Finding out whether a model reads padding, by adding more of it and comparing the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph
from compiler.model_spec import SEED, STEP, ModelSpec
from compiler.training.losses import loss_graph
from compiler.types import TensorType
from runtime.data.examples import Examples
from runtime.data.padding import Padding
from runtime.padding_effects import padding_effects
from runtime.text.lengths import least_widths, token_axes

if TYPE_CHECKING:
    from compiler.types import Array

_ROWS = 4  # the number of texts


def padding_of(model: ModelSpec, examples: Examples, weights: Mapping[str, Array] | None = None) -> Padding:
    """The padding of rows of tokens for a model in inference mode, with initial `weights`."""
    assert model.training is not None
    values = {**model.graph.inputs, **model.training.targets}
    types = {name: value.type for name, value in values.items()}
    graph = loss_graph(model)
    axes = {name: str(dim) for name, dim in token_axes(types) if name in examples.arrays}
    padding = Padding.along(axes, least_widths(graph, types), examples)
    if not padding.axes:
        return padding
    return replace(padding, apart=_dims_whose_padding_is_read(graph, padding, examples, types, weights))


def _dims_whose_padding_is_read(
    graph: Graph,
    padding: Padding,
    data: Examples,
    types: Mapping[str, TensorType],
    weights: Mapping[str, Array] | None,
) -> frozenset[str]:
    """The dims along which more padding changes the loss, a metric or an output without that axis."""
    rows = data.parts["training"][:_ROWS] if len(data.parts["training"]) else np.arange(min(len(data), _ROWS))
    batch = padding.trim({name: array[rows] for name, array in data.arrays.items()})
    arrays: dict[str, Array] = {**batch, STEP: np.array(1), SEED: np.array(0)}
    feeds = {
        name: arrays[name].astype(value.type.dtype.numpy) for name, value in graph.inputs.items() if name in arrays
    }
    tolerance = max(
        1e-4, 30 * next(value.type.dtype.eps for value in graph.outputs.values() if value.type.dtype.is_float)
    )
    floats = [name for name, value in graph.outputs.items() if value.type.dtype.is_float]
    effects = padding_effects(graph, padding, feeds, weights)
    return frozenset(
        dim
        for dim, changes in effects.items()
        if any((change := changes[name]) is not None and change > tolerance for name in floats)
    )
