"""Tables on their way to examples: texts by column, read as numbers or as classes when a stage asks for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Protocol

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.source import Span
from runtime.data.calendar_features import Calendar, calendar_of, format_of, not_a_date
from runtime.data.categories import UNSEEN, Categories, categories_of
from runtime.data.changed_cells import ChangedCells
from runtime.data.csv_file import NO_OPTIONS, Format, Report
from runtime.data.csv_file import Table as CsvTable
from runtime.data.date_steps import MOST_DATES, dates_of
from runtime.data.filling import Fill, fill_of, flagged
from runtime.data.lags import EarlierRows, Lag, lag_of
from runtime.data.missing_cells import is_missing
from runtime.data.number_columns import NumberColumns
from runtime.data.numeric_classes import ClassNumbers, UnseenClasses, class_names
from runtime.data.read_rows import ReadRows, spans_of
from runtime.data.scaling import Scale
from runtime.data.stored_texts import CellsInMemory
from runtime.data.truth_values import truth_number

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.text_columns import TextColumns


_MOST_LISTED = 12
# What to do about a cell of an input that is none of the classes
_FILLS = (
    "with `-> fill(...)` in the data that a model is trained on, it takes missing cells; "
    "`--skip-broken` skips such rows, and reports how many"
)
_KEEPS = 'train with `categories(columns: "{}"{})`, which has an entry for {} ones; `--skip-broken` skips such rows'


@dataclass(frozen=True, eq=False)
class Table:
    """Columns as numbers [rows, columns], without broken rows; a column of texts holds indices into `classes`."""

    numbers: Array
    kept: Array
    classes: dict[str, tuple[str, ...]]

    def take(self, chosen: Array) -> Table:
        """Some of the rows, by their indices or flags."""
        return Table(self.numbers[chosen], self.kept[chosen], self.classes)


class Order(Protocol):
    """Looks at the order of rows in time."""

    def check(self, rows: Rows, kept: Array) -> None:
        """Look at the next rows of a table, of those at the indices `kept`, in their order in each series."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A table: texts by column, and for each row its line in the file and its number among all rows.

    Skipped rows are missing from the numbers. `refused` are columns of neither numbers nor texts, with what they hold;
    `stored` are columns that the file has as numbers, in f64, with NaN for what is missing.
    """

    path: str
    cells: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    numbers: Sequence[int]
    scales: tuple[Scale, ...] = ()
    format: Format = NO_OPTIONS
    refused: Mapping[str, str] = field(default_factory=dict)
    stored: NumberColumns = field(default_factory=NumberColumns)
    named: bool = True  # whether the file has names of its columns, which are else 0, 1 and so on
    series: Array | None = None  # the series of each row, where `by` tells several apart: their rows follow each other
    keys: tuple[str, ...] = ()  # of the series
    by: tuple[str, ...] = ()  # the columns that tell series apart
    calendars: tuple[Calendar, ...] = ()  # of columns that dates add
    fills: tuple[Fill, ...] = ()  # of missing cells, which are NaN in what is read
    lags: tuple[Lag, ...] = ()  # of columns that earlier rows add
    earlier: EarlierRows | None = None  # where the table is read in blocks
    texts: tuple[TextColumns, ...] = ()  # of columns that become tokens
    categories: tuple[Categories, ...] = ()  # of columns with an entry for unseen classes
    zones: Mapping[str, tzinfo] = field(default_factory=dict)  # of columns of dates that have one
    unseen: UnseenClasses | None = None  # counts the rows that such an entry stands for

    @staticmethod
    def of(table: CsvTable, path: str, format: Format, report: Report) -> Rows:
        """The named columns of a CSV file."""
        named: dict[str, list[str]] = {}
        for number, (name, column) in enumerate(zip(table.names, table.cells, strict=True), 1):
            if name:
                named[name] = column
            elif any(cell.strip() for cell in column):
                report.note(path, f"column {number} has no name and is skipped")
        return Rows(path, named, table.lines, table.numbers, format=format, named=table.named)

    def take(self, index: Array) -> Rows:
        """The rows at these indices, in their order, without what tells series apart."""
        chosen = index.tolist()
        return replace(
            self,
            cells=ChangedCells(self.cells, lambda name, cells: [cells[row] for row in chosen]),
            lines=[self.lines[row] for row in chosen],
            numbers=[self.numbers[row] for row in chosen],
            stored=self.stored.take(index),
            series=None,
            keys=(),
        )

    def lacks(self, name: str, row: int) -> bool:
        """Whether a cell of a column of the table has no number; what cannot be read is for its reader to report."""
        if name in self.refused:
            return False
        return bool(np.isnan(self.stored[name][row])) if name in self.stored else is_missing(self.cells[name][row])

    def first_to_predict(self, names: Sequence[str], first: int, end: int) -> int:
        """Where those rows at the end of the rows from `first` to `end` begin that lack all `names`."""
        if not names:
            return end
        for row in range(end - 1, first - 1, -1):
            if not all(self.lacks(name, row) for name in names):
                return row + 1
        return first

    def without_rows_to_predict(self, names: Sequence[str]) -> tuple[Rows, int]:
        """The table without the rows at the end of each series that lack all `names`, and how many they are."""
        spans = spans_of(self.series, len(self.lines))
        firsts = [self.first_to_predict(names, first, end) for first, end in spans]
        count = sum(end - row for row, (_, end) in zip(firsts, spans, strict=True))
        if not count:
            return self, 0
        kept = np.concatenate([np.arange(first, row) for row, (first, _) in zip(firsts, spans, strict=True)])
        series = self.series[kept] if self.series is not None else None
        return replace(self.take(kept), series=series, keys=self.keys), count

    def texts_of(self, name: str, span: Span | None) -> Sequence[str]:
        """The cells of a column as texts; NablacError where there is no such column."""
        self._check_column(name, span)
        return self.cells[name]

    def require(self, names: Iterable[str], span: Span | None) -> None:
        """NablacError for a column of these names that the file does not have, or has as neither numbers nor texts."""
        for name in names:
            self._check_column(name, span)

    def _check_column(self, name: str, span: Span | None, others: Collection[str] = ()) -> None:
        """NablacError for a column that is not there, or of neither numbers nor texts; `others` are read as well."""
        if name not in self.cells:
            near = (
                did_you_mean(name, self.cells.keys() - set(others))
                or self.format.hint_of_header(list(self.cells))
                or f"the columns are {_list(list(self.cells))}"
            )
            message = f"{self.path} has no column `{name}`"
            place = self.path if span is None else None
            raise NablacError(Diagnostic(codes.E822, message, span, place=place, hint=near))
        if name in self.refused:
            message = f"column `{name}`: expected numbers or texts, got {self.refused[name]}"
            raise NablacError(Diagnostic(codes.E821, message, place=self.path))

    def sources_of(self, name: str) -> list[str]:
        """The columns of the file that a column is made of."""
        calendar, lag = self._calendar(name), self._lag(name)
        return [calendar.column if calendar else lag[0] if lag else self._flagged(name) or name]

    def check_columns(self, names: list[str], span: Span | None) -> None:
        """NablacError for a column that is not there, or of neither numbers nor texts."""
        for name in names:
            if self._calendar(name) is None:
                self._check_column(self.sources_of(name)[0], span, names)

    def date_format(self, column: str, span: Span | None) -> str:
        """How the dates of a column are written; NablacError for what are no dates, or may be read in two ways."""
        return format_of(self.date_texts(column, span), column, self.path, span)

    def moments_by_series(self, column: str, format: str) -> dict[str, Array]:
        """The first dates of each series, by its name, of the dtype DATES."""
        cells, request = self.date_texts(column, None), Calendar(column, (), format)
        spans = [(first, min(end, first + MOST_DATES)) for first, end in spans_of(self.series, len(self.lines))]
        names = [self.keys[self.series[first]] if self.series is not None else "" for first, _ in spans]
        dates = (request.moments(cells[first:end]) for first, end in spans)
        return {name: dates_of(here) for name, here in zip(names, dates, strict=True)}

    def read(
        self,
        names: list[str],
        report: Report,
        span: Span | None,
        classes: Mapping[str, tuple[str, ...]] | None = None,
        order: Order | None = None,
        inputs: Collection[str] = (),
        texts: Collection[str] = (),
    ) -> ReadRows:
        """Columns as `read_columns` reads them, the rows of each series, and the cells of columns of `texts`.

        `order` looks at the dates of the rows.
        """
        read = self.read_columns(names, report, span, classes, inputs=inputs)
        kept = read.kept
        if order is not None:
            order.check(self, kept)
        lines, numbers = _taken(self.lines, kept), _taken(self.numbers, kept)
        series = self.series[kept] if self.series is not None else None
        cells = {name: CellsInMemory(self.texts_of(name, span), kept) for name in texts}
        return ReadRows(read.numbers, lines, numbers, read.classes, series, self.keys, kept, cells)

    def read_columns(
        self,
        names: list[str],
        report: Report,
        span: Span | None,
        classes: Mapping[str, tuple[str, ...]] | None = None,
        *,
        closed: bool = False,
        inputs: Collection[str] = (),
    ) -> Table:
        """Read columns as numbers; rows with a broken cell are an error, or skipped.

        If `classes` is not None, a column without any number is one of class names, and is read as their indices:
        `classes` are those that are known already, none of a column of numbers. With `closed` no other column has any.
        A row of which a lag has no number is left out, with a note. Of `inputs` the error for an unknown class says
        what keeps its rows.
        """
        self.check_columns(names, span)
        texts = {name: classes[name] for name in names if classes.get(name)} if classes is not None else {}
        if classes is not None and not closed:
            texts = self._classes([name for name in names if name in self.cells], classes)
        table, whole = self._stored_columns(names, texts)
        earlier = EarlierRows() if self.earlier is None else self.earlier
        kept = np.ones(len(self.lines), bool)
        for column, name in enumerate(names):
            if column in whole:
                continue
            of_dates, lag = self._calendar(name), self._lag(name)
            if of_dates is not None:
                table[:, column] = self._of_dates(of_dates, name, kept, report)
                continue
            if lag is not None:
                table[:, column] = self._lagged(*lag, earlier, kept, report)
                continue
            of_flags = self._flagged(name)
            source = of_flags or name
            known = texts.get(source, ())
            has_gaps = not known and fill_of(self.fills, source) is not None
            numbers = None if known else self._whole_column(source, has_gaps)
            if numbers is None:
                numbers = self._cell_by_cell(source, known, has_gaps, kept, report, source in inputs)
            table[:, column] = np.isnan(numbers) if of_flags is not None else numbers
        self._leave_out(table, names, kept, report)
        return Table(table if kept.all() else table[kept], np.flatnonzero(kept), texts)

    def _stored_columns(self, names: list[str], texts: Mapping[str, tuple[str, ...]]) -> tuple[Array, set[int]]:
        """An array [rows, names] with the columns that the file has as numbers, and which of them are not broken."""
        stored = [column for column, name in enumerate(names) if name in self.stored and not texts.get(name)]
        if not stored:
            return np.empty((len(self.lines), len(names)), order="F"), set()
        table = self.stored.table([names[column] for column in stored])
        is_finite = np.isfinite(table)
        # Looking at each column takes longer, and there is seldom a reason to.
        finite = np.full(len(stored), True) if is_finite.all() else np.asarray(is_finite.all(axis=0))
        whole = {
            column
            for at, column in enumerate(stored)
            if finite[at] or (fill_of(self.fills, names[column]) is not None and not np.isinf(table[:, at]).any())
        }
        if len(stored) == len(names):
            return table, whole
        wider = np.empty((len(table), len(names)), order="F")
        wider[:, stored] = table
        return wider, whole

    def _flagged(self, name: str) -> str | None:
        """The column of the table whose missing cells a column of flags tells; None for any other column."""
        return flagged(self.fills, name) if name not in self.cells else None

    def _lag(self, name: str) -> tuple[str, int] | None:
        """The column of whose earlier rows a column is, and how many rows before; None for any other column."""
        return lag_of(self.lags, name) if name not in self.cells else None

    def _lagged(self, source: str, step: int, earlier: EarlierRows, kept: Array, report: Report) -> Array:
        """A column some rows before, with NaN where it is not there; a row with a broken cell is no longer `kept`."""
        numbers = self._whole_column(source, True)
        if numbers is None:
            numbers = self._cell_by_cell(source, (), True, kept, report)
        series = [0] * len(self.lines) if self.series is None else self.series.tolist()
        return earlier.lagged(source, step, list(zip(series, self.numbers, strict=True)), numbers)

    def _leave_out(self, table: Array, names: list[str], kept: Array, report: Report) -> None:
        """Leave out the rows of which a lag has no number."""
        for column, name in enumerate(names):
            lag = self._lag(name)
            if lag is None:
                continue
            source, step = lag
            before = "in the row before" if step == 1 else f"{step} rows before"
            for row in np.flatnonzero(np.isnan(table[:, column]) & kept).tolist():
                kept[row] = False
                report.note(f"{self.path}:{self.lines[row]}", f"the row is left out, as `{source}` {before} is missing")

    def _calendar(self, name: str) -> Calendar | None:
        """The request that adds a column of features of dates; None for any other column."""
        return calendar_of(self.calendars, name) if name not in self.cells else None

    def _of_dates(self, request: Calendar, name: str, kept: Array, report: Report) -> Array:
        """A column of features of dates; a row without a date is no longer `kept`."""
        cells = self.date_texts(request.column, None)
        numbers = request.numbers(name, cells)
        for row in np.flatnonzero(np.isnan(numbers) & kept).tolist():
            kept[row] = False
            what, hint = not_a_date(cells[row], request.format)
            report.report_broken(f"{self.path}:{self.lines[row]}", f"column `{request.column}`: {what}", hint)
        return numbers

    def date_texts(self, name: str, span: Span | None) -> Sequence[str]:
        """The cells of a column of dates as texts; NablacError where there is no such column."""
        if name not in self.refused or not self.cells[name]:
            self._check_column(name, span)
        return self.cells[name]

    def _cell_by_cell(
        self,
        name: str,
        known: Sequence[str],
        has_gaps: bool,
        kept: Array,
        report: Report,
        is_input: bool = False,
    ) -> Array:
        """A column as numbers, with NaN for what is missing; a row with a broken cell is no longer `kept`."""
        request = categories_of(self.categories, name)
        classes = ClassNumbers(known, self.format, request is not None and request.allows_empty) if known else None
        number_of = classes.number if classes is not None else self._number
        unseen = self.unseen if classes is not None else None
        numbers = np.full(len(self.lines), np.nan)
        for row, cell in enumerate(self.cells[name]):
            number = number_of(cell)
            if number is not None:
                numbers[row] = number
                if unseen is not None and classes is not None and (new := classes.unseen(cell)):
                    unseen.add(name, new, f"{self.path}:{self.lines[row]}")
            elif kept[row] and not (has_gaps and is_missing(cell)):
                kept[row] = False
                what = f"none of the classes {_list(known)}" if known else "not a number"
                is_empty = classes.is_empty(cell) if classes is not None else not cell.strip()
                shown = "the cell is empty" if is_empty else f"`{_shorten(cell)}` is {what}"
                hint = self._hint_of_class(name, is_empty, known, is_input) if known else self._hint_of_number(cell)
                report.report_broken(f"{self.path}:{self.lines[row]}", f"column `{name}`: {shown}", hint)
        return numbers

    def _number(self, cell: str) -> float | None:
        """The number in a cell, of which true and false are 1 and 0; None for anything else."""
        number = self.format.number(cell)
        return truth_number(cell) if number is None else number

    def _hint_of_number(self, cell: str) -> str | None:
        """What to do about a cell that is no number."""
        return _FILLS if is_missing(cell) else self.format.hint(cell)

    def _hint_of_class(self, name: str, is_empty: bool, known: Sequence[str], is_input: bool) -> str | None:
        """What keeps the rows of a cell of no class; None for a target."""
        if not is_empty:
            return _KEEPS.format(name, "", "unseen") if is_input else None
        return _KEEPS.format(name, ", empty: true", "empty") if UNSEEN in known else None

    def _whole_column(self, name: str, has_gaps: bool) -> Array | None:
        """A column as numbers; None where it has to be looked at cell by cell, as one of them may be broken."""
        if name not in self.stored:
            return self.format.numbers(self.cells[name])
        numbers = self.stored[name]
        is_broken = np.isinf(numbers) if has_gaps else ~np.isfinite(numbers)
        return None if is_broken.any() else numbers

    def _classes(self, names: list[str], known: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The classes of columns of texts: the known ones, or all texts of the column, sorted."""
        classes = {name: known[name] for name in names if known.get(name)}
        for name in names:
            texts = self.class_texts(name) if name not in known else None
            if texts:
                classes[name] = self.listed_classes(name, texts)
        return classes

    def listed_classes(self, name: str, texts: Collection[str]) -> tuple[str, ...]:
        """The classes of a column with these texts, in order: first that of unseen ones, where it is asked for."""
        names = class_names(texts, self.format)
        return names if categories_of(self.categories, name) is None else (UNSEEN, *names)

    def class_texts(self, name: str) -> set[str] | None:
        """The texts in a column of classes; None where one of them is a number, unless it is asked for."""
        is_asked = categories_of(self.categories, name) is not None
        if name in self.stored and not is_asked:
            return None
        texts = {cell.strip() for cell in self.cells[name]} - {""}
        return texts if is_asked or not any(self.format.is_numeric(text) for text in texts) else None


def _taken(numbers: Sequence[int], rows: Array) -> Array:
    """The numbers of some rows."""
    return rows + numbers.start if isinstance(numbers, range) else np.array(numbers)[rows]


def _shorten(cell: str) -> str:
    return cell if len(cell) <= 40 else f"{cell[:40]}.."


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(_shorten, names[:_MOST_LISTED])) + (", .." if len(names) > _MOST_LISTED else "")
