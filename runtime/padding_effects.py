"""What padding behind texts changes in the results of a model, found by adding more of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import inf, isnan
from typing import TYPE_CHECKING

import numpy as np

from compiler.dims import Dim
from compiler.graph import Graph
from compiler.operators.leaves import Parameter, Stored
from grammar.diagnostics import NablacError
from runtime.data.fitted import Fitted
from runtime.data.padding import Padding
from runtime.feeds import random_feeds, sizes_from
from runtime.initialization import initialize, stored_operators
from runtime.metadata import read_entry, texts
from runtime.numpy_executor import NumpyRunner
from runtime.text.lengths import longest_texts, shortest_texts, token_axes
from runtime.text.tokenizers import PADDING

if TYPE_CHECKING:
    from compiler.types import Array

KEY = "nablac.unread_padding"  # of the metadata: a list of inputs
_MORE = 3  # the padding that is added
_ROWS, _TOKENS = 16, 7  # of the texts that are drawn
_EPS = float(np.finfo(np.float32).eps)  # the largest rounding at which padding can be told from it
_ROUNDING = 8 * _EPS


def padding_effects(
    graph: Graph, padding: Padding, feeds: Mapping[str, Array], weights: Mapping[str, Array] | None = None
) -> dict[str, dict[str, float | None]]:
    """For each dim of tokens, by which part of its largest number each output changes at the most with more padding.

    None for an output that becomes longer; infinity where the graph cannot run. The parameters that are not in
    `weights` are initial, and noise is added to all, since a weight that is 0 initially would hide an effect.
    """
    random = np.random.default_rng(0)
    first = initialize(graph, 0, weights)
    runner = NumpyRunner(graph, {op.path: _add_noise(op, first[op.path], random) for op in stored_operators(graph)})
    broken: dict[str, float | None] = dict.fromkeys(graph.outputs, inf)
    dims = set(padding.axes.values())
    try:
        plain = runner.run(dict(feeds))
    except NablacError:
        return dict.fromkeys(dims, broken)
    effects: dict[str, dict[str, float | None]] = {}
    for dim in dims:
        wider = {
            name: padding.widened(name, array, array.shape[1] + _MORE) if padding.axes.get(name) == dim else array
            for name, array in feeds.items()
        }
        try:
            results = runner.run(wider)
        except NablacError:  # there may be no more positions
            effects[dim] = broken
            continue
        effects[dim] = {name: _change(plain[name], results[name]) for name in graph.outputs}
    return effects


def _change(before: Array, after: Array) -> float | None:
    if before.shape != after.shape:
        return None
    before, after = before.astype(np.float64), after.astype(np.float64)
    scale = np.abs(before).max(initial=0) + np.finfo(np.float32).tiny
    change = float(np.abs(before - after).max(initial=0) / scale)
    return inf if isnan(change) else change


def _add_noise(op: Stored, value: Array, random: np.random.Generator) -> Array:
    """A float parameter's value with noise of standard deviation 0.1; any other value as it is."""
    if not isinstance(op, Parameter) or not op.type.dtype.is_float:
        return value
    noise = np.asarray(random.normal(0, 0.1, value.shape))
    noisy: Array = (value + noise).astype(value.dtype)
    return noisy


def unread_padding(graph: Graph, fitted: Fitted | None) -> tuple[str, ...]:
    """The inputs of texts whose padding changes no output: texts of any length may share a batch.

    None where an output has the axis of the tokens, or a type whose rounding could hide a change.
    """
    types = {name: value.type for name, value in graph.inputs.items()}
    tokens = _padding_tokens(graph, fitted)
    axes = {name: str(dim) for name, dim in token_axes(types) if dim == Dim.named(str(dim))}
    dims = {dim for name, dim in axes.items() if name in tokens} - {
        dim for name, dim in axes.items() if name not in tokens
    }
    dims -= {str(size) for value in graph.outputs.values() for size in value.shape}
    axes = {name: dim for name, dim in axes.items() if dim in dims}
    eps = max((value.type.dtype.eps for value in graph.outputs.values() if value.type.dtype.is_float), default=0.0)
    if not axes or eps > _EPS:
        return ()
    padding = Padding(axes, tokens={name: tokens[name] for name in axes})
    feeds = _drawn_texts(graph, padding)
    if feeds is None:
        return ()
    effects = padding_effects(graph, padding, feeds)
    read = {
        dim
        for dim, changes in effects.items()
        if any(change is None or change > _ROUNDING for change in changes.values())
    }
    return tuple(name for name, dim in axes.items() if dim not in read)


def _padding_tokens(graph: Graph, fitted: Fitted | None) -> dict[str, int]:
    """The padding token of each input that takes a column of texts, or the texts of pairs alone."""
    if fitted is None:
        return {}
    named = {name: columns[0] for name, columns in fitted.columns.items() if columns}
    known = {name: fitted.tokenizers[column] for name, column in named.items() if column in fitted.tokenizers}
    if fitted.tokenizer is not None and len(graph.inputs) == 1 and fitted.stages and fitted.stages[0].name == "pairs":
        known = dict.fromkeys(graph.inputs, fitted.tokenizer)
    return {name: tokenizer.padding or PADDING for name, tokenizer in known.items()}


def _drawn_texts(graph: Graph, padding: Padding) -> dict[str, Array] | None:
    """Inputs whose rows of tokens have different lengths; None where the model takes too few tokens for that."""
    sizes = sizes_from(graph, _ROWS, _TOKENS)
    longest, least = longest_texts(graph), shortest_texts(graph)
    for name, dim in padding.axes.items():
        sizes[dim] = min(max(sizes[dim], least.get(name, 1)), longest.get(name, sizes[dim]) - _MORE)
    if any(sizes[dim] < least.get(name, 1) for name, dim in padding.axes.items()):
        return None
    feeds = random_feeds(graph, sizes, 0)
    random = np.random.default_rng(1)
    for name in padding.axes:
        rows, token = feeds[name], padding.tokens[name]
        other = np.array(1 if token == 0 else token - 1, rows.dtype)
        lengths = random.integers(1, rows.shape[1] + 1, len(rows))
        lengths[0] = rows.shape[1]
        beyond = np.arange(rows.shape[1]) >= lengths[:, None]
        feeds[name] = np.where(beyond, np.array(token, rows.dtype), np.where(rows == token, other, rows))
    return feeds


def padding_metadata(graph: Graph, fitted: Fitted | None) -> dict[str, str]:
    """The metadata with the inputs whose padding is not read, where there are some."""
    unread = unread_padding(graph, fitted)
    return {KEY: json.dumps(unread)} if unread else {}


def stored_unread_padding(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The inputs in the metadata that `padding_metadata` made."""
    return tuple(read_entry(metadata, KEY, [], texts))
