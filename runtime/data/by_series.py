"""Several series in one table, told apart by the cells of some columns: the stage `by`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.csv_file import PLAIN, Format, Report
from runtime.data.numeric_classes import number_name
from runtime.data.rows import Rows

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span

APART = 2  # how much the numbers of rows jump from one series to the next, so that no window spans both
Key = tuple[str, ...]
_FLOAT = re.compile(r"[.,]0*$|[eE]\+")  # the end of a whole number with decimals, or a sign before its exponent


@dataclass
class SeriesSplit:
    """Tells the series of a table apart, some rows at a time, and counts the rows of each.

    A row that is left out of the table may be of any of the series: it is a gap in all of them.
    """

    columns: tuple[str, ...]
    counts: dict[Key, int] = field(default_factory=dict)
    rows: int = 0  # that have been seen and are of a series
    _names: dict[str, str] = field(default_factory=dict, init=False)  # by cell

    def parts(self, rows: Rows, report: Report, span: Span | None = None) -> Iterator[tuple[Key, Array, list[int]]]:
        """The rows of each series, in the order of their first ones: its key, their indices, and their numbers in it.

        A row without a key goes to `report`; NablacError for a column that is not there.
        """
        indices: dict[Key, list[int]] = {}
        numbers: dict[Key, list[int]] = {}
        cells = [rows.texts_of(name, span) for name in self.columns]
        for index, written in enumerate(zip(*cells, strict=True)):
            key = tuple(self._name(cell, rows.format) for cell in written)
            if not all(key):
                message = f"column `{self.columns[key.index('')]}`: the cell is empty"
                report.report_broken(f"{rows.path}:{rows.lines[index]}", message)
                continue
            count = self.counts.get(key, 0)
            self.counts[key] = count + 1
            indices.setdefault(key, []).append(index)
            numbers.setdefault(key, []).append(count + rows.numbers[index] - self.rows)
            self.rows += 1
        for key, chosen in indices.items():
            yield key, np.array(chosen), numbers[key]

    def _name(self, cell: str, format: Format) -> str:
        """The name of the series in a cell; empty for a cell without one."""
        if cell not in self._names:
            self._names[cell] = key_name(cell, format)
        return self._names[cell]


def key_name(cell: str, format: Format = PLAIN) -> str:
    """The name of the series in a cell, one however a program writes a whole number; empty for a cell without one.

    101 is 101.0 in a column of floats. Rows are told apart as they are read, before it is known whether all cells of
    their columns are numbers. So what only might be one stays a text: the versions 3.1 and 3.10, the hexadecimal 12e4.
    """
    text = cell.strip()
    if text == "nan":  # as NumPy writes a missing number
        return ""
    number = number_name(text, format) if _FLOAT.search(text) else None
    return text if number is None or not number.lstrip("-").isdigit() else number


@dataclass
class SeriesOfBlocks:
    """Numbers the series of a table that is read in blocks by the order of their first rows."""

    columns: tuple[str, ...]  # none where all rows are one series
    keys: dict[Key, int] = field(default_factory=dict)  # the number of each series
    last: dict[int, int] = field(default_factory=dict)  # the number of the last row so far in each series

    def __post_init__(self) -> None:
        self._split = SeriesSplit(self.columns)

    def of(self, block: Rows, report: Report, span: Span | None = None) -> tuple[Rows, Array]:
        """The rows of a block that are of some series, with their numbers in it, and their indices in the block."""
        if not self.columns:
            return block, np.arange(len(block.lines))
        series, numbers = np.full(len(block.lines), -1), np.zeros(len(block.lines), int)
        for key, chosen, within in self._split.parts(block, report, span):
            index = self.keys.setdefault(key, len(self.keys))
            series[chosen], numbers[chosen] = index, within
            self.last[index] = within[-1]
        kept = np.flatnonzero(series >= 0)
        return replace(block.take(kept), series=series[kept], numbers=numbers[kept].tolist()), kept


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
