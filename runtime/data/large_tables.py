"""Tables that are larger than memory is to hold: read in blocks, their numbers written to scratch files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.by_series import APART, Key, SeriesOfBlocks, SeriesSplit, name_of
from runtime.data.calendar_features import Calendar, format_of
from runtime.data.categories import categories_of
from runtime.data.csv_file import Report
from runtime.data.date_steps import MOST_DATES, dates_of
from runtime.data.dated_rows import DatedRows, dated_rows
from runtime.data.file_rows import Scratch
from runtime.data.lags import EarlierRows
from runtime.data.read_rows import ReadRows
from runtime.data.row_insertion import Insertion, RowsToInsert
from runtime.data.rows import Order, Rows
from runtime.data.silent_report import Silent
from runtime.data.source_files import FileState, changed_file, file_state
from runtime.data.stored_texts import ScratchTexts
from runtime.data.whole_series import WholeTable

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span

MOST_CLASSES = 1 << 20  # of a column
Blocks = Callable[[Sequence[str], Report], Iterator[Rows]]  # rows of a table, some at a time, with these or all columns


@dataclass(frozen=True, eq=False)
class LargeRows(Rows):
    """A table of which only the first rows are in memory, as samples; what a stage asks for is read from the file."""

    blocks: Blocks = field(default=lambda names, report: iter(()))
    insertion: RowsToInsert | None = None  # of rows that are missing
    state: FileState | None = None  # of the file, when it was first looked at
    ends: Mapping[Key, int] | None = None  # the line of each series after which its rows are to be predicted

    def split_by(self, columns: tuple[str, ...], report: Report, span: Span | None) -> Rows:
        """The same table, with several series."""
        self.require(columns, span)
        return replace(self, by=columns)

    def date_format(self, column: str, span: Span | None) -> str:
        """How the dates of a column are written: as many rows are read as it takes to tell."""
        texts: dict[str, None] = {}
        enough = 1
        for block in self._read([column], Silent()):
            texts |= dict.fromkeys(cell.strip() for cell in block.date_texts(column, span))
            if len(texts) < enough:
                continue
            try:
                return format_of(list(texts), column, self.path, span)
            except NablacError:
                enough = 2 * len(texts)
        return format_of(list(texts), column, self.path, span)

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
        """Columns as numbers, in a scratch file, and those of `texts` in others."""
        self.check_columns([*names, *texts], span)
        sources = [*self._sources(names, order is not None), *texts]
        known = None if classes is None else self._classes_in_file(names, classes)
        split, earlier = SeriesOfBlocks(self.by), EarlierRows()
        writer = _Writer(self, names, texts, split, numbered=order is not None)
        reach = max((step for lag in self.lags for _, step in lag.sources.values()), default=0)
        once = _Once(report)
        insertion = self._insertion()
        for block in self._read(sources, once):
            rows, _ = split.of(block, once, span)
            writer.seen += len(rows.lines)
            rows = self._before_ends(rows, list(split.keys))
            if insertion is not None:
                dates = insertion.request
                rows = insertion.insert(dated_rows(rows, dates.column, dates.format, once)).rows
            requests = {name: getattr(self, name) for name in ("calendars", "fills", "lags", "categories", "unseen")}
            rows = replace(rows, **requests, earlier=earlier)
            read = rows.read_columns(names, once, span, known, closed=True, inputs=inputs)
            if order is not None:
                order.check(rows, read.kept)
            earlier.forget(reach)
            writer.add(rows, read.numbers, read.kept)
        if not writer.seen:
            raise NablacError(Diagnostic(codes.E823, f"{self.path} has no rows", span))
        if insertion is not None:
            split.last |= {series: last.number for series, last in insertion.last.items()}
            insertion.note([name_of(key) for key in split.keys] or [""], self.path, report)
        return writer.written(known or {})

    def _insertion(self) -> Insertion | None:
        """What inserts the rows that are missing; None where nothing does."""
        request = self.insertion
        if request is None:
            return None

        def parts() -> Iterator[DatedRows]:
            split = SeriesOfBlocks(self.by)
            for block in self._read([request.column, *self.by], Silent()):
                rows, _ = split.of(block, Silent())
                yield dated_rows(rows, request.column, request.format, Silent())

        return Insertion(request, WholeTable(request.step, parts).of, self.by)

    def moments_by_series(self, column: str, format: str) -> dict[str, Array]:
        """The first dates of each series, by its name."""
        moments: dict[str, list[datetime | None]] = {}
        split = SeriesSplit(self.by)
        request = Calendar(column, (), format)
        for block in self._read([column, *self.by], Silent()):
            texts = block.date_texts(column, None)
            series = split.parts(block, Silent()) if self.by else [((), np.arange(len(texts)), [])]
            for key, chosen, _ in series:
                known = moments.setdefault(name_of(key), [])
                known += request.moments([texts[row] for row in chosen[: MOST_DATES - len(known)].tolist()])
        return {name: dates_of(dates) for name, dates in moments.items()}

    def without_rows_to_predict(self, names: Sequence[str]) -> tuple[Rows, int]:
        """The same table, of which no row after the last one with any of `names` in its series is read."""
        ends, later, split = dict[Key, int](), Counter[Key](), SeriesSplit(self.by)
        for block in self._read([*names, *self.by], Silent()) if names else ():
            series = split.parts(block, Silent()) if self.by else [((), np.arange(len(block.lines)), [])]
            for key, chosen, _ in series:
                rows = block.take(chosen)
                first = rows.first_to_predict(names, 0, len(chosen))
                ends[key] = rows.lines[first - 1] if first else ends.get(key, 0)
                later[key] = len(chosen) - first + (0 if first else later[key])
        return (replace(self, ends=ends), later.total()) if later.total() else (self, 0)

    def _before_ends(self, rows: Rows, keys: Sequence[Key]) -> Rows:
        """The rows that are not to be predicted; `keys` are those of the series."""
        if self.ends is None:
            return rows
        ends = np.array([self.ends[key] for key in keys] if self.by else [self.ends[()]])
        kept = np.flatnonzero(np.array(rows.lines) <= ends[rows.series if rows.series is not None else 0])
        return replace(rows.take(kept), series=rows.series[kept] if rows.series is not None else None)

    def _sources(self, names: Sequence[str], dated: bool) -> list[str]:
        """The columns of the file that columns are made of, and those of series and dates."""
        dates = [request.column for request in self.calendars if dated or set(names) & set(request.names)]
        dates += [self.insertion.column] if self.insertion is not None else []
        made = [source for name in names for source in self.sources_of(name)]
        return list(dict.fromkeys([*made, *dates, *self.by]))

    def _classes_in_file(
        self, names: Sequence[str], known: Mapping[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        """The classes of columns of texts: the known ones, or all texts of a column, sorted."""
        classes = {name: known[name] for name in names if known.get(name)}
        waiting = {name: set[str]() for name in names if name in self.cells and name not in known}
        for block in self._read(list(waiting), Silent()) if waiting else ():
            rows = replace(block, categories=self.categories)
            for name in list(waiting):
                texts = rows.class_texts(name)
                if texts is None:
                    del waiting[name]
                    continue
                waiting[name] |= texts
                self._check_classes(name, len(waiting[name]))
            if not waiting:
                break
        return classes | {name: self.listed_classes(name, texts) for name, texts in waiting.items() if texts}

    def _check_classes(self, name: str, count: int) -> None:
        """NablacError for more classes than memory is to hold."""
        if count > MOST_CLASSES:
            message = f"column `{name}` has more than {MOST_CLASSES:,} classes, and all of them are kept in memory"
            request = categories_of(self.categories, name)
            hint = "leave it out of the inputs if each row has its own; `tokens` reads a column of texts"
            span = request.span if request is not None else None
            place = self.path if span is None else None
            raise NablacError(Diagnostic(codes.E913, message, span, place=place, hint=hint))

    def _read(self, names: Sequence[str], report: Report) -> Iterator[Rows]:
        """The rows of these columns; NablacError where the file is no longer what it was."""
        yield from self.blocks(names, report)
        now = file_state(Path(self.path))
        if self.state is not None and now is not None and now != self.state:
            raise changed_file(self.path, self.state, now)


def large_rows(path: str, blocks: Blocks) -> LargeRows | None:
    """The table in a file that is read in blocks; None where it has no rows."""
    state = file_state(Path(path))
    first = next((block for block in blocks([], Silent()) if block.lines), None)
    if first is None:
        return None
    facts = {name: getattr(first, name) for name in ("cells", "format", "refused", "stored", "named")}
    return LargeRows(path, lines=first.lines, numbers=first.numbers, **facts, blocks=blocks, state=state)


class _Writer:
    """Writes the numbers and lines of the rows of a table to scratch files."""

    def __init__(
        self, table: LargeRows, names: Sequence[str], texts: Collection[str], split: SeriesOfBlocks, numbered: bool
    ) -> None:
        self.split, self.numbered = split, numbered
        self.numbers = Scratch((len(names),), np.dtype(np.float64), table.path)
        self.lines = Scratch((), np.dtype(np.int64), table.path)
        self.texts = {name: ScratchTexts(table.path) for name in texts}
        self.rows: list[Array] = []  # the numbers of the rows
        self.series: list[Array] = []
        self.seen = 0  # rows of the file that are of some series

    def add(self, rows: Rows, numbers: Array, kept: Array) -> None:
        """Write the rows at the indices `kept`, whose numbers are known."""
        self.numbers.add(numbers)
        self.lines.add(np.array(rows.lines, np.int64)[kept])
        for name, scratch in self.texts.items():
            cells = rows.cells[name]
            scratch.add([cells[row] for row in kept.tolist()])
        if self.numbered:
            self.rows.append(np.array(rows.numbers, np.int64)[kept])
        if rows.series is not None:
            self.series.append(rows.series[kept].astype(np.int32))

    def written(self, classes: Mapping[str, tuple[str, ...]]) -> ReadRows:
        """All rows, those of one series after the other."""
        table, lines = self.numbers.rows(), self.lines.rows()
        numbers = np.concatenate(self.rows) if self.numbered else None
        self.rows.clear()
        texts = {name: scratch.cells() for name, scratch in self.texts.items()}
        if not self.split.columns:
            return ReadRows(table, lines, numbers, classes, texts=texts)
        series = np.concatenate(self.series)
        begins = np.cumsum([0, *(self.split.last[index] + APART for index in range(len(self.split.keys)))])
        order = np.argsort(series, kind="stable")
        series = series[order]
        numbers = numbers[order] + begins[series] if numbers is not None else None
        names = tuple(map(name_of, self.split.keys))
        taken = {name: cells.take(order) for name, cells in texts.items()}
        return ReadRows(table.picked(order), lines.picked(order), numbers, classes, series, names, texts=taken)


class _Once:
    """Passes reports on, each note about the whole file once."""

    def __init__(self, report: Report) -> None:
        self.report, self.noted = report, set[tuple[str, str]]()

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        """A row that cannot be used."""
        self.report.report_broken(location, message, hint)

    def note(self, location: str, message: str) -> None:
        """Something that is not in the numbers."""
        if (location, message) not in self.noted:
            self.noted.add((location, message))
            self.report.note(location, message)
