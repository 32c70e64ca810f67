"""When the rows of a series are: the dates that stand beside them, another column that counts on, or their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from runtime.charts.times import seconds_of
from runtime.data.dates import moments

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Series

_MOST_LOOKED_AT = 12  # columns
_LONGEST = 40  # characters of a date


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """`at: [rows]` is where each row of a series lies on an axis, in seconds since 1970 where they are `times`."""

    name: str
    at: Array
    rows: Array
    label_at: Callable[[int], str]  # of the row at an index
    times: bool = False

    @staticmethod
    def of(series: Series) -> TimeAxis:
        """By the first column beside the numbers that goes forward; several series lie one after the other."""
        if series.keys:
            return _of_several(series)
        for name, cells in list(series.beside.items())[:_MOST_LOOKED_AT]:
            if not cells or len(cells[0]) > _LONGEST:
                continue
            numbers = _counting(cells)
            if numbers is not None:
                return TimeAxis(name, np.array(numbers), series.rows, cells.__getitem__)
            times = moments(cells)
            if times is not None:
                seconds = np.array([seconds_of(time) for time in times])
                return TimeAxis(name, seconds, series.rows, cells.__getitem__, times=True)
        return TimeAxis("row", series.rows + 1.0, series.rows, lambda index: f"row {int(series.rows[index]) + 1:,}")

    def positions(self, rows: Array) -> list[float]:
        """Where rows of these numbers lie."""
        index = np.clip(np.searchsorted(self.rows, rows), 0, len(self.rows) - 1)
        placed: list[float] = self.at[index].tolist()
        return placed

    def label(self, row: int) -> str:
        """What a row is called."""
        index = min(int(np.searchsorted(self.rows, row)), len(self.rows) - 1)
        return self.label_at(index).strip()


def _of_several(series: Series) -> TimeAxis:
    """By the numbers of rows, which are called by their series and their date, where each series has dates."""
    ends = np.searchsorted(series.rows, [*series.borders, series.rows[-1] + 1]).tolist() if len(series.rows) else []
    spans = list(pairwise([0, *ends]))
    firsts = np.array([first for first, _ in spans], int)
    dates: list[str] = []
    for cells in list(series.beside.values())[:_MOST_LOOKED_AT]:
        if cells and len(cells[0]) <= _LONGEST and all(moments(cells[first:end]) is not None for first, end in spans):
            dates = cells
            break

    def label(index: int) -> str:
        number = int(np.searchsorted(firsts, index, side="right")) - 1
        row = int(series.rows[index] - series.rows[firsts[number]]) + 1
        return f"{series.keys[number]}: {dates[index].strip() if dates else f'row {row:,}'}"

    return TimeAxis("row", series.rows + 1.0, series.rows, label)


def _counting(cells: list[str]) -> list[float] | None:
    """Cells as numbers that go forward, such as years; dates of eight digits are none."""
    if all(len(cell.strip()) == 8 for cell in cells):
        return None
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if all(first < second for first, second in pairwise(numbers)) else None
