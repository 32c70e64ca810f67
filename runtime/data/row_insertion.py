"""Rows that are missing from a table altogether, inserted by the dates of each series: `rows` of the stage `fill`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.time_steps import TimeStep, time_step_of
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import check_table
from runtime.data.calendar_features import formats_of
from runtime.data.csv_file import Report
from runtime.data.date_order import goes_back
from runtime.data.dates import date_writer, days_in, months_later
from runtime.data.number_columns import NumberColumns
from runtime.data.read_rows import spans_of
from runtime.data.rows import Rows

if TYPE_CHECKING:
    from compiler.types import Array

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


@dataclass(frozen=True, eq=False)
class InsertedRows:
    """A table with inserted rows: for each row the one of the table before, which is the next one where `is_new`."""

    rows: Rows
    source: Array
    is_new: Array


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
        new = _NewRows(self.request.column, rows.path, max(1, len(rows.cells)))
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
        new: _NewRows,
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


@dataclass(eq=False)
class _NewRows:
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
        dates = [self.texts.get(at, "") for at in range(len(source))]
        inserted = replace(
            rows,
            cells=_CellsWithNew(rows.cells, source.tolist(), is_new.tolist(), copied, self.column, dates),
            lines=[self.lines.get(at, rows.lines[index]) for at, index in enumerate(self.source)],
            numbers=self.numbers,
            stored=_numbers_with_new(rows.stored, source, is_new, copied, self.column),
            series=rows.series[source] if rows.series is not None else None,
        )
        return InsertedRows(inserted, source, is_new)


class _CellsWithNew(Mapping[str, Sequence[str]]):
    """The cells of a table with inserted rows, lined up when a column is asked for."""

    def __init__(
        self,
        cells: Mapping[str, Sequence[str]],
        source: list[int],
        is_new: list[bool],
        copied: set[str],
        column: str,
        dates: list[str],
    ) -> None:
        self.cells, self.source, self.is_new, self.copied = cells, source, is_new, copied
        self.column, self.dates = column, dates
        self.known: dict[str, list[str]] = {}

    def __getitem__(self, name: str) -> list[str]:
        if name not in self.known:
            self.known[name] = self._cells_of(name)
        return self.known[name]

    def _cells_of(self, name: str) -> list[str]:
        cells = self.cells[name]
        if not cells:
            return []
        if name in self.copied:
            return [cells[row] for row in self.source]
        rows = enumerate(zip(self.source, self.is_new, strict=True))
        if name == self.column:
            return [self.dates[at] if is_new else cells[row] for at, (row, is_new) in rows]
        return ["" if is_new else cells[row] for _, (row, is_new) in rows]

    def __contains__(self, name: object) -> bool:
        return name in self.cells

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


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
