"""Scaling: what a stage asks for, and what it comes to on the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grammar.source import Span

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(frozen=True)
class Scale:
    """A kind of scaling, asked for `columns`, or where none are named for every number that is measured."""

    kind: str  # "standardize" or "min_max"
    low: float
    high: float
    columns: tuple[str, ...]
    span: Span

    def fit(self, table: Array) -> tuple[Array, Array]:
        """Offset and scale of each column of [rows, columns]; one that does not vary is only moved."""
        if self.kind == "standardize":
            offset, scale = table.mean(axis=0), table.std(axis=0)
        else:
            least, most = table.min(axis=0), table.max(axis=0)
            scale = (most - least) / (self.high - self.low)
            offset = least - self.low * scale
        return offset, np.where(scale == 0, 1.0, scale)


@dataclass(frozen=True, eq=False)
class Scaling:
    """`raw = scaled * scale + offset`, as NumPy broadcasts them against an example."""

    offset: Array
    scale: Array

    def scaled(self, raw: Array) -> Array:
        return (raw - self.offset) / self.scale

    def reshaped(self, before: tuple[int, ...], after: tuple[int, ...]) -> Scaling:
        """For examples of the shape `after` that were `before`."""
        if before == after or self.offset.size == 1:
            return self
        offset, scale = (np.broadcast_to(each, before).reshape(after) for each in (self.offset, self.scale))
        return Scaling(offset, scale)


def chosen(scales: Sequence[Scale], names: set[str], unasked: bool) -> Scale | None:
    """The last scale that names a column or its array; `unasked`, one that names no columns will do."""
    fitting = (each for each in reversed(scales) if (names & set(each.columns) if each.columns else unasked))
    return next(fitting, None)


def fitted_scaling(examples: Array, scales: Sequence[Scale | None]) -> Scaling | None:
    """What training examples show, of each column of the last axis, or of each channel of images; None for none.

    `scales` are those of the columns, or one for all of them.
    """
    image = examples.ndim == 4
    table = np.moveaxis(examples, 1, -1) if image else examples if examples.ndim > 1 else examples[:, None]
    table = table.reshape(-1, table.shape[-1]).astype(np.float64)
    of_columns = scales if len(scales) == table.shape[1] else list(scales[:1]) * table.shape[1]
    if not any(of_columns):
        return None
    offset, scale = np.zeros(table.shape[1]), np.ones(table.shape[1])
    for each in {id(scale): scale for scale in of_columns if scale is not None}.values():
        here = np.array([other is each for other in of_columns])
        moved, spread = each.fit(table)
        offset, scale = np.where(here, moved, offset), np.where(here, spread, scale)
    shape = (-1, 1, 1) if image and len(offset) > 1 else (-1,)
    return Scaling(offset.reshape(shape), scale.reshape(shape))
