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
from runtime.data.calendar_features import formats_of
from runtime.data.csv_file import Report
from runtime.data.date_order import goes_back
from runtime.data.dates import date_writer, days_in, months_later
from runtime.data.inserted_rows import InsertedRows, NewRows
from runtime.data.read_rows import spans_of
from runtime.data.rows import Rows

_LONG_GAP = 1000  # rows: a gap of more is a wrong date, where it is longer than the series itself
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
        moments, formats = self._moments(rows)
        dated = np.array([moment is not None for moment in moments], bool)
        series = np.zeros(len(moments), np.int64) if rows.series is None else rows.series
        order = np.flatnonzero(dated)
        order = order[np.argsort(series[order], kind="stable")]
        new = NewRows(self.request.column, rows.path, max(1, len(rows.cells)))
        for first, end in spans_of(series[order], len(order)):
            key = int(series[order[first]])
            self._insert_into(key, rows, moments, order[first:end].tolist(), formats, new)
        return new.into(rows, {*self.by})

    def _moments(self, rows: Rows) -> tuple[list[datetime | None], list[str]]:
        """The dates of rows, None for a row without one, which is broken; and the ways in which they are written."""
        column = self.request.column
        cells = rows.date_texts(column, None)
        formats = formats_of(cells, self.request.format)
        known = {cell: _moment(cell.strip(), formats) for cell in dict.fromkeys(cells)}
        for row, cell in enumerate(cells):
            if known[cell] is None:
                what = f"`{cell[:40]}` is not a date as the others are" if cell.strip() else "the cell is empty"
                self.report.report_broken(f"{rows.path}:{rows.lines[row]}", f"column `{column}`: {what}")
        return [known[cell] for cell in cells], formats

    def _insert_into(
        self,
        key: int,
        rows: Rows,
        moments: Sequence[datetime | None],
        indices: list[int],
        formats: Sequence[str],
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
                is_usual = moment.replace(tzinfo=None) - previous[1].replace(tzinfo=None) == usual
                earlier = None if is_usual else row_at(*previous, number)
            if earlier is not None:
                after = row_at(index, moment, number + 1)
                missing = self._missing(earlier, after, rows)
                texts = self._texts_between(earlier, after, missing, formats)
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
        column, step, place = self.request.column, self.request.step, f"{rows.path}:{after.line}"
        first, second = (row.moment.replace(tzinfo=None) for row in (before, after))
        alone = rows.series is None and not self.by
        from_to = f"from `{before.text}` to `{after.text}`"
        if second < first:
            raise goes_back(column, before.text, after.text, place, alone)
        if second == first:
            message = f"column `{column}` has the date of the row before, `{after.text}`"
            hint = "remove one of the two rows"
            hint += ', or tell several series apart: `by("station")`' if alone else ""
            raise NablacError(Diagnostic(codes.E821, message, place=place, hint=hint))
        steps = _steps_between(first, second, step, 31 if after.at_ends else after.day)
        if steps is None:
            message = f"column `{column}`: {from_to} are not whole steps of {step}, at which `fill` inserts rows"
            hint = "correct the date, or leave out `rows`: then no row is inserted"
            raise NablacError(Diagnostic(codes.E821, message, place=place, hint=hint))
        if steps - 1 > max(_LONG_GAP, after.count):
            message = f"column `{column}`: {from_to} {steps - 1:,} rows are missing at a step of {step}, "
            message += "more than the series has"
            hint = "correct the date; a gap longer than its series is not filled"
            raise NablacError(Diagnostic(codes.E821, message, place=place, hint=hint))
        return steps - 1

    def _texts_between(self, before: _Last, after: _Last, count: int, formats: Sequence[str]) -> list[str]:
        """The dates of so many rows after one, written as its own."""
        if not count:
            return []
        format = next(each for each in formats if _moment(after.text.strip(), [each]) is not None)
        texts, moments = [before.text.strip(), after.text.strip()], [before.moment, after.moment]
        write = date_writer(format, texts, moments)
        day = 31 if after.at_ends else after.day
        later = [self._later(before.moment, number, day) for number in range(1, count + 1)]
        return [write(moment) if write is not None else moment.strftime(format) for moment in later]

    def _later(self, moment: datetime, steps: int, day: int) -> datetime:
        step = self.request.step
        if step.in_months:
            return months_later(moment, steps * step.amount, day)
        return moment + timedelta(microseconds=steps * step.amount)


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


def _steps_between(first: datetime, second: datetime, step: TimeStep, day: int) -> int | None:
    """How many steps lead from one date to a later one; None where they are not whole. Months go on by one `day`."""
    if not step.in_months:
        count, rest = divmod((second - first) // timedelta(microseconds=1), step.amount)
        return count if not rest else None
    months = 12 * (second.year - first.year) + second.month - first.month
    count, rest = divmod(months, step.amount)
    return count if count and not rest and months_later(first, months, day) == second else None


def _is_end(moment: datetime) -> bool:
    return moment.day == days_in(moment.year, moment.month)


def _moment(text: str, formats: Sequence[str]) -> datetime | None:
    for format in formats:
        try:
            return datetime.strptime(text, format)
        except ValueError:
            continue
    return None
