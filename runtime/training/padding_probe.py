"""Finding out whether a model reads padding, by adding more of it and comparing the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph
from compiler.model_spec import SEED, STEP, ModelSpec
from compiler.operators.leaves import Parameter, Stored
from compiler.training.losses import loss_graph
from compiler.types import TensorType
from grammar.diagnostics import NablacError
from runtime.data.examples import Examples
from runtime.data.padding import Padding
from runtime.initialization import initialize, stored_operators
from runtime.numpy_executor import NumpyRunner
from runtime.text.lengths import least_widths, token_axes

if TYPE_CHECKING:
    from compiler.types import Array

_ROWS, _MORE = 4, 3  # the number of texts, and the padding that is added to them


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
    """The dims along which more padding changes the loss, a metric or an output without that axis.

    Noise is added to the weights, since a weight that is 0 initially would hide an effect.
    """
    rows = data.parts["training"][:_ROWS] if len(data.parts["training"]) else np.arange(min(len(data), _ROWS))
    batch = padding.trim({name: array[rows] for name, array in data.arrays.items()})
    arrays: dict[str, Array] = {**batch, STEP: np.array(1), SEED: np.array(0)}
    feeds = {
        name: arrays[name].astype(value.type.dtype.numpy) for name, value in graph.inputs.items() if name in arrays
    }
    random = np.random.default_rng(0)
    first = initialize(graph, 0, weights)
    runner = NumpyRunner(graph, {op.path: _add_noise(op, first[op.path], random) for op in stored_operators(graph)})
    tolerance = max(
        1e-4, 30 * next(value.type.dtype.eps for value in graph.outputs.values() if value.type.dtype.is_float)
    )
    try:
        plain = runner.run(feeds)
    except NablacError:
        return frozenset(padding.axes.values())
    read: set[str] = set()
    for dim in set(padding.axes.values()):
        wider = {
            name: padding.widened(name, array, array.shape[1] + _MORE) if padding.axes.get(name) == dim else array
            for name, array in feeds.items()
        }
        try:
            results = runner.run(wider)
        except NablacError:  # there may be no more positions
            read.add(dim)
            continue
        for name, value in graph.outputs.items():
            before, after = plain[name], results[name]
            if before.shape == after.shape and value.type.dtype.is_float:
                scale = np.abs(before).max(initial=0) + np.finfo(np.float32).tiny
                if not np.abs(before - after).max(initial=0) <= tolerance * scale:
                    read.add(dim)
    return frozenset(read)


def _add_noise(op: Stored, value: Array, random: np.random.Generator) -> Array:
    """A float parameter's value with noise of standard deviation 0.1; any other value as it is."""
    if not isinstance(op, Parameter) or not op.type.dtype.is_float:
        return value
    noise = np.asarray(random.normal(0, 0.1, value.shape))
    noisy: Array = (value + noise).astype(value.dtype)
    return noisy
