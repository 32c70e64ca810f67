"""Scaling: what a stage requests, and the fit to the training part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np

from grammar.source import Span
from runtime.data.stored_rows import StoredRows, blocks

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

    def fit(self, table: Table | Present, rounding: float) -> tuple[Array, Array]:
        """Offset and scale of each column of a table; a constant column is only shifted.

        Differences of no more than `rounding` times the largest number of a column count as 0.
        """
        extremes, first = Extremes.of_blocks(table.blocks()), table.first
        # Rounding keeps the order of numbers, so these are the extremes of the rounded differences.
        least, most = (differences(numbers, first) for numbers in (extremes.least, extremes.most))
        largest, offset = extremes.largest, first.astype(np.float64)
        if self.kind == "standardize":
            unit = np.maximum(most, -least)
            unit[unit == 0] = 1  # numbers are divided by it, so that squares neither overflow nor underflow
            mean = sum((moved / unit).sum(axis=0) for moved in table.from_first()) / len(table)
            squares = sum(((moved / unit - mean) ** 2).sum(axis=0) for moved in table.from_first())
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
        moved = raw - self.offset
        moved /= self.scale  # in the same memory, as examples may be many
        return np.asarray(moved)

    def reshape(self, before: tuple[int, ...], after: tuple[int, ...]) -> Scaling:
        """The same scaling for examples that were reshaped from `before` to `after`."""
        if before == after or self.offset.size == 1:
            return self
        offset, scale = (np.broadcast_to(numbers, before).reshape(after) for numbers in (self.offset, self.scale))
        return Scaling(offset, scale)

    def imprecise_index(self, raw: Extremes, dtype: DType) -> tuple[int, ...] | None:
        """The index in an example at which raw numbers lose too much precision in `dtype`, or overflow, or None.

        The rounding error, half of `eps` times the largest number, has to be small compared with the scale.
        """
        largest = raw.largest
        varies = differences(raw.most, raw.least) > 2 * _rounding(raw.most) * largest
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
            return np.asarray((left.astype(np.int64) - right.astype(np.int64)).astype(np.float64, order="F"))
    floats = left.astype(np.float64, copy=False), right.astype(np.float64, copy=False)
    return np.asarray(np.subtract(*floats, order="F"))  # columns are added up one by one


@dataclass(frozen=True, eq=False)
class Table:
    """The numbers that a scaling is fitted to, as [rows, columns]; the columns are the channels of images.

    It is read some rows at a time, always the same ones: sums do not depend on whether it is in memory.
    """

    array: Array | StoredRows
    rows: Array | None  # of the array; None for all

    @property
    def is_image(self) -> bool:
        """Whether the array is of images [examples, channels, height, width]."""
        return self.array.ndim == 4

    @property
    def columns(self) -> int:
        """The number of columns."""
        return 1 if self.array.ndim == 1 else self.array.shape[1 if self.is_image else -1]

    def __len__(self) -> int:
        examples = len(self.array) if self.rows is None else len(self.rows)
        return examples * prod(self.array.shape[1:]) // max(1, self.columns)

    @property
    def first(self) -> Array:
        """The first row."""
        examples = self.array[:1] if self.rows is None else self.array[self.rows[:1]]
        row: Array = self._rows_of(examples)[0]
        return row

    def from_first(self) -> Iterator[Array]:
        """Blocks of differences from the first row, which are exact for numbers near each other."""
        return _from_first(self.blocks())

    def _rows_of(self, examples: Array) -> Array:
        table = np.moveaxis(examples, 1, -1) if self.is_image else examples
        rows: Array = table.reshape(-1, self.columns)
        return rows

    def blocks(self) -> Iterator[Array]:
        """Some rows at a time."""
        step = max(1, _AT_ONCE // max(1, self.columns))
        rest = np.zeros((0, self.columns), self.array.dtype)
        for _, examples in blocks(self.array, self.rows):
            table = self._rows_of(examples)
            if len(rest):
                table = np.concatenate([rest, table])
            whole = len(table) - len(table) % step
            for start in range(0, whole, step):
                yield table[start : start + step]
            rest = table[whole:]
        if len(rest):
            yield rest


@dataclass(frozen=True, eq=False)
class Present:
    """The numbers of one column of a table that are not missing, as [rows, 1]."""

    table: Table
    column: int

    @property
    def columns(self) -> int:
        """The number of columns."""
        return 1

    @cached_property
    def _count(self) -> int:
        return sum(map(len, self.blocks()))

    def __len__(self) -> int:
        return self._count

    @property
    def first(self) -> Array:
        """The first row."""
        row: Array = next(self.blocks())[0]
        return row

    def blocks(self) -> Iterator[Array]:
        """Some rows at a time, of which there are some."""
        for rows in self.table.blocks():
            numbers = rows[:, self.column]
            present = numbers[~np.isnan(numbers)]
            if len(present):
                yield present[:, None]

    def from_first(self) -> Iterator[Array]:
        """As of a table."""
        return _from_first(self.blocks())


def _from_first(blocks_of_rows: Iterator[Array]) -> Iterator[Array]:
    first = None
    for rows in blocks_of_rows:
        first = rows[:1] if first is None else first
        yield differences(rows, first)


def _fit_present(present: Present, scale: Scale, rounding: float) -> tuple[Array, Array]:
    """The fit to the numbers that are there; a column without any stays as it is."""
    return scale.fit(present, rounding) if len(present) else (np.zeros(1), np.ones(1))


@dataclass(frozen=True, eq=False)
class Extremes:
    """The largest and the least number of some examples at each index in an example."""

    most: Array
    least: Array

    @staticmethod
    def of(array: Array | StoredRows, rows: Array) -> Extremes:
        """Those of these rows of an array, of which there is at least one."""
        return Extremes.of_blocks(block for _, block in blocks(*_part_of(array, rows)))

    @staticmethod
    def of_blocks(examples: Iterable[Array]) -> Extremes:
        """Those of blocks of examples, of which there is at least one."""
        most, least = zip(*((block.max(axis=0), block.min(axis=0)) for block in examples), strict=True)
        return Extremes(np.max(most, axis=0), np.min(least, axis=0))

    @property
    def largest(self) -> Array:
        """The largest absolute number at each index, in f64."""
        return np.maximum(np.abs(self.most.astype(np.float64)), np.abs(self.least.astype(np.float64)))


def _part_of(array: Array | StoredRows, rows: Array | None) -> tuple[Array | StoredRows, Array | None]:
    """An array and its rows in a part; of an array in memory only these, and None: all of what is left.

    The rows of a part are in order, each once, so that as many as the array has are all of it, and nothing is copied.
    """
    if rows is None or isinstance(array, StoredRows):
        return array, rows
    return array if len(rows) == len(array) else array[rows], None


def _rounding(array: Array | StoredRows) -> float:
    """The relative difference up to which floats of an array count as equal; 0 for integers."""
    return float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0


def select_scale(scales: Sequence[Scale], names: set[str], unasked: bool) -> Scale | None:
    """The last scale that names a column or its array; one without columns applies if `unasked`."""
    fitting = (scale for scale in reversed(scales) if (names & set(scale.columns) if scale.columns else unasked))
    return next(fitting, None)


def fit_scaling(
    examples: Array | StoredRows, scales: Sequence[Scale | None], rows: Array | None = None
) -> Scaling | None:
    """Fit a scaling to these `rows` of examples, for each column of the last axis or each channel of images.

    `scales` are those of the columns, or one for all. None if there is no scale.
    """
    table = Table(*_part_of(examples, rows))
    rounding = _rounding(examples)
    of_columns = scales if len(scales) == table.columns else list(scales[:1]) * table.columns
    if not any(of_columns):
        return None
    offset, scale = np.zeros(table.columns), np.ones(table.columns)
    for scale_of_columns in {id(scale): scale for scale in of_columns if scale is not None}.values():
        here = np.array([other is scale_of_columns for other in of_columns])
        moved, spread = scale_of_columns.fit(table, rounding)
        for index in np.flatnonzero(here & np.isnan(moved)).tolist():  # some of its numbers are missing
            (moved[index],), (spread[index],) = _fit_present(Present(table, index), scale_of_columns, rounding)
        offset, scale = np.where(here, moved, offset), np.where(here, spread, scale)
    shape = (-1, 1, 1) if table.is_image and len(offset) > 1 else (-1,)
    return Scaling(offset.reshape(shape), scale.reshape(shape))
