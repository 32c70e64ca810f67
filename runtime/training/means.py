"""Measures over many batches: their parts while batches pass, what they come to where it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from compiler.measures import Measure
from runtime.numpy_executor import NumpyRunner

_EXAMPLES = "examples"


class Means:
    """Each measure over the batches that were added; `sums` is all that it knows, and may come from a checkpoint."""

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        self.kinds = {name: part.kind for each in measures.values() for name, part in each.parts.items()}
        self._after = {name: NumpyRunner(each.after, {}) for name, each in measures.items()}

    def add(self, sums: dict[str, float], outputs: Mapping[str, float], examples: int) -> None:
        """Count a batch of so many examples."""
        for name, kind in self.kinds.items():
            value, before = outputs[name], sums.get(name)
            match kind:
                case "sum":
                    sums[name] = value + (before or 0.0)
                case "last":
                    sums[name] = value
                case "mean":
                    sums[name] = value * examples + (before or 0.0)
                case _:
                    better = max if kind == "max" else min
                    sums[name] = value if before is None or math.isnan(value) else better(before, value)
        sums[_EXAMPLES] = sums.get(_EXAMPLES, 0.0) + examples

    def of(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The measures of all batches together."""
        if not sums:
            return dict.fromkeys(self._after, 0.0)
        parts = {
            name: np.float64(sums[name] / sums[_EXAMPLES] if kind == "mean" else sums[name])
            for name, kind in self.kinds.items()
        }
        found: dict[str, float] = {}
        for name, runner in self._after.items():
            fed = {each: np.asarray(parts[each]) for each in runner.graph.inputs}
            found[name] = float(runner.run(fed)["value"])
        return found
