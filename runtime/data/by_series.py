"""Several series in one table, told apart by the cells of some columns: the stage `by`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.csv_file import Report
from runtime.data.rows import Rows

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span

APART = 2  # how much the numbers of rows jump from one series to the next, so that no window spans both
Key = tuple[str, ...]


@dataclass
class SeriesSplit:
    """Tells the series of a table apart, some rows at a time, and counts the rows of each.

    A row that is left out of the table may be of any of the series: it is a gap in all of them.
    """

    columns: tuple[str, ...]
    counts: dict[Key, int] = field(default_factory=dict)
    rows: int = 0  # that have been seen and are of a series

    def parts(self, rows: Rows, report: Report, span: Span | None = None) -> Iterator[tuple[Key, Array, list[int]]]:
        """The rows of each series, in the order of their first ones: its key, their indices, and their numbers in it.

        A row without a key goes to `report`; NablacError for a column that is not there.
        """
        indices: dict[Key, list[int]] = {}
        numbers: dict[Key, list[int]] = {}
        cells = [rows.texts_of(name, span) for name in self.columns]
        for index, key in enumerate(zip(*cells, strict=True)):
            stripped = tuple(cell.strip() for cell in key)
            if not all(stripped):
                message = f"column `{self.columns[stripped.index('')]}`: the cell is empty"
                report.report_broken(f"{rows.path}:{rows.lines[index]}", message)
                continue
            count = self.counts.get(stripped, 0)
            self.counts[stripped] = count + 1
            indices.setdefault(stripped, []).append(index)
            numbers.setdefault(stripped, []).append(count + rows.numbers[index] - self.rows)
            self.rows += 1
        for key, chosen in indices.items():
            yield key, np.array(chosen), numbers[key]


def name_of(key: Key) -> str:
    """A series in messages."""
    return ", ".join(key)


def split_series(rows: Rows, columns: Sequence[str], report: Report, span: Span | None) -> Rows:
    """The rows of one series after the other, with numbers that jump between them; each keeps the order of the file."""
    order: list[Array] = []
    numbers: list[int] = []
    keys: list[str] = []
    for key, indices, within in SeriesSplit(tuple(columns)).parts(rows, report, span):
        begin = numbers[-1] + APART if numbers else 0
        numbers += [begin + number for number in within]
        order.append(indices)
        keys.append(name_of(key))
    if not order:
        raise NablacError(Diagnostic(codes.E823, f"{rows.path} has no rows", span))
    series = np.repeat(np.arange(len(order)), [len(indices) for indices in order])
    return replace(
        rows.take(np.concatenate(order)), numbers=numbers, series=series, keys=tuple(keys), by=tuple(columns)
    )
