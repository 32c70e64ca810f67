"""A user's table as `nablac init` reads it: its dialect, and what its columns hold."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from nablac.commands.table_dialect import dialect_of, with_groups
from nablac.commands.table_series import LEAST_ROWS
from runtime.data.calendar_features import moment_of
from runtime.data.csv_file import NO_OPTIONS, Format, read_blocks
from runtime.data.dates import are_dates, readings
from runtime.data.missing_cells import is_missing
from runtime.data.numeric_classes import class_names
from runtime.data.source_files import content_of
from runtime.data.table_blocks import TableKind, kind_of_table, table_blocks
from runtime.data.text_lines import decoded_lines

_SAMPLE = 2_000  # rows whose cells are tried as dates
_MOST_MISFITS = 20  # one cell in so many may be no number, before the column is one of texts
_LONGEST_DATE = 40  # characters
_DATED = re.compile(r"\d\D+\d|^\d{8}\D\d|\d{4}\D+$")  # as in 3 May 2024, 20240503T1200
_MOST_ROWS = 200_000  # whose dates are
_MOST_CLASSES = 20  # of a column that is taken for classes
_MOST_WRITINGS = 4  # of the number of a class, such as 1, 1.0 and 1.00
_IDENTIFIER = re.compile(r"(?i:^(unnamed: 0|index)?$|(^|[\W_])id$)|[a-z]I[Dd]$")  # names of columns


@dataclass(frozen=True)
class Column:
    """A column of a table: whether its cells are numbers, or number the rows, and its distinct values.

    A number or a truth value that is written in several ways is one value, as far as there are few.
    """

    name: str
    is_numeric: bool
    numbers_rows: bool
    has_gaps: bool
    values: frozenset[str]
    has_sentences: bool = False  # whether most cells hold several words
    misfit: str = ""  # a cell that is no number, where nearly all others are
    looks_dated: bool = False  # whether its cells might be dates, though none that can be read

    @property
    def is_classes(self) -> bool:
        """Whether a prediction of it is the choice of a class: of texts, or of the numbers 0, 1, ..."""
        few = 2 <= len(self.values) <= _MOST_CLASSES
        return few and (not self.is_numeric or self.values == {str(number) for number in range(len(self.values))})

    @property
    def is_usable(self) -> bool:
        """Whether a model can read or predict it: numbers, whose gaps are filled, or classes without gaps."""
        return self.is_numeric or (self.is_classes and not self.has_gaps)


@dataclass(frozen=True)
class UserTable:
    """A table, its dialect, its columns, and the cells of its first rows by column."""

    path: Path
    format: Format
    columns: tuple[Column, ...]
    cells: Mapping[str, list[str]]
    lines: Sequence[int]  # of the rows in the file
    nameless: tuple[int, ...] = ()  # columns that have no name, from 1: training skips them
    kind: TableKind = "csv"
    unread: tuple[str, ...] = ()  # columns of lists and objects

    @property
    def source(self) -> str:
        """The source of the data that reads it, with the arguments that say its dialect."""
        name = "json" if self.kind == "lines" else self.kind
        return f"{name}({quoted(self.path.name)}{self._options if name == 'csv' else ''})"

    @property
    def _options(self) -> str:
        options = f", separator: {quoted(self.format.separator)}" if self.format.separator != "," else ""
        options += ', decimal: ","' if self.format.decimal == "," else ""
        options += f", thousands: {quoted(self.format.thousands)}" if self.format.thousands else ""
        if self.format.header is not None:
            options += f", header: {'true' if self.format.header else 'false'}"
        return options + (f", encoding: {quoted(self.format.encoding)}" if self.format.encoding else "")


def spec_path(table: Path) -> Path:
    """The file of the spec of a table: `houses.model` of `houses.csv` and of `houses.csv.gz`."""
    return (table.with_suffix("") if table.suffix.lower() == ".gz" else table).with_suffix(".model")


class _Strict:
    """Refuses broken rows, as training does."""

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))

    def note(self, location: str, message: str) -> None:
        """What is changed on reading, which training says too."""


def read_user_table(path: Path, given: Format) -> UserTable:
    """The first rows of a table; of a CSV file in a dialect that its cells show beside what is `given`.

    NablacError for one that training would refuse, or without rows.
    """
    kind = kind_of_table(str(path))
    if kind != "csv":
        if given.header is not None or given.encoding:
            message = f"`--header` and `--encoding` are those of a CSV file, and {path} is none"
            raise NablacError(Diagnostic(codes.E605, message, place=str(path)))
        return _read_other(path, kind)
    content = content_of(path)
    format = dialect_of(content, given)
    lines = decoded_lines(io.BytesIO(content), str(path), "a CSV file", format.encoding, format.encoding_hint)
    table = next(read_blocks(lines, str(path), format, _Strict(), _MOST_ROWS))
    if not table.lines:
        raise NablacError(Diagnostic(codes.E823, f"{path} has no rows", place=str(path)))
    cells = {name: column for name, column in zip(table.names, table.cells, strict=True) if name}
    format = with_groups(format, cells.values())  # which the first lines may not show
    nameless = tuple(number for number, name in enumerate(table.names, 1) if not name)
    columns = tuple(_column(name, column, table.lines, format) for name, column in cells.items())
    return UserTable(path, format, columns, cells, table.lines, nameless)


def _read_other(path: Path, kind: TableKind) -> UserTable:
    rows = next(table_blocks(str(path), NO_OPTIONS, _Strict(), _MOST_ROWS)).rows
    cells = {name: list(column) for name, column in rows.cells.items() if name}
    # Dates are neither numbers nor texts, and have cells.
    unread = tuple(name for name in rows.refused if kind != "parquet" or not cells.get(name))
    cells = {name: column for name, column in cells.items() if name not in unread}
    if not cells:
        message = f"{path} has no column of numbers, texts or dates"
        hint = "write what its lists and objects hold as columns of their own" if unread else None
        raise NablacError(Diagnostic(codes.E823, message, place=str(path), hint=hint))
    nameless = tuple(number for number, name in enumerate(rows.cells, 1) if not name)
    columns = tuple(_column(name, column, rows.lines, NO_OPTIONS) for name, column in cells.items())
    return UserTable(path, NO_OPTIONS, columns, cells, rows.lines, nameless, kind, unread)


def _column(name: str, cells: list[str], lines: Sequence[int], format: Format) -> Column:
    texts = [cell.strip() for cell in cells]
    numbers = [cell for cell in texts if not is_missing(cell)]
    others = [] if format.numbers(numbers) is not None else [cell for cell in numbers if format.number(cell) is None]
    is_numeric = bool(numbers) and not others
    has_gaps = any(is_missing(cell) if is_numeric else not cell for cell in dict.fromkeys(texts))
    present = numbers if is_numeric else [cell for cell in texts if cell]
    numbers_rows = not has_gaps and _numbers_rows(name, present)
    has_sentences = not is_numeric and 2 * sum(" " in cell for cell in present) > len(present)
    sample = present[:: max(1, len(present) // _SAMPLE)]
    may_be_dates = not is_numeric and bool(present) and (has_sentences or _looks_dated(sample))
    dated = may_be_dates and are_dates(sample)
    misfit = ""
    may_have_notation = others and format.options
    notation = replace(format, command=False).hint_of_notation(others[0]) if may_have_notation else None
    has_other_notation = notation is not None and all(map(format.hint_of_notation, others))
    if others and (has_other_notation or _MOST_MISFITS * len(others) <= len(numbers)):
        misfit = f"`{' '.join(others[0].split())[:40]}` on line {lines[texts.index(others[0])]} is not a number"
        misfit += f": {notation}" if notation is not None else ""
    values = frozenset(present)
    if len(values) <= _MOST_WRITINGS * _MOST_CLASSES:
        values = frozenset(class_names(values, format))
    return Column(
        name,
        is_numeric,
        numbers_rows,
        has_gaps,
        values,
        has_sentences and not dated,
        misfit,
        may_be_dates and not dated and not misfit and _looks_dated(sample),
    )


def _looks_dated(cells: list[str]) -> bool:
    """Whether cells are as long as dates, and have digits in two parts at least."""
    return bool(cells) and all(len(cell) <= _LONGEST_DATE and _DATED.search(cell) for cell in cells)


def unread_dates(columns: Sequence[Column]) -> list[Column]:
    """The columns that might have dates in a form that cannot be read without its format: nearly all cells differ."""
    return [column for column in columns if column.looks_dated and len(column.values) >= LEAST_ROWS]


@dataclass(frozen=True)
class BrokenDate:
    """A cell that is no date, in a column whose others are."""

    column: str
    cell: str
    line: int

    def __str__(self) -> str:
        what = f"`{in_comment([self.cell])[:40]}`" if self.cell else "an empty cell"
        return f"`{in_comment([self.column])}` holds dates, but for {what} on line {self.line}"


def broken_date(table: UserTable) -> BrokenDate | None:
    """The first such cell of the first column of dates that has one, or a few among many."""
    for column in table.columns:
        cells = [cell.strip() for cell in table.cells[column.name]]
        texts = list(dict.fromkeys(cells))
        if column.is_numeric or column.misfit or len(texts) < LEAST_ROWS:
            continue
        some = (texts[0], texts[len(texts) // 2], texts[-1])
        formats = dict.fromkeys(format for text in some for format, _ in readings([text]))
        broken = [[text for text in texts if moment_of(text, format) is None] for format in formats]
        fewest = min(broken, key=len, default=[])
        if len(fewest) == 1 or 0 < _MOST_MISFITS * len(fewest) <= len(texts):
            return BrokenDate(column.name, fewest[0], table.lines[cells.index(fewest[0])])
    return None


def format_of_dates(column: Column) -> str:
    """How a spec says in what form the dates of a column are; the form itself is the user's to write."""
    example = "`%d-%b-%Y %I:%M %p` is 31-Dec-2024 11:59 PM"
    return f"`calendar({quoted(in_comment([column.name]))}, ..., format: ...)`, where {example}"


def _numbers_rows(name: str, cells: list[str]) -> bool:
    """Whether whole numbers, all different, count the rows from 0 or 1, or are identifiers by their column's name."""
    if len(cells) < 3 or len(set(cells)) < len(cells) or not all(cell.isascii() and cell.isdigit() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    counts = numbers[0] in (0, 1) and all(after == before + 1 for before, after in pairwise(numbers))
    return counts or _IDENTIFIER.search(name.strip()) is not None


def quoted(text: str) -> str:
    """A string of the language."""
    for sign, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(sign, escape)
    return f'"{text}"'


def in_comment(names: list[str]) -> str:
    """Names in a comment, each on one line."""
    return ", ".join(" ".join(name.split()) for name in names)
