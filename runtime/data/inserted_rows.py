"""The rows of a table lined up with those that are inserted between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import check_table
from runtime.data.changed_cells import ChangedCells
from runtime.data.number_columns import NumberColumns
from runtime.data.rows import Rows

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(frozen=True, eq=False)
class InsertedRows:
    """A table with inserted rows: for each row the one of the table before, which is the next one where `is_new`."""

    rows: Rows
    source: Array
    is_new: Array


@dataclass(eq=False)
class NewRows:
    """The rows of a table with those that are inserted, as they are lined up."""

    column: str  # of the dates
    path: str
    columns: int  # how many there are
    source: list[int] = field(default_factory=list)
    is_new: list[bool] = field(default_factory=list)
    lines: dict[int, int] = field(default_factory=dict)  # of inserted rows by their index: that of the row before
    texts: dict[int, str] = field(default_factory=dict)  # their dates
    numbers: list[int] = field(default_factory=list)
    checked: int = 0  # rows that a table may have

    def add(self, index: int, number: int) -> None:
        """A row of the table."""
        self.source.append(index)
        self.is_new.append(False)
        self.numbers.append(number)

    def add_missing(self, index: int, texts: Sequence[str], before: int, line: int, number: int) -> None:
        """Rows that are missing before the row at this index, in a `line` after that of the row `before`.

        NablacError for a table that gets too large.
        """
        count = len(self.source) + len(texts)
        if count > self.checked:
            self._check_size(count, line)
            self.checked = 2 * count
        for step, text in enumerate(texts):
            at = len(self.source)
            self.lines[at], self.texts[at] = before, text
            self.source.append(index)
            self.is_new.append(True)
            self.numbers.append(number + step)

    def _check_size(self, count: int, line: int) -> None:
        try:
            check_table(count * self.columns, self.path)
        except NablacError as error:
            message = f"column `{self.column}`: with the rows that are missing, {error.diagnostics[0].message}"
            hint = "insert rows at a longer `step`, or use a part of the table"
            raise NablacError(Diagnostic(codes.E913, message, place=f"{self.path}:{line}", hint=hint)) from None

    def into(self, rows: Rows, copied: set[str]) -> InsertedRows:
        """The table with all of these; of the columns `copied` a new row has the cells of its series."""
        source, is_new = np.array(self.source, np.int64), np.array(self.is_new, bool)
        if not is_new.any() and len(source) == len(rows.lines) and (np.diff(source) == 1).all():
            return InsertedRows(replace(rows, numbers=self.numbers), source, is_new)
        if is_new.any():
            self._check_size(len(source), rows.lines[self.source[-1]])

        def cells_of(name: str, cells: Sequence[str]) -> list[str]:
            if name in copied:
                return [cells[row] for row in self.source]
            lined_up = enumerate(zip(self.source, self.is_new, strict=True))
            texts = self.texts if name == self.column else {}
            return [texts.get(at, "") if new else cells[row] for at, (row, new) in lined_up]

        inserted = replace(
            rows,
            cells=ChangedCells(rows.cells, cells_of),
            lines=[self.lines.get(at, rows.lines[index]) for at, index in enumerate(self.source)],
            numbers=self.numbers,
            stored=_numbers_with_new(rows.stored, source, is_new, copied, self.column),
            series=rows.series[source] if rows.series is not None else None,
        )
        return InsertedRows(inserted, source, is_new)


def _numbers_with_new(
    stored: NumberColumns, source: Array, is_new: Array, copied: set[str], column: str
) -> NumberColumns:
    """Columns of numbers with inserted rows, whose numbers are NaN; the dates are read as texts."""

    def read(names: Sequence[str]) -> Array:
        table = stored.table(names)[source]
        for number, name in enumerate(names):
            if name not in copied:
                table[is_new, number] = np.nan
        return table

    return NumberColumns([name for name in stored.names if name != column], read)
