"""The ranges that values of a graph have on data, from which the scales of integers are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph, Value
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.numpy_executor import NumpyRunner

if TYPE_CHECKING:
    from compiler.passes.known_weights import KnownWeights
    from compiler.types import Array


def spread(rows: Array, count: int) -> Array:
    """At most `count` of the rows [rows], drawn from all of them: one from each of as many parts of the same length.

    The first ones may be those of a single series or of a single season. The draw is the same at each call.
    """
    if len(rows) <= count:
        return rows
    borders = np.linspace(0, len(rows), count + 1)
    drawn: Array = rows[np.random.default_rng(0).uniform(borders[:-1], borders[1:]).astype(np.int64)]
    return drawn


class Calibration:
    """Runs a graph with its weights on batches, and keeps the least and the largest number of some values."""

    def __init__(self, known: KnownWeights, values: Sequence[Value]) -> None:
        graph = known.graph
        self.names = {value: f"measured {number}" for number, value in enumerate(values)}
        outputs = {**graph.outputs, **{name: value for value, name in self.names.items()}}
        self.outputs = tuple(graph.outputs)
        self.runner = NumpyRunner(Graph(graph.inputs, outputs, {}, graph.name), known.weights)
        self.ranges: dict[Value, tuple[float, float]] = {}
        self.examples = 0

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for a batch; NablacError where a measured value is not finite."""
        results = self.runner.run(feeds)
        self.examples += len(next(iter(feeds.values()))) if feeds else 0
        for value, name in self.names.items():
            low, high = float(results[name].min(initial=np.inf)), float(results[name].max(initial=-np.inf))
            if np.isnan(low) or low == -np.inf or high == np.inf:
                layer = value.node.origin.path or value.node.op.name
                message = f"`{layer}` is not finite (NaN or infinity) on the calibration data"
                hint = "calibrate with data on which the model's results are finite"
                raise NablacError(Diagnostic(codes.E918, message, value.node.origin.span, place="calibrate", hint=hint))
            before = self.ranges.get(value, (np.inf, -np.inf))
            self.ranges[value] = (min(before[0], low), max(before[1], high))
        return {name: results[name] for name in self.outputs}
