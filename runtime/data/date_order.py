"""The order of rows in time, where a stage has read their dates: windows of rows that go back mean nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.csv_file import Report
from runtime.data.date_steps import dates_of
from runtime.data.instants import instant
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
    _seen: list[tuple[Array, Array]] = field(default_factory=list)  # the series and the dates of rows, some at a time

    @property
    def moments(self) -> Array | None:
        """The dates of all rows, of the dtype DATES, one series after the other; None where no stage reads dates.

        Of several columns of dates they are those of the first.
        """
        if not self._seen:
            return None
        series, moments = (np.concatenate(parts) for parts in zip(*self._seen, strict=True))
        return np.asarray(moments[np.argsort(series, kind="stable")])

    def take(self) -> Array | None:
        """The dates of the rows that were looked at last, which are then forgotten; None where no stage reads dates."""
        return self._seen.pop()[1] if self._seen else None

    def check(self, rows: Rows, kept: Array) -> None:
        """NablacError where the dates of a series go back; a note where they repeat, as those of several series do."""
        for number, request in enumerate(rows.calendars):
            column, alone = request.column, rows.series is None and not self.several
            cells = rows.date_texts(column, None)
            moments = request.moments(cells)
            if not number:
                series = np.zeros(len(kept), np.int64) if rows.series is None else rows.series[kept]
                self._seen.append((series, dates_of(moments)[kept]))
            for row in kept.tolist():
                key = column, 0 if rows.series is None else int(rows.series[row])
                earlier, before = self.last.get(key, (None, ""))
                later = moments[row]
                self.last[key] = later, cells[row]
                if earlier is None or later is None:
                    continue
                location = f"{rows.path}:{rows.lines[row]}"
                check_offsets(column, (before, earlier), (cells[row], later), location)
                if instant(earlier) < instant(later):
                    continue
                if instant(earlier) == instant(later):
                    said = "`by` tells several series apart" if alone else "a window takes them as two"
                    self.report.note(location, f"column `{column}` has the date of the row before: {said}")
                    continue
                raise goes_back(column, before, cells[row], location, alone)


def check_offsets(column: str, before: tuple[str, datetime], after: tuple[str, datetime], location: str) -> None:
    """NablacError where only one of two dates, each with its text, has a UTC offset: nothing says which is earlier."""
    (earlier, has), (later, later_has) = ((text, moment.tzinfo is not None) for text, moment in (before, after))
    if has != later_has:
        with_one, without = (later, earlier) if later_has else (earlier, later)
        message = f"column `{column}`: `{with_one}` has a UTC offset, and `{without}` has none"
        hint = "write all dates of the column with an offset, or all without"
        raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))


def goes_back(column: str, before: str, after: str, location: str, alone: bool) -> NablacError:
    """The error for a date that is earlier than that of the row before; `alone` where all rows are one series."""
    hint = "correct the date, if one of the two is wrong, or sort the rows by date"
    if alone:
        hint = "correct the date, if one of the two is wrong, sort the rows by date, or tell several series apart: "
        hint += '`by("station")`'
    message = f"column `{column}` goes back from `{before}` to `{after}`"
    return NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))
