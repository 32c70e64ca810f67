"""The tokens of a text, one after the other: in memory while they are few, else in a scratch file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from runtime.data.file_rows import FileRows, Scratch, most_in_memory

if TYPE_CHECKING:
    from compiler.types import Array

_AT_ONCE = 1 << 20  # tokens that are read together
_SPARSE = 4  # pieces that are further apart than this times their length are read one by one


class TokenRow:
    """A row of tokens of one dtype, which is written once, from the beginning, and then read in pieces.

    `path` is that of the text, for messages. Reading is safe from several threads.
    """

    def __init__(self, dtype: np.dtype[np.generic], path: str) -> None:
        self.dtype, self.path = dtype, path
        self._count = 0
        self._parts: list[Array] = []
        self._most = most_in_memory() // 4
        self._scratch: Scratch | None = None
        self._rows: Array | FileRows | None = None

    def __len__(self) -> int:
        return self._count

    def append(self, tokens: Array) -> None:
        """Write more tokens, which the dtype holds. NablacError (E913) on a full disk."""
        tokens = np.asarray(tokens, self.dtype)
        self._count += len(tokens)
        self._rows = None
        if self._scratch is None and self._count * self.dtype.itemsize > self._most:
            self._scratch = Scratch((), self.dtype, self.path)
            for part in self._parts:
                self._scratch.add(part)
            self._parts = []
        if self._scratch is not None:
            self._scratch.add(tokens)
        else:
            self._parts.append(tokens)

    def read(self, first: int, count: int) -> Array:
        """Consecutive tokens."""
        rows = self._all()
        return rows[first : first + count]

    def blocks(self, count: int) -> Iterator[Array]:
        """The first tokens, some at a time."""
        for start in range(0, count, _AT_ONCE):
            yield self.read(start, min(_AT_ONCE, count - start))

    def gather(self, starts: Array, width: int) -> Array:
        """Pieces [of these starts, width]."""
        if not len(starts):
            return np.zeros((0, width), self.dtype)
        first, end = int(starts.min()), int(starts.max()) + width
        rows = self._all()
        if isinstance(rows, FileRows) and end - first > _SPARSE * width * len(starts):
            return rows.spans(starts, width)
        pieces: Array = self.read(first, end - first)[(starts - first)[:, None] + np.arange(width)]
        return pieces

    def _all(self) -> Array | FileRows:
        if self._rows is None:
            if self._scratch is not None:
                self._rows = self._scratch.rows()
            else:
                self._parts = [np.concatenate([np.zeros(0, self.dtype), *self._parts])]
                self._rows = self._parts[0]
        return self._rows
