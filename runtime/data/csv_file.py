"""CSV files: one reader for training data and for inputs of `run`."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import THOUSANDS
from runtime.boundary import check_table, translate_errors
from runtime.data.digit_groups import without_groups
from runtime.data.text_lines import decoded_lines

if TYPE_CHECKING:
    from compiler.types import Array

_OTHER_SEPARATORS = (";", "\t", "|", ",")
_QUOTES = 'a quote at the beginning of a cell needs one at its end; a quote within is written twice: `"5"" long"`'
_ABOVE = "the first row is read as the names of the columns: remove titles and comments above them"
_TOO_LONG = "cut longer texts; or a quote is not closed: "  # before _QUOTES
_NOT_THE_FILE = "the address led to a page, perhaps of an error or a login: save the file that it is about"
_AS_JSON = "`json(...)` reads it; with an object on each line its name ends in `.jsonl`, and else in `.json`"
_WEB_PAGE = ("<!doctype html", "<html")
_AT_ONCE = 1 << 10  # rows that are turned into columns together
_BETWEEN_THOUSANDS = (",", ".", "'", " ", "_")
_NOTATION = re.compile(rf"[+-]?[\d{''.join(THOUSANDS)}]*\d(?:[eE][+-]?\d+)?")
_JSON = re.compile(r'(\[\s*)*\{\s*("|$)|\[$')
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)


def begins_like_json(first_line: str) -> bool:
    """Whether a first line begins as an object or a list of JSON does, though it may have a mistake later."""
    return _JSON.match(first_line.strip()) is not None


def looks_like_json(first_line: str) -> bool:
    """Whether a first line is JSON, or the beginning of it, with a list or an object, and no header."""
    text = first_line.strip()
    if not begins_like_json(text):
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos == len(text) or error.msg.startswith("Unterminated string")  # which ends after the line
    except RecursionError:
        return True
    return True


class Report(Protocol):
    """Receives a reader's reports of rows that it cannot use, and of what it has changed or left out."""

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        """Report a row that cannot be used: raises, or records it as skipped."""

    def note(self, location: str, message: str) -> None:
        """Report something in the file that is not in the numbers."""


@dataclass(frozen=True)
class Format:
    """The dialect of a CSV file, as far as the user sets it; with `command` it is set by options of a command.

    Other tables have no `options`.
    """

    separator: str = ","
    decimal: str = "."
    header: bool | None = None
    encoding: str = ""  # UTF-8, or what a byte order mark says
    thousands: str = ""  # the sign between the thousands of a number; none may be there
    command: bool = False
    options: bool = True

    @property
    def encoding_hint(self) -> str:
        """What to do about a text in another encoding."""
        other = self.option("encoding", '"utf-8"' if self.encoding else '"cp1252"')
        return f"if it is in another encoding, such as that of Windows, say so: {other}"

    def of_file(self, path: str) -> Format:
        """The format of a file by its name: the cells of a `.tsv` are separated by tabs where nothing else is said."""
        is_tabbed = self.separator == PLAIN.separator and path.lower().removesuffix(".gz").endswith(".tsv")
        return replace(self, separator="\t") if is_tabbed else self

    def option(self, name: str, value: str) -> str:
        """How the user writes a setting of the dialect."""
        if not self.command:
            return f"`{name}: {value}`"
        if name == "header":
            return "`--header`" if value == "true" else "`--no-header`"
        return f"`--{name} '{value[1:-1]}'`"

    def numbers(self, cells: Sequence[str]) -> Array | None:
        """The numbers in all cells as f64; None where `number` would refuse one of them, or might read it otherwise."""
        import numpy as np  # where numbers are read, not before

        text = "\n".join(cells)
        if self.thousands and not THOUSANDS[self.thousands].isdisjoint(text):
            plain = [number for cell in cells if (number := without_groups(cell.strip(), self.thousands)) is not None]
            if len(plain) < len(cells):
                return None
            cells, text = plain, "\n".join(plain)
        if not text.isascii() or "_" in text:
            return None
        if self.decimal != ".":
            if "." in text or text.count("\n") >= len(cells):  # a cell may have several lines
                return None
            cells = text.replace(self.decimal, ".").split("\n")
        try:
            numbers = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            return None
        return numbers if np.isfinite(numbers).all() else None

    def number(self, cell: str) -> float | None:
        """The finite number in a cell, None for anything else.

        Neither `1_000` nor `1,000` is a number unless the user says so: programs read them differently.
        """
        text = self.plain(cell)
        if text is None:
            return None
        try:
            number = float(text)
        except ValueError:
            return None
        return number if math.isfinite(number) and "_" not in text and text.isascii() else None

    def plain(self, cell: str) -> str | None:
        """A cell without signs between thousands and with a decimal point; None where it has others."""
        text: str | None = cell.strip()
        if self.thousands and text is not None:
            text = without_groups(text, self.thousands)
        if self.decimal == "." or text is None:
            return text
        return None if "." in text else text.replace(self.decimal, ".", 1)

    def is_numeric(self, cell: str) -> bool:
        """Whether a cell is probably meant as a number, including `nan` and numbers in another notation."""
        text = cell.strip()
        try:
            float(text)
        except ValueError:
            return self.number(text) is not None or (
                _NOTATION.fullmatch(text) is not None and self._hint_of_number(text) is not None
            )
        return True

    def hint(self, cell: str) -> str | None:
        """A hint for a cell that is not a number."""
        text = cell.strip()
        notation = self._hint_of_number(text) if self.options else None
        if notation is not None:
            return notation
        other = next((sign for sign in _OTHER_SEPARATORS if sign != self.separator and sign in text), None)
        if self.options and other is not None and all(self.number(part) is not None for part in text.split(other)):
            return self._separated_by(other)
        if any(map(str.isdigit, text)) or _INFINITE.fullmatch(text):
            signs = "units or currencies" if self.options else "units, currencies or signs between thousands"
            plain = f"a number is finite, and written in plain digits, as `-1234{self.decimal}5` or `1e-3`, without "
            return f"{plain}{signs}; `--skip-broken` skips other rows"
        return None

    def _hint_of_number(self, text: str) -> str | None:
        """A hint for a number in another notation; None for anything else."""
        return self._hint_of_groups(text) or self.hint_of_notation(text)

    def _hint_of_groups(self, text: str) -> str | None:
        """A hint for a number whose signs between thousands are not between groups of three digits."""
        alike = THOUSANDS.get(self.thousands, frozenset())
        plain = "".join(sign for sign in text if sign not in alike)
        if plain == text or replace(self, thousands="").number(plain) is None:
            return None
        option = self.option("thousands", f'"{self.thousands}"')
        groups = self.thousands.join(("12", "345", "678"))
        rule = f"with {option} digits are in groups of three and begin with no 0, as in `{groups}`"
        return f"{rule}; `--skip-broken` skips such rows"

    def hint_of_notation(self, text: str) -> str | None:
        """A hint for a number with another decimal sign, or with signs between its thousands."""
        between = [{"thousands": sign} for sign in _BETWEEN_THOUSANDS if not THOUSANDS[sign].isdisjoint(text)]
        decimal = {"decimal": "," if self.decimal == "." else "."}
        for changes in ([*between, decimal], [decimal | each for each in between]):
            readings = [reading for change in changes if (reading := self._reading(text, change)) is not None]
            if readings:
                return "; ".join(readings)
        return None

    def _reading(self, text: str, changed: dict[str, str]) -> str | None:
        """What a cell would be with changed settings; None for no number."""
        other = replace(self, **changed)  # type: ignore[arg-type]
        number = other.number(text)
        if number is None or other.thousands == other.decimal:
            return None
        options = " and ".join(self.option(name, f'"{value}"') for name, value in changed.items())
        if other.separator == other.decimal:
            separator = self.option("separator", '";"')
            return (
                f"where `{self.separator}` separates the cells, numbers have a decimal point; "
                f"{separator} and {options} read a file with `;` between them"
            )
        return f"{options} read{'s' if len(changed) == 1 else ''} it as {number:.15g}"

    def contradiction(self) -> str | None:
        """What is wrong with the settings together, and what to do; None where nothing is."""
        if self.decimal not in (".", ","):
            return f"the decimal sign is `.` or `,`, not `{self.decimal}`"
        if self.thousands and self.thousands not in THOUSANDS:
            signs = ", ".join(f"`{sign}`" for sign in _BETWEEN_THOUSANDS if sign != " ")
            return f"between thousands is one of {signs} or a space, not `{self.thousands}`"
        if len(self.separator) != 1 or self.separator in '"\r\n':
            return f"`{self.separator}` is not one character between cells"
        if self.separator == self.decimal:
            other = self.option("separator", '";"')
            hint = f"choose another separator, such as {other}"
            return f"`{self.decimal}` is both the separator and the decimal sign; {hint}"
        if self.thousands == self.decimal:
            points, comma = self.option("thousands", '"."'), self.option("decimal", '","')
            return (
                f"`{self.decimal}` is both the decimal sign and the one between thousands; "
                f"{points} and {comma} read `1.234,5`"
            )
        return None

    def _separated_by(self, other: str) -> str:
        shown = "\\t" if other == "\t" else other
        option = self.option("separator", f'"{shown}"')
        return f"if the cells are separated by `{shown}`, say so with {option}"

    def hint_of_surplus(self, count: int) -> str | None:
        """A hint for a row with `count` cells too many, where numbers may have been cut at their thousands."""
        if count < 1 or self.separator not in THOUSANDS.get(self.thousands, ()):
            return None
        return f"a number with `{self.separator}` between its thousands needs quotes where it also separates the cells"

    def hint_of_header(self, names: list[str]) -> str | None:
        """A hint for a header that seems to be several names in one cell."""
        is_one = self.options and len(names) == 1
        other = next((sign for sign in _OTHER_SEPARATORS if is_one and sign in names[0]), None)
        return self._separated_by(other) if other is not None and other != self.separator else None


PLAIN = Format()
OF_COMMAND = Format(command=True)
NO_OPTIONS = Format(options=False)


@dataclass(frozen=True)
class Table:
    """Cells by column; for each row its line in the file, and its number among all rows, broken ones included."""

    names: list[str]
    cells: list[list[str]]
    lines: list[int]
    numbers: list[int]
    named: bool  # whether the file has a header; else the columns are called 0, 1, ...

    def extend(self, rows: list[list[str]]) -> None:
        """Add the cells of rows, which are then taken from the list."""
        for column, cells in zip(self.cells, zip(*rows, strict=True), strict=bool(rows)):
            column.extend(cells)
        rows.clear()


def read_table(content: bytes, path: str, format: Format, report: Report) -> Table:
    """The table in a CSV file; rows with too few or too many cells go to `report`.

    Blank lines at either end are ignored. NablacError for a file that is not CSV, or whose first row may be a header or
    data.
    """
    check_table(content.count(format.separator.encode()) + content.count(b"\n"), path)
    lines = decoded_lines(io.BytesIO(content), path, "a CSV file", format.encoding, format.encoding_hint)
    with translate_errors(path, "CSV"):
        return next(read_blocks(lines, path, format, report, None))


def read_blocks(lines: Iterable[str], path: str, format: Format, report: Report, most: int | None) -> Iterator[Table]:
    """As `read_table`, `most` rows at a time; at least one block, which is empty if the file has no rows.

    `lines` include their line breaks.
    """
    names: list[str] = []
    rows = _records(lines, path, format, names)
    first = next((row for row in rows if row[1]), None)
    if first is None:
        raise NablacError(Diagnostic(codes.E823, f"{path} is empty", place=path))
    line, cells = first
    if cells[0].strip().lower().startswith(_WEB_PAGE):
        message = "this is a web page (HTML); expected a CSV file"
        raise NablacError(Diagnostic(codes.E821, message, place=path, hint=_NOT_THE_FILE))
    if looks_like_json(format.separator.join(cells)):
        message = "this is JSON; expected a CSV file"
        raise NablacError(Diagnostic(codes.E821, message, place=path, hint=_AS_JSON))
    named = _is_header(cells, f"{path}:{line}", format, report)
    names += [name.strip() for name in cells] if named else [str(column) for column in range(len(cells))]
    _check_names(names, f"{path}:{line}")
    table = Table(names, [[] for _ in names], [], [], named)
    blank: list[int] = []
    pending: list[list[str]] = []
    number = 0
    is_first = True
    for line, cells in rows if named else _after(first, rows):
        if not cells:
            blank.append(line)
            continue
        if blank:
            _report_blank(blank, names, path, report)
            number += len(blank) if len(names) == 1 else 0
            blank = []
        if len(cells) != len(names):
            counted = f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"
            what = f"{counted}, where the {'header names' if named else 'first row has'} {len(names)}"
            hint = format.hint_of_header(names) or format.hint_of_surplus(len(cells) - len(names))
            hint = hint or (_ABOVE if named and not number else None)
            report.report_broken(f"{path}:{line}", what, hint)
        else:
            table.lines.append(line)
            table.numbers.append(number)
            pending.append(cells)
            if len(pending) == _AT_ONCE:
                table.extend(pending)
        number += 1
        if len(table.lines) == most:
            table.extend(pending)
            yield table
            is_first = False
            table = Table(names, [[] for _ in names], [], [], named)
    table.extend(pending)
    if table.lines or is_first:
        yield table


def _after(first: tuple[int, list[str]], rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rows


def _report_blank(lines: list[int], names: list[str], path: str, report: Report) -> None:
    """Report blank lines between rows: in a table of one column they are empty cells."""
    for line in lines:
        if len(names) == 1:
            report.report_broken(f"{path}:{line}", f"column `{names[0]}`: the cell is empty")
        else:
            report.note(f"{path}:{line}", "a blank line is skipped")


def _records(lines: Iterable[str], path: str, format: Format, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line at which each begins; a blank line has no cells. Errors name the column, once it is known."""
    record: list[str] = []  # the lines of a row

    def remembered() -> Iterator[str]:
        for line in lines:
            record.append(line)
            yield line

    reader = csv.reader(remembered(), delimiter=format.separator, strict=True)
    begin = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            column = _broken_cell("".join(record), format.separator)
            of_name = f", in column `{names[column]}`" if column is not None and column < len(names) else ""
            message = f"this cannot be read as CSV: {_reason(error)}{of_name}"
            hint = _TOO_LONG + _QUOTES if _is_too_long(error) else _QUOTES
            raise NablacError(Diagnostic(codes.E821, message, place=f"{path}:{begin}", hint=hint)) from None
        if row is None:
            return
        yield begin, row if any(row) or len(row) > 1 else []
        begin = reader.line_num + 1
        record.clear()


def _broken_cell(row: str, separator: str) -> int | None:
    """The index of the first cell of a row that is too long, or whose quote is not closed."""
    index, start, is_quoted = 0, 0, False
    for at, sign in enumerate(row):
        if sign == '"':
            is_quoted = not is_quoted
        elif sign == separator and not is_quoted:
            index, start = index + 1, at + 1
        if at - start > csv.field_size_limit():
            return index
    return index if is_quoted else None


def _reason(error: csv.Error) -> str:
    """A readable form of an error of Python's csv module."""
    message = str(error)
    if message == "unexpected end of data":
        return "this quote is never closed"
    if "expected after" in message:
        return "there is text after a closing quote; a quote inside a cell is written twice"
    if _is_too_long(error):
        return f"a cell has more than {csv.field_size_limit():,} characters"
    return message


def _is_too_long(error: csv.Error) -> bool:
    return "field limit" in str(error)


def _is_header(cells: list[str], location: str, format: Format, report: Report) -> bool:
    """Whether the first row is a header: as the user says, or else if no cell is a number.

    NablacError if it is ambiguous.
    """
    if format.header is not None:
        return format.header
    numbers = [format.number(cell) for cell in cells]
    if all(number is None for number in numbers):
        return True
    counted = [number for number in numbers if number is not None]
    # pandas writes the numbers of unnamed columns as their header.
    counting = len(counted) > 1 and counted in ([*range(len(counted))], [*range(1, len(counted) + 1)])
    if len(counted) < len(numbers) or counting:
        shown = ", ".join(f"`{cell.strip()}`" for cell in cells[:6]) + (", .." if len(cells) > 6 else "")
        message = f"the first row may be names or data: {shown}"
        data, names = format.option("header", "false"), format.option("header", "true")
        raise NablacError(
            Diagnostic(codes.E828, message, place=location, hint=f"{names} reads it as names, {data} as data")
        )
    report.note(
        location, f"the first row is of numbers, and read as data; {format.option('header', 'true')} makes it names"
    )
    return False


def _check_names(names: list[str], location: str) -> None:
    """NablacError if two columns have the same name, or no column has a name."""
    for number, name in enumerate(names):
        if name and name in names[:number]:
            hint = "give one of them another name in the file"
            raise NablacError(Diagnostic(codes.E821, f"two columns are called `{name}`", place=location, hint=hint))
    if not any(names):
        hint = "write the names of the columns in the first row"
        raise NablacError(Diagnostic(codes.E821, "no column has a name", place=location, hint=hint))
