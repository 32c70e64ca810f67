"""Checks of decode steps: a model's outputs do not depend on later tokens, and its decode step agrees with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from compiler.decode import Decode
from compiler.dims import Dim, symbols
from compiler.graph import Graph, Value
from compiler.operators.leaves import Source
from compiler.targets import ORT_CPU, Target
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.generation.decoders import Cached, Layout, Recomputing
from runtime.generation.machines import NumpyMachine, machine
from runtime.numpy_executor import NumpyRunner
from runtime.text.lengths import longest_texts
from runtime.verification import random_feeds, relative_error, sample_sizes

if TYPE_CHECKING:
    from compiler.types import Array

_LENGTH, _KEPT = 6, 3  # tokens of the random text, and how many of them are not changed
_TOLERANCE = 1e-4


def check_causal(graph: Graph, tokens: str, output: str, weights: Mapping[str, Array], seed: int = 0) -> None:
    """Change the last tokens of a random text: NablacError (E862) if results for earlier tokens change.

    All values with exactly one axis of tokens are compared; the error is at the line of the first that changes.
    """
    time = graph.inputs[tokens].shape[1]
    watched: dict[str, tuple[Value, int]] = {}
    for number, node in enumerate(Graph({}, {"": graph.outputs[output]})):
        for value in node.results:
            time_axes = [axis for axis, size in enumerate(value.shape) if symbols(size) & symbols(time)]
            if len(time_axes) == 1 and value.shape[time_axes[0]] == time and not isinstance(node.op, Source):
                watched[f"value {number}.{value.index}"] = value, time_axes[0]
    every = Graph(graph.inputs, {name: value for name, (value, _) in watched.items()}, {}, graph.name)
    first, second = _pair(graph, tokens, seed)
    kept = _kept(first[tokens])
    runner = NumpyRunner(every, weights)
    before, after = runner.run(first), runner.run(second)
    for name, (value, axis) in watched.items():
        earlier = [np.take(results[name], range(kept), axis) for results in (before, after)]
        # Products of different lengths may be summed in different orders.
        if relative_error(earlier[0], earlier[1]) > _TOLERANCE:
            origin = value.node.origin
            message = f"{graph.name} does not generate: here, the result for a token depends on later tokens"
            hint = "mask later tokens (`causal: true`), or scan forward only"
            location = None if origin.span is not None else origin.path
            raise NablacError(Diagnostic(codes.E862, message, origin.span, hint=hint, place=location))


def worst_difference(
    graph: Graph,
    step: Decode,
    weights: Mapping[str, Array],
    backend: str = "numpy",
    seed: int = 0,
    target: Target = ORT_CPU,
) -> float:
    """The largest error of the decode step's scores, token by token, against the whole model on NumPy."""
    feeds, _ = _pair(graph, step.tokens, seed)
    tokens = feeds.pop(step.tokens)
    kept = _kept(tokens)
    start = machine(step.start, weights, backend, "cpu", target) if step.start.outputs else None
    cached = Cached(Layout.of(step), start, machine(step.step, weights, backend, "cpu", target))
    whole = Recomputing(step.tokens, step.output, NumpyMachine(graph, weights))
    pairs = [(cached.begin(tokens[:, :kept], feeds), whole.begin(tokens[:, :kept], feeds))]
    pairs += [(cached.next(tokens[:, index]), whole.next(tokens[:, index])) for index in range(kept, tokens.shape[1])]
    return max(relative_error(np.ascontiguousarray(ours), np.ascontiguousarray(theirs)) for ours, theirs in pairs)


def _kept(tokens: Array) -> int:
    """How many tokens of a text are not changed; fewer for models with few positions."""
    return max(1, min(_KEPT, int(tokens.shape[1]) - 1))


def _pair(graph: Graph, tokens: str, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Feeds with a random text, and the same with other tokens at its end."""
    time, length = graph.inputs[tokens].shape[1], min(_LENGTH, longest_texts(graph).get(tokens, _LENGTH))
    sizes = next(iter(sample_sizes(graph)))
    sizes = {name: length if Dim.named(name) == time else max(size, 2) for name, size in sizes.items()}
    first = random_feeds(graph, sizes, seed)
    first[tokens] = np.maximum(first[tokens], 1)  # 0 is padding in many models
    second = {name: array.copy() for name, array in first.items()}
    other = np.maximum(random_feeds(graph, sizes, seed + 1)[tokens], 1)
    kept = _kept(other)
    second[tokens][:, kept:] = np.where(other[:, kept:] == first[tokens][:, kept:], 1, other[:, kept:])
    return first, second
