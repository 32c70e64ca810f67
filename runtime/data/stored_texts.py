"""The cells of columns of texts by row: in memory, or in a scratch file for tables that are larger than it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from runtime.data.file_rows import FileRows, Scratch

if TYPE_CHECKING:
    from compiler.types import Array

_AT_ONCE = 1 << 12  # texts that a pass over all of them holds


class TextCells(ABC):
    """The texts of a column, of which those of some rows are read."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, rows: Array) -> list[str]:
        """The texts of these rows."""

    @abstractmethod
    def take(self, rows: Array) -> TextCells:
        """These rows alone, in this order."""

    def blocks(self, rows: Array) -> Iterator[tuple[Array, list[str]]]:
        """The texts of these rows, some at a time, with the rows."""
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            yield part, self.read(part)


@dataclass(frozen=True, eq=False)
class CellsInMemory(TextCells):
    """The texts of a table in memory, in the rows `kept` of it."""

    cells: Sequence[str]
    kept: Array

    def __len__(self) -> int:
        return len(self.kept)

    def read(self, rows: Array) -> list[str]:
        """The texts of these rows."""
        return [self.cells[row] for row in self.kept[rows].tolist()]

    def take(self, rows: Array) -> CellsInMemory:
        """These rows alone, in this order."""
        return CellsInMemory(self.cells, self.kept[rows])


@dataclass(frozen=True, eq=False)
class CellsOnDisk(TextCells):
    """Texts that follow each other in a scratch file of bytes, each from one of the `starts` to one of the `ends`."""

    content: FileRows
    starts: Array
    ends: Array

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, rows: Array) -> list[str]:
        """The texts of these rows: neighbours are read together."""
        starts, ends = self.starts[rows], self.ends[rows]
        cuts = [0, *(np.flatnonzero(starts[1:] != ends[:-1]) + 1).tolist(), len(rows)]
        texts: list[str] = []
        for first, end in pairwise(cuts):
            if first == end:
                continue
            begin = int(starts[first])
            content = self.content.spans(starts[first : first + 1], int(ends[end - 1]) - begin)[0].tobytes()
            bounds = zip(starts[first:end].tolist(), ends[first:end].tolist(), strict=True)
            texts += [content[left - begin : right - begin].decode("utf-8", "surrogatepass") for left, right in bounds]
        return texts

    def take(self, rows: Array) -> CellsOnDisk:
        """These rows alone, in this order."""
        return CellsOnDisk(self.content, self.starts[rows], self.ends[rows])


class ScratchTexts:
    """Writes the texts of a column to a scratch file, one after the other."""

    def __init__(self, path: str) -> None:
        self.content = Scratch((), np.dtype(np.uint8), path)
        self.lengths: list[Array] = []

    def add(self, texts: Sequence[str]) -> None:
        """Write more texts. NablacError (E913) on a full disk."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self.lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self.content.add(np.frombuffer(b"".join(encoded), np.uint8))

    def cells(self) -> CellsOnDisk:
        """All texts that were written."""
        ends = np.cumsum(np.concatenate([np.zeros(0, np.int64), *self.lengths]))
        return CellsOnDisk(self.content.rows(), np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)], ends)
