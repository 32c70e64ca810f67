"""The order of rows in time, where a stage has read their dates: windows of rows that go back mean nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.csv_file import Report
from runtime.data.rows import Rows

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass
class DateOrder:
    """Compares the dates of rows with those before them in their series, also where a table is read in blocks.

    `several` says whether the rows are of several series, or of one among them; by default the rows say.
    """

    report: Report
    several: bool = False
    last: dict[tuple[str, int], tuple[datetime | None, str]] = field(default_factory=dict)  # by column and series

    def check(self, rows: Rows, kept: Array) -> None:
        """NablacError where the dates of a series go back; a note where they repeat, as those of several series do."""
        for request in rows.calendars:
            column, alone = request.column, rows.series is None and not self.several
            cells = rows.date_texts(column, None)
            moments = request.moments(cells)
            for row in kept.tolist():
                series = 0 if rows.series is None else int(rows.series[row])
                earlier, before = self.last.get((column, series), (None, ""))
                later = moments[row]
                self.last[column, series] = later, cells[row]
                if earlier is None or later is None or earlier < later:
                    continue
                place = f"{rows.path}:{rows.lines[row]}"
                if earlier == later:
                    said = "`by` tells several series apart" if alone else "a window takes them as two"
                    self.report.note(place, f"column `{column}` has the date of the row before: {said}")
                    continue
                message = f"column `{column}` goes back from `{before}` to `{cells[row]}`"
                hint = "sort the rows by date"
                if alone:
                    hint = 'sort the rows by date, or tell several series apart: `by("station")`'
                raise NablacError(Diagnostic(codes.E821, message, place=place, hint=hint))
