"""Rows that are missing from a table altogether, inserted by the dates of each series: `rows` of the stage `fill`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from compiler.time_steps import TimeStep, time_step_of
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.calendar_features import Calendar, formats_of, moment_of, not_a_date
from runtime.data.csv_file import Report
from runtime.data.date_order import check_offsets, goes_back
from runtime.data.date_steps import is_wrong_date
from runtime.data.dates import date_writer, days_in, months_later
from runtime.data.inserted_rows import InsertedRows, NewRows
from runtime.data.instants import at_local, elapsed, instant, is_of_days, later, local
from runtime.data.read_rows import spans_of
from runtime.data.rows import Rows

_MOST_LISTED = 4  # series in a note


@dataclass(frozen=True)
class RowsToInsert:
    """Rows are inserted by the dates in `column`, which are written in `format`, where a step is longer than `step`."""

    column: str
    format: str
    step: TimeStep

    @staticmethod
    def of(stages: Iterable[Any], formats: Mapping[str, str], steps: Mapping[str, str]) -> RowsToInsert | None:
        """What the stages of a recipe insert, with what it says of dates and steps; None where they insert nothing."""
        for stage in stages:
            column = str(stage.arguments.get("rows", "")) if stage.name == "fill" else ""
            step = time_step_of(steps[column]) if column else None
            if step is not None:
                return RowsToInsert(column, formats[column], step)
        return None


@dataclass(frozen=True)
class _Last:
    """The last row of a series so far."""

    text: str  # its date as it is written
    moment: datetime  # with its time zone, if the text has one
    line: int
    number: int
    count: int  # rows of the series so far, without inserted ones
    day: int  # the latest day of a month so far
    at_ends: bool  # whether all dates so far are the last days of their months


@dataclass(eq=False)
class Insertion:
    """Inserts rows into one table, also where it is read in blocks; `by` are the columns that tell series apart."""

    request: RowsToInsert
    report: Report
    by: tuple[str, ...] = ()
    last: dict[int, _Last] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)  # rows that were inserted into each series

    def insert(self, rows: Rows) -> InsertedRows:
        """More rows of a table, those of one series after the other, numbered within it without a gap.

        NablacError for dates that go back, are there twice or lie between two steps, and for a gap that is too long.
        """
        moments = self._moments(rows)
        dated = np.array([moment is not None for moment in moments], bool)
        series = np.zeros(len(moments), np.int64) if rows.series is None else rows.series
        order = np.flatnonzero(dated)
        order = order[np.argsort(series[order], kind="stable")]
        new = NewRows(self.request.column, rows.path, max(1, len(rows.cells)))
        for first, end in spans_of(series[order], len(order)):
            key = int(series[order[first]])
            self._insert_into(key, rows, moments, order[first:end].tolist(), new)
        return new.into(rows, {*self.by})

    def _moments(self, rows: Rows) -> list[datetime | None]:
        """The dates of rows, in the time zone of their column if it has one; None for a row without one."""
        column, zone = self.request.column, rows.zones.get(self.request.column)
        cells = rows.date_texts(column, None)
        moments = Calendar(column, (), self.request.format).moments(cells)
        for row, moment in enumerate(moments):
            if moment is None:
                what, hint = not_a_date(cells[row], self.request.format)
                self.report.report_broken(f"{rows.path}:{rows.lines[row]}", f"column `{column}`: {what}", hint)
        return [moment.astimezone(zone) if moment is not None and zone is not None else moment for moment in moments]

    def _insert_into(
        self,
        key: int,
        rows: Rows,
        moments: Sequence[datetime | None],
        indices: list[int],
        new: NewRows,
    ) -> None:
        """Insert the missing rows of one series, of which these are the indices of the next rows."""
        cells = rows.date_texts(self.request.column, None)
        dates = [moment for index in indices if (moment := moments[index]) is not None]
        last = self.last.get(key)
        count = (last.count if last else 0) + len(indices)
        day = max([last.day if last else 0, *(moment.day for moment in dates)])
        at_ends = (last is None or last.at_ends) and all(map(_is_end, dates))

        def row_at(index: int, moment: datetime, number: int) -> _Last:
            return _Last(cells[index], moment, rows.lines[index], number, count, day, at_ends)

        number = last.number if last else int(rows.numbers[indices[0]]) - 1
        usual = None if self.request.step.in_months else timedelta(microseconds=self.request.step.amount)
        earlier = last  # the row before, where the step from it may be another than the usual one
        previous: tuple[int, datetime] | None = None  # the row before in this block
        for index, moment in zip(indices, dates, strict=True):
            if previous is not None:
                is_usual = (moment.tzinfo is None) == (previous[1].tzinfo is None) and (
                    instant(moment) - instant(previous[1]) == usual
                )
                earlier = None if is_usual else row_at(*previous, number)
            if earlier is not None:
                after = row_at(index, moment, number + 1)
                missing = self._missing(earlier, after, rows)
                texts = self._texts_between(earlier, after, missing)
                new.add_missing(index, texts, earlier.line, after.line, number + 1)
                number += missing
                self.counts[key] = self.counts.get(key, 0) + missing
            number += 1
            new.add(index, number)
            previous = index, moment
        if previous is not None:
            self.last[key] = row_at(*previous, number)

    def _missing(self, before: _Last, after: _Last, rows: Rows) -> int:
        """How many rows are missing between two of a series."""
        column, step, location = self.request.column, self.request.step, f"{rows.path}:{after.line}"
        check_offsets(column, (before.text, before.moment), (after.text, after.moment), location)
        first, second = instant(before.moment), instant(after.moment)
        alone = rows.series is None and not self.by
        from_to = f"from `{before.text}` to `{after.text}`"
        if second < first:
            raise goes_back(column, before.text, after.text, location, alone)
        if second == first:
            message = f"column `{column}` has the date of the row before, `{before.text}`"
            message += f", here written `{after.text}`" if after.text != before.text else ""
            hint = "remove one of the two rows"
            hint += ', or tell several series apart: `by("station")`' if alone else ""
            raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))
        steps = _steps_between(before.moment, after.moment, step, 31 if after.at_ends else after.day)
        if steps is None:
            message = f"column `{column}`: {from_to} are not whole steps of {step}, at which `fill` inserts rows"
            hint = "correct the date, or leave out `rows`: then no row is inserted"
            raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))
        if is_wrong_date(steps - 1, after.count):
            message = f"column `{column}`: {from_to} {steps - 1:,} rows are missing at a step of {step}, "
            message += "more than the series has"
            hint = "correct the date; a gap longer than its series is not filled"
            raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))
        return steps - 1

    def _texts_between(self, before: _Last, after: _Last, count: int) -> list[str]:
        """The dates of so many rows after one, written as its own."""
        if not count:
            return []
        text = after.text.strip()
        formats = formats_of([text], self.request.format)
        format = next(each for each in formats if moment_of(text, [each]) is not None)
        write = date_writer(format, [before.text.strip(), text], [before.moment, after.moment])
        missing = [self._later(before, after, number) for number in range(1, count + 1)]
        return [write(moment) if write is not None else moment.strftime(format) for moment in missing]

    def _later(self, before: _Last, after: _Last, steps: int) -> datetime:
        """The date so many steps after one that is before another: in its own time zone, or with its UTC offset."""
        step, moment = self.request.step, before.moment
        if step.in_months:
            time = months_later(local(moment), steps * step.amount, 31 if after.at_ends else after.day)
            return at_local(time, moment.tzinfo, moment.utcoffset())
        one = timedelta(microseconds=step.amount)
        whole = elapsed(moment, after.moment, one)
        if is_of_days(one) and whole == local(after.moment) - local(moment):
            return at_local(local(moment) + steps * one, moment.tzinfo, moment.utcoffset())
        return later(moment, steps * one)


def note_insertions(request: RowsToInsert, counts: Mapping[str, int], path: str, report: Report) -> None:
    """Note how many rows were inserted into each series, by its name, which is empty for a single one."""
    inserted = {name: count for name, count in counts.items() if count}
    if not inserted:
        return
    total = sum(inserted.values())
    rows = "1 row that is" if total == 1 else f"{total:,} rows that are"
    message = f"{rows} missing by the dates in `{request.column}` {'is' if total == 1 else 'are'} inserted"
    message += f", at a step of {request.step}"
    listed = [f"{count:,} of `{name}`" for name, count in list(inserted.items())[:_MOST_LISTED] if name]
    if len(inserted) > _MOST_LISTED:
        listed.append(f"others of {len(inserted) - _MOST_LISTED:,} more series")
    report.note(path, message + (f" ({', '.join(listed)})" if listed else ""))


def _steps_between(before: datetime, after: datetime, step: TimeStep, day: int) -> int | None:
    """How many steps lead from one date to a later one; None where they are not whole. Months go on by one `day`."""
    if not step.in_months:
        one = timedelta(microseconds=step.amount)
        count, rest = divmod(elapsed(before, after, one), one)
        return count if count > 0 and not rest else None
    first, second = local(before), local(after)
    months = 12 * (second.year - first.year) + second.month - first.month
    count, off = divmod(months, step.amount)
    return count if count > 0 and not off and months_later(first, months, day) == second else None


def _is_end(moment: datetime) -> bool:
    return moment.day == days_in(moment.year, moment.month)
