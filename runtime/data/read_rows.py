"""What stages read of a table: the numbers of some columns, row by row, and where its series begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from runtime.data.stored_rows import StoredRows, pick_rows
from runtime.data.stored_texts import TextCells

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(frozen=True, eq=False)
class ReadRows:
    """Columns as numbers [rows, columns], without broken rows; the rows of a series follow each other.

    For each row its line in the file, and its number among all rows, which jumps where rows are missing. A column of
    texts holds indices into `classes`, and `texts` are the cells of columns that become tokens. `kept` are the indices
    of the rows in the table, where that is in memory.
    """

    table: Array | StoredRows
    lines: Array | StoredRows
    numbers: Array | None  # where their order was looked at
    classes: Mapping[str, tuple[str, ...]]
    series: Array | None = None  # of each row, where there are several
    names: tuple[str, ...] = ()  # of all series
    kept: Array | None = None
    texts: Mapping[str, TextCells] = field(default_factory=dict)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where the rows of each series begin and end; a series without any has none."""
        return spans_of(self.series, len(self.table))

    @property
    def keys(self) -> tuple[str, ...]:
        """The name of the series of each span; none where there is one series."""
        return () if self.series is None else tuple(self.names[self.series[first]] for first, _ in self.spans)

    def take(self, chosen: Array) -> ReadRows:
        """Some of the rows, by their indices."""
        numbers, series, kept = (
            column[chosen] if column is not None else None for column in (self.numbers, self.series, self.kept)
        )
        table, lines = pick_rows(self.table, chosen), pick_rows(self.lines, chosen)
        texts = {name: cells.take(chosen) for name, cells in self.texts.items()}
        return ReadRows(table, lines, numbers, self.classes, series, self.names, kept, texts)


def spans_of(series: Array | None, count: int) -> list[tuple[int, int]]:
    """Where the rows of each series begin and end, of `count` rows; a series without any has none."""
    if series is None:
        return [(0, count)]
    ends = [0, *(np.flatnonzero(np.diff(series)) + 1).tolist(), count]
    return [(begin, end) for begin, end in pairwise(ends) if end > begin]
