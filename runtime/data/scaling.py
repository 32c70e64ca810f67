"""Scaling: what a stage requests, and the fit to the training part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from grammar.source import Span

if TYPE_CHECKING:
    from compiler.types import Array, DType

_ROUNDING, _ROUNDING_SIXTEEN = 0.02, 0.25  # the rounding error of a type that is accepted, in units of the scale

_AT_ONCE = 1 << 20  # numbers that are processed together


@dataclass(frozen=True)
class Scale:
    """A request to scale `columns`, or all measured numbers if that is empty."""

    kind: Literal["standardize", "min_max"]
    low: float
    high: float
    columns: tuple[str, ...]
    span: Span

    def fit(self, table: Array, rounding: float) -> tuple[Array, Array]:
        """Offset and scale of each column of [rows, columns]; a constant column is only shifted.

        Differences of no more than `rounding` times the largest number of a column count as 0.
        """
        least, most, largest = (np.full(table.shape[1], start) for start in (np.inf, -np.inf, 0.0))
        for rows, moved in _from_first(table):
            least, most = np.minimum(least, moved.min(axis=0)), np.maximum(most, moved.max(axis=0))
            largest = np.maximum(largest, np.abs(rows.astype(np.float64)).max(axis=0))
        offset = table[0].astype(np.float64)
        if self.kind == "standardize":
            unit = np.maximum(most, -least)
            unit[unit == 0] = 1  # numbers are divided by it, so that squares neither overflow nor underflow
            mean = sum((moved / unit).sum(axis=0) for _, moved in _from_first(table)) / len(table)
            squares = sum(((moved / unit - mean) ** 2).sum(axis=0) for _, moved in _from_first(table))
            spread, offset = np.sqrt(squares / len(table)) * unit, offset + mean * unit
        else:
            spread = (most / 2 - least / 2) * (2 / (self.high - self.low))
            offset = offset + least
        varies = spread > rounding * largest
        scale = np.where(varies, spread, 1.0)
        return offset - (self.low * scale if self.kind == "min_max" else 0.0), scale


@dataclass(frozen=True, eq=False)
class Scaling:
    """`raw = scaled * scale + offset`, broadcast against an example."""

    offset: Array
    scale: Array

    def apply(self, raw: Array) -> Array:
        """Scale raw numbers [..., shape of an example]."""
        return (raw - self.offset) / self.scale

    def reshape(self, before: tuple[int, ...], after: tuple[int, ...]) -> Scaling:
        """The same scaling for examples that were reshaped from `before` to `after`."""
        if before == after or self.offset.size == 1:
            return self
        offset, scale = (np.broadcast_to(numbers, before).reshape(after) for numbers in (self.offset, self.scale))
        return Scaling(offset, scale)

    def imprecise_index(self, raw: Array, dtype: DType) -> tuple[int, ...] | None:
        """The index in an example at which raw numbers lose too much precision in `dtype`, or overflow, or None.

        The rounding error, half of `eps` times the largest number, has to be small compared with the scale.
        """
        most, least = raw.max(axis=0), raw.min(axis=0)
        largest = np.maximum(np.abs(most.astype(np.float64)), np.abs(least.astype(np.float64)))
        varies = differences(most, least) > 2 * _rounding(raw) * largest
        varies &= (self.offset != 0) | (self.scale != 1)  # only numbers that a stage scales
        error = np.where(varies, dtype.eps / 2 * largest / self.scale, 0.0)
        error = np.where(largest > dtype.largest, np.inf, error)
        tolerance = _ROUNDING if dtype.bytes > 2 else _ROUNDING_SIXTEEN
        if not error.size or error.max() <= tolerance:
            return None
        return tuple(int(index) for index in np.unravel_index(error.argmax(), error.shape))

    def unrepresentable(self, dtype: DType) -> str | None:
        """Why `dtype` cannot represent the raw numbers; None if it can."""
        for numbers in (self.offset, self.scale):
            beyond = np.abs(numbers) > dtype.largest
            if beyond.any():
                return f"{numbers[beyond][0]:g} is too large"
        if (np.abs(self.scale) < dtype.smallest).any():
            return f"{np.abs(self.scale).min():g} is too small"
        tolerance = _ROUNDING if dtype.bytes > 2 else _ROUNDING_SIXTEEN
        if (dtype.eps / 2 * np.abs(self.offset) > tolerance * np.abs(self.scale)).any():
            return "rounding would remove their differences"
        return None


def differences(left: Array, right: Array) -> Array:
    """`left - right` as floats; for integers it is exact if they are near each other, however large."""
    if left.dtype.kind in "iu" and left.dtype != np.uint64 and left.size and right.size:
        if float(left.max()) - float(right.min()) < 2**62 and float(right.max()) - float(left.min()) < 2**62:
            return np.asarray((left.astype(np.int64) - right.astype(np.int64)).astype(np.float64))
    return np.asarray(left.astype(np.float64) - right.astype(np.float64))


def _from_first(table: Array) -> Iterator[tuple[Array, Array]]:
    """Blocks of rows, and their differences from the first row, which are exact for numbers near each other."""
    step = max(1, _AT_ONCE // max(1, table.shape[1]))
    for start in range(0, len(table), step):
        rows = table[start : start + step]
        yield rows, differences(rows, table[:1])


def _rounding(array: Array) -> float:
    """The relative difference up to which floats of an array count as equal; 0 for integers."""
    return float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0


def select_scale(scales: Sequence[Scale], names: set[str], unasked: bool) -> Scale | None:
    """The last scale that names a column or its array; one without columns applies if `unasked`."""
    fitting = (scale for scale in reversed(scales) if (names & set(scale.columns) if scale.columns else unasked))
    return next(fitting, None)


def fit_scaling(examples: Array, scales: Sequence[Scale | None]) -> Scaling | None:
    """Fit a scaling to training examples, for each column of the last axis or each channel of images.

    `scales` are those of the columns, or one for all. None if there is no scale.
    """
    image = examples.ndim == 4
    table = np.moveaxis(examples, 1, -1) if image else examples if examples.ndim > 1 else examples[:, None]
    table = table.reshape(-1, table.shape[-1])
    rounding = _rounding(examples)
    of_columns = scales if len(scales) == table.shape[1] else list(scales[:1]) * table.shape[1]
    if not any(of_columns):
        return None
    offset, scale = np.zeros(table.shape[1]), np.ones(table.shape[1])
    is_float = table.dtype.kind == "f" and len(table) > 0
    missing = np.isnan(table.min(axis=0)) if is_float else np.zeros(table.shape[1], bool)
    for index in np.flatnonzero(missing).tolist():
        known, scale_of_column = table[:, index][~np.isnan(table[:, index])], of_columns[index]
        if scale_of_column is not None and len(known):
            (offset[index],), (scale[index],) = scale_of_column.fit(known[:, None], rounding)
    for scale_of_columns in {id(scale): scale for scale in of_columns if scale is not None}.values():
        here = np.array([other is scale_of_columns for other in of_columns]) & ~missing
        moved, spread = scale_of_columns.fit(table, rounding)
        offset, scale = np.where(here, moved, offset), np.where(here, spread, scale)
    shape = (-1, 1, 1) if image and len(offset) > 1 else (-1,)
    return Scaling(offset.reshape(shape), scale.reshape(shape))
