"""Measures over many batches: their parts are accumulated batch by batch, and combined at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.training.measures import ROWS, Measure
from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.numpy_executor import NumpyRunner

if TYPE_CHECKING:
    from compiler.types import Array

_EXAMPLES = "examples"


class Means:
    """Measures over batches; all state is in `sums`, which may come from a checkpoint.

    For measures that need all examples at once, `sums` keeps their inputs.
    """

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        self.names = tuple(measures)
        self.kinds = {name: part.kind for measure in measures.values() for name, part in measure.parts.items()}
        self._after = {name: NumpyRunner(measure.after, {}) for name, measure in measures.items()}

    def add(self, sums: dict[str, Any], outputs: Mapping[str, Any], examples: int) -> None:
        """Add a batch of so many examples."""
        for name, kind in self.kinds.items():
            if kind == ROWS:
                sums.setdefault(name, []).append(outputs[name])
                continue
            if np.ndim(outputs[name]):  # a weight, the same for all batches
                sums[name] = outputs[name]
                continue
            value, before = float(outputs[name]), sums.get(name)
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

    def merged(self, shares: Sequence[tuple[Sequence[int], Mapping[str, Any]]]) -> dict[str, Any]:
        """The sums of workers, each with the numbers of the batches of which it had a share, as those of one.

        Rows are in the order of the batches, and of the workers within each.
        """
        merged: dict[str, Any] = {}
        known = [(numbers, sums) for numbers, sums in shares if sums]
        for name, kind in self.kinds.items():
            values = [sums[name] for _, sums in known]
            if not values:
                continue
            if isinstance(values[0], list):
                order = np.argsort([number for numbers, _ in known for number in numbers], kind="stable")
                rows = [block for value in values for block in value]
                merged[name] = [rows[index] for index in order]
            elif kind in ("max", "min"):
                better = np.fmax if kind == "max" else np.fmin
                merged[name] = float(better.reduce(values))
            elif kind == "last" or np.ndim(values[0]):
                merged[name] = values[0]
            else:
                merged[name] = sum(values)
        if known:
            merged[_EXAMPLES] = sum(sums[_EXAMPLES] for _, sums in known)
        return merged

    def of(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """The measures of all batches; NablacError for one whose arrays cannot be concatenated."""
        if not sums:
            return dict.fromkeys(self._after, 0.0)
        means: dict[str, float] = {}
        for name, runner in self._after.items():
            totals = {part: self._total(name, part, sums, value.type) for part, value in runner.graph.inputs.items()}
            means[name] = float(runner.run(totals)["value"])
        return means

    def _total(self, measure: str, part: str, sums: Mapping[str, Any], type: TensorType) -> Array:
        """A part over all batches."""
        kind, value = self.kinds[part], sums[part]
        if kind != ROWS:
            return np.asarray(value / sums[_EXAMPLES] if kind == "mean" else value, type.dtype.numpy)
        if len({rows.shape[1:] for rows in value}) > 1:
            shapes = " and ".join(str(list(shape)) for shape in sorted({rows.shape[1:] for rows in value})[:2])
            message = f"`{measure}` is computed over all examples at once, but they have different shapes: {shapes}"
            hint = "reduce each example to one number first, such as the mean of its row"
            raise NablacError(Diagnostic(codes.E846, message, place=measure, hint=hint))
        return np.concatenate(value)
