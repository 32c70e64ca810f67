"""The rows of a table with their dates, series by series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np

from runtime.data.calendar_features import Calendar, not_a_date
from runtime.data.csv_file import Report
from runtime.data.read_rows import spans_of
from runtime.data.rows import Rows


class DatedRow(NamedTuple):
    """A row of a series, by its date."""

    text: str  # as it is written
    moment: datetime  # with its time zone, if the text has one
    line: int


@dataclass(frozen=True, eq=False)
class DatedRows:
    """Rows of a table with their dates, in the time zone of their column if it has one; None where a row has none."""

    rows: Rows
    cells: Sequence[str]
    moments: Sequence[datetime | None]

    def at(self, index: int) -> DatedRow:
        """A row that has a date."""
        moment = self.moments[index]
        assert moment is not None
        return DatedRow(self.cells[index], moment, self.rows.lines[index])

    def dates(self, indices: Sequence[int]) -> list[datetime]:
        """The dates of rows that have some."""
        return [self.at(index).moment for index in indices]

    def spans(self) -> Iterator[tuple[int, list[int]]]:
        """Each series, with the indices of its rows that have dates."""
        dated = np.array([moment is not None for moment in self.moments], bool)
        series = np.zeros(len(dated), np.int64) if self.rows.series is None else self.rows.series
        order = np.flatnonzero(dated)
        order = order[np.argsort(series[order], kind="stable")]
        for first, end in spans_of(series[order], len(order)):
            yield int(series[order[first]]), order[first:end].tolist()


def dated_rows(rows: Rows, column: str, format: str, report: Report) -> DatedRows:
    """Rows with their dates in a column, written in `format`; those without one are reported."""
    cells, zone = rows.date_texts(column, None), rows.zones.get(column)
    moments = Calendar(column, (), format).moments(cells)
    for row, moment in enumerate(moments):
        if moment is None:
            what, hint = not_a_date(cells[row], format)
            report.report_broken(f"{rows.path}:{rows.lines[row]}", f"column `{column}`: {what}", hint)
    if zone is not None:
        moments = [moment.astimezone(zone) if moment is not None else None for moment in moments]
    return DatedRows(rows, cells, moments)
