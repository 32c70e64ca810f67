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

_AT_ONCE = 1 << 24  # bytes of rows that a pass over all of them holds


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

    def __getitem__(self, rows: Array | slice) -> Array:
        """Some rows; a slice is read as its indices."""
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


def blocks(array: Array | StoredRows, rows: Array | None = None) -> Iterator[tuple[Array, Array]]:
    """All rows of an array, or these, some at a time: their indices, and what they hold."""
    chosen = np.arange(len(array)) if rows is None else rows
    step = max(1, _AT_ONCE // max(1, prod(array.shape[1:]) * array.dtype.itemsize))
    for start in range(0, len(chosen), step):
        at = chosen[start : start + step]
        yield at, array[at]
