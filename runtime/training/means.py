"""Measures over many batches: sums while they pass, means where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.measures import OVER, UNDER, Measure
from runtime.numpy_executor import NumpyRunner


class Means:
    """Each measure over the batches that were added; `sums` is all that it knows, and may come from a checkpoint."""

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        self.measures = dict(measures)
        self._after = {name: NumpyRunner(each.after, {}) for name, each in measures.items() if each.after is not None}

    def add(self, sums: dict[str, float], outputs: Mapping[str, float], examples: int) -> None:
        """Count a batch of so many examples."""
        for name, each in self.measures.items():
            under = float(examples) if each.under is None else outputs[name + UNDER]
            over = outputs[name + OVER] * (under if each.under is None else 1.0)
            sums[name + OVER] = sums.get(name + OVER, 0.0) + over
            sums[name + UNDER] = sums.get(name + UNDER, 0.0) + under

    def of(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The measures of all batches together."""
        found: dict[str, float] = {}
        for name, each in self.measures.items():
            over, under = sums.get(name + OVER, 0.0), max(sums.get(name + UNDER, 0.0), each.least)
            mean = over / under if under else 0.0
            if name in self._after:
                fed = np.asarray(mean, self._after[name].graph.inputs["mean"].type.dtype.numpy)
                mean = float(self._after[name].run({"mean": fed})["value"])
            found[name] = mean
        return found
