"""Rows that are missing from a table altogether, inserted by the dates of each series: `rows` of the stage `fill`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from compiler.time_steps import TimeStep, time_step_of
from runtime.data.csv_file import Report
from runtime.data.dated_rows import DatedRow, DatedRows
from runtime.data.inserted_rows import InsertedRows, NewRows
from runtime.data.instants import instant
from runtime.data.missing_dates import Dates
from runtime.data.whole_series import WholeSeries

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


class _Last(NamedTuple):
    """The last row of a series so far, and its number in it."""

    row: DatedRow
    number: int


@dataclass(eq=False)
class Insertion:
    """Inserts rows into one table, also where it is read in blocks; `by` are the columns that tell series apart.

    `whole` says what is to be known of each whole series, where something depends on it.
    """

    request: RowsToInsert
    whole: Callable[[int], WholeSeries]
    by: tuple[str, ...] = ()
    last: dict[int, _Last] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)  # rows that were inserted into each series

    def insert(self, table: DatedRows) -> InsertedRows:
        """More rows of a table, those of one series after the other, numbered within it without a gap.

        NablacError for dates that go back, are there twice or lie between two steps, and for a gap that is too long.
        """
        rows = table.rows
        new = NewRows(self.request.column, rows.path, max(1, len(rows.cells)))
        for series, indices in table.spans():
            self._insert_into(series, table, indices, new)
        return new.into(rows, {*self.by})

    def _insert_into(self, series: int, table: DatedRows, indices: list[int], new: NewRows) -> None:
        """Line up the next rows of a series, which have these indices, with those that are missing between them."""
        last = self.last.get(series)
        number = last.number + 1 if last is not None else int(table.rows.numbers[indices[0]])
        before = last.row if last is not None else None
        for index, gap in zip(indices, self._gaps(series, before, table, indices), strict=True):
            if gap is not None:
                new.add_missing(index, gap.dates, gap.line, table.rows.lines[index], number)
                number += len(gap.dates)
                self.counts[series] += len(gap.dates)
            new.add(index, number)
            number += 1
        self.last[series] = _Last(table.at(indices[-1]), number - 1)

    def note(self, names: Sequence[str], path: str, report: Report) -> None:
        """Note how many rows were inserted into each series, by its name; one without others has an empty name."""
        counts = {name: self.counts[series] for series, name in enumerate(names)}
        note_insertions(self.request, counts, path, report)

    def _gaps(
        self, series: int, before: DatedRow | None, table: DatedRows, indices: list[int]
    ) -> Iterator[_Gap | None]:
        """What is missing before each of the next rows of a series, `before` which there may be one; None for nothing.

        A step as usual is passed over without a closer look.
        """
        request = self.request
        alone = table.rows.series is None and not self.by
        dates = Dates(request.column, request.format, request.step, table.rows.path, alone)
        is_usual = _usual_steps(table, indices, request.step)
        for position, index in enumerate(indices):
            if position:
                before = None if is_usual[position - 1] else table.at(indices[position - 1])
            if before is None:
                yield None
                continue
            missing = dates.between(before, table.at(index), lambda: self.whole(series))
            yield _Gap(before.line, missing) if missing else None


class _Gap(NamedTuple):
    """Rows that are missing after one in a line of the file."""

    line: int
    dates: list[str]


def _usual_steps(table: DatedRows, indices: list[int], step: TimeStep) -> list[bool]:
    """Whether the time from each of these rows to the next is one step; steps of months are not looked at."""
    if step.in_months:
        return [False] * (len(indices) - 1)
    dates, usual = table.dates(indices), timedelta(microseconds=step.amount)
    instants = list(map(instant, dates))
    has_offset = [date.tzinfo is not None for date in dates]
    return [
        instants[row + 1] - instants[row] == usual and has_offset[row] == has_offset[row + 1]
        for row in range(len(dates) - 1)
    ]


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
