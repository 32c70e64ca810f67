"""The dialect of a CSV file by its first lines: what separates its cells, and how its numbers are written."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from grammar.file_kinds import THOUSANDS
from runtime.data.csv_file import Format
from runtime.data.dates import are_dates
from runtime.data.digit_groups import without_groups
from runtime.data.missing_cells import is_missing

_MOST_BYTES = 100_000
_SEPARATORS = (",", ";", "\t", "|")
_COMMA = re.compile(r"[+-]?\d*,\d+")
_POINT = re.compile(r"[+-]?\d*\.\d+")
_THOUSANDS = re.compile(  # digits in groups of three, of which more is seen than one comma, point or space
    r"[+-]?[1-9]\d{0,2}(?:([.,' \u2019\u00a0\u2009\u202f])\d{3}(?:(?:\1\d{3})+(?:[.,]\d+)?|(?!\1)[.,]\d+)"
    r"|(['\u2019\u00a0\u2009\u202f])\d{3})"
)


def dialect_of(content: bytes, given: Format) -> Format:
    """The dialect by the first lines: the separator that is most often in the first one, and what numbers look like."""
    content = content.lstrip()
    lines = content[:_MOST_BYTES].decode(given.encoding or "utf-8", "replace").splitlines() or [""]
    lines = lines[:-1] if len(content) > _MOST_BYTES and len(lines) > 1 else lines  # the last one is cut
    separator = max(_SEPARATORS, key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=separator))
    cells = [cell.strip() for row in rows for cell in row]
    thousands = _thousands_of(cells)
    thousands = with_groups(Format(separator, thousands=thousands), zip_longest(*rows[1:], fillvalue="")).thousands
    plain = [without_groups(cell, thousands) or cell for cell in cells] if thousands else cells
    has_commas = any(map(_COMMA.fullmatch, plain)) and not any(map(_POINT.fullmatch, plain))
    decimal = "," if separator != "," and (has_commas or thousands == ".") else "."
    format = Format(separator, decimal, thousands=thousands if thousands != decimal else "")
    first = [cell.strip() for cell in next(csv.reader(lines[:1], delimiter=separator), [])]
    has_data = any(are_dates([cell]) for cell in first) and any(format.number(cell) is not None for cell in first)
    header = given.header if given.header is not None else False if has_data else None
    return replace(given, separator=separator, decimal=decimal, thousands=format.thousands, header=header)


def _thousands_of(cells: list[str]) -> str:
    """The sign between the thousands of numbers; none where cells show none, or several."""
    matches = [match for cell in cells if (match := _THOUSANDS.fullmatch(cell)) is not None]
    alike = {frozenset(THOUSANDS[match[1] or match[2]]) for match in matches}
    return next(sign for sign in THOUSANDS if sign in next(iter(alike))) if len(alike) == 1 else ""


def with_groups(format: Format, columns: Iterable[Sequence[str]]) -> Format:
    """The format with commas between thousands, if a column of numbers has them and they are no decimal signs.

    They are none where a comma separates the cells.
    """
    if format.thousands or format.separator != "," or not any(map(_is_of_groups, columns)):
        return format
    return replace(format, thousands=",")


def _is_of_groups(column: Sequence[str]) -> bool:
    """Whether cells are numbers, some of them with commas between their thousands."""
    if not any("," in cell for cell in column):
        return False
    cells = [cell for cell in column if not is_missing(cell.strip())]
    return Format(thousands=",").numbers(cells) is not None


def two_readings(columns: Mapping[str, Sequence[str]], format: Format) -> list[str]:
    """Remarks on columns of numbers whose decimal signs may as well be between thousands, as in `1.500` beside `700`.

    A number anywhere that has the sign elsewhere than before three digits shows that it is a decimal sign; in its own
    column so does one of four digits without it.
    """
    if not format.options or format.thousands or format.separator == ",":
        return []
    sign = format.decimal
    groups = re.compile(rf"[+-]?[1-9]\d{{0,2}}{re.escape(sign)}\d{{3}}")
    texts = {name: dict.fromkeys(map(str.strip, cells)) for name, cells in columns.items()}
    signed = {name: [cell for cell in cells if sign in cell] for name, cells in texts.items()}
    if not all(groups.fullmatch(cell) for cells in signed.values() for cell in cells):
        return []
    other = '`thousands: "."` and `decimal: ","` read' if sign == "." else '`thousands: ","` for `decimal: ","` reads'
    long = re.compile(r"[+-]?\d{4,}")
    return [
        f"`{' '.join(name.split())}` may be read in two ways: `{cells[0]}` is taken for "
        f"{format.number(cells[0]):.15g}; in the spec, {other} it as {cells[0].replace(sign, '')}"
        for name, cells in signed.items()
        if cells and not any(map(long.fullmatch, texts[name]))
    ]
