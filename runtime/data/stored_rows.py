"""Rows that stay in their files until a batch asks for them, for data that is larger than memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array

_AT_ONCE = 1 << 22  # bytes of rows that a pass over all of them holds


class StoredRows(ABC):
    """What `Examples` needs of an array, axis 0 of which counts the examples: rows by index, always the same.

    Reading is safe from several threads. NablacError for a file that is gone, has changed or is broken.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @abstractmethod
    def read(self, rows: Array) -> Array:
        """Rows [of these indices, *shape[1:]], in this order."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Array | slice | int) -> Array:
        """Some rows, or one; a slice is read as its indices."""
        if isinstance(rows, (int, np.integer)):
            row: Array = self.read(np.array([rows]))[0]
            return row
        return self.read(np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows))

    @property
    def ndim(self) -> int:
        """The number of axes, that of the examples among them."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, of which there are next to none."""
        return 0

    def changed(self, change: Callable[[Array], Array], shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Changed:
        """The rows after `change`, which makes rows of examples of `shape` and `dtype` of some rows."""
        return Changed(self, change, (len(self), *shape), dtype)

    def picked(self, rows: Array) -> Picked:
        """These rows alone, in this order."""
        return Picked(self, rows, (len(rows), *self.shape[1:]), self.dtype)


@dataclass(frozen=True, eq=False)
class Changed(StoredRows):
    """Rows that are changed as they are read, as by a scaling or another type."""

    rows: StoredRows
    change: Callable[[Array], Array]
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def read(self, rows: Array) -> Array:
        """The rows after their change."""
        return self.change(self.rows.read(rows))


@dataclass(frozen=True, eq=False)
class Picked(StoredRows):
    """Some of the rows, in an order of their own."""

    rows: StoredRows
    indices: Array
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def read(self, rows: Array) -> Array:
        """The rows at these indices."""
        return self.rows.read(self.indices[rows])


@dataclass(frozen=True, eq=False)
class Joined(StoredRows):
    """The rows of one array, and after them those of another, whose examples have the same shape."""

    first: Array | StoredRows
    second: Array | StoredRows
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def read(self, rows: Array) -> Array:
        """Rows of either."""
        whole = np.empty((len(rows), *self.shape[1:]), self.dtype)
        is_first = rows < len(self.first)
        whole[is_first] = self.first[rows[is_first]]
        whole[~is_first] = self.second[rows[~is_first] - len(self.first)]
        return whole


@dataclass(frozen=True, eq=False)
class Beside(StoredRows):
    """The columns of one table, and beside them those of another with as many rows."""

    left: Array | StoredRows
    right: Array | StoredRows
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def read(self, rows: Array) -> Array:
        """Rows of both."""
        return np.concatenate([self.left[rows], self.right[rows]], axis=1)


def change_rows(array: Array | StoredRows, change: Callable[[Array], Array]) -> Array | StoredRows:
    """An array after `change`, which takes any number of rows, none too, and changes each by itself."""
    if not isinstance(array, StoredRows):
        return change(array)
    none = change(np.zeros((0, *array.shape[1:]), array.dtype))
    return array.changed(change, none.shape[1:], none.dtype)


def pick_rows(array: Array | StoredRows, rows: Array) -> Array | StoredRows:
    """Some rows of an array, which stay where they are stored."""
    return array.picked(rows) if isinstance(array, StoredRows) else array[rows]


def join_rows(first: Array | StoredRows, second: Array | StoredRows) -> Array | StoredRows:
    """The rows of both, one after the other."""
    if not isinstance(first, StoredRows) and not isinstance(second, StoredRows):
        return np.concatenate([first, second])
    shape = (len(first) + len(second), *first.shape[1:])
    return Joined(first, second, shape, np.result_type(first.dtype, second.dtype))


def join_columns(left: Array | StoredRows, right: Array | StoredRows) -> Array | StoredRows:
    """The columns of both tables, beside each other."""
    if not isinstance(left, StoredRows) and not isinstance(right, StoredRows):
        return np.concatenate([left, right], axis=1)
    shape = (len(left), left.shape[1] + right.shape[1])
    return Beside(left, right, shape, np.result_type(left.dtype, right.dtype))


def blocks(array: Array | StoredRows, rows: Array | None = None) -> Iterator[tuple[Array, Array]]:
    """All rows of an array, or these, some at a time: their indices, and what they hold.

    An array in memory is one block.
    """
    if not isinstance(array, StoredRows):
        yield (np.arange(len(array)), array) if rows is None else (rows, array[rows])
        return
    for at in row_blocks(array, rows):
        yield at, array.read(at)


def row_blocks(array: Array | StoredRows, rows: Array | None = None) -> Iterator[Array]:
    """The indices of all rows of an array, or of these, as many at a time as memory should hold."""
    count = len(array) if rows is None else len(rows)
    step = max(1, _AT_ONCE // max(1, prod(array.shape[1:]) * max(8, array.dtype.itemsize)))
    for start in range(0, count, step):
        yield np.arange(start, min(start + step, count)) if rows is None else rows[start : start + step]
