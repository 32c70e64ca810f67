"""Tables: CSV and Parquet files."""

from __future__ import annotations

import csv as csv_format
import io
from typing import Any

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import check_table, guarded, open_regular
from runtime.data.context import Context
from runtime.data.files import content_of, missing_extra
from runtime.data.rows import Rows


def csv(stage: Stage, context: Context) -> Rows:
    """Rows of a file with a header, in the order in which they stand; it may be gzipped.

    Columns without a name, as spreadsheets leave behind, are left out.
    """
    path = context.file(stage.arguments["path"], stage.span)
    content = content_of(path)
    separator = stage.arguments["separator"]
    check_table(content.count(separator.encode()) + content.count(b"\n"), str(path))
    with guarded(str(path), "a CSV file"):
        reader = csv_format.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator)
        header = [name.strip() for name in next(reader, [])]
        cells: list[list[str]] = [[] for _ in header]
        lines: list[int] = []
        numbers: list[int] = []
        for number, row in enumerate(row for row in reader if row):
            if len(row) != len(header):
                context.broken(f"{path}:{reader.line_num}", f"{len(row)} cells, where the header names {len(header)}")
                continue
            lines.append(reader.line_num)
            numbers.append(number)
            for column, cell in zip(cells, row, strict=True):
                column.append(cell)
    if not lines:
        raise NablacError(Diagnostic("E823", f"{path} has no rows", stage.span))
    named = _by_name(header, cells, f"{path}:1")
    return Rows(str(path), named, lines, numbers)


def parquet(stage: Stage, context: Context) -> Rows:
    """Rows of a Parquet file; needs the extra `parquet`."""
    path = context.file(stage.arguments["path"], stage.span)
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("Parquet files", "parquet", stage) from None
    with guarded(str(path), "a Parquet file"), open_regular(path) as file:
        opened = pyarrow.parquet.ParquetFile(file)
        check_table(opened.metadata.num_rows * opened.metadata.num_columns, str(path))
        table = opened.read()
        cells = [[_text(cell) for cell in column.to_pylist()] for column in table.columns]
    if not table.num_rows:
        raise NablacError(Diagnostic("E823", f"{path} has no rows", stage.span))
    numbers = list(range(table.num_rows))
    return Rows(str(path), _by_name(table.column_names, cells, str(path)), [each + 1 for each in numbers], numbers)


def _by_name(header: list[str], cells: list[list[str]], place: str) -> dict[str, list[str]]:
    """Columns by their names; NablacError where two have the same."""
    named: dict[str, list[str]] = {}
    for name, column in zip(header, cells, strict=True):
        if name in named:
            hint = "give one of them another name in the file"
            raise NablacError(Diagnostic("E821", f"two columns are called `{name}`", place=place, hint=hint))
        if name:
            named[name] = column
    return named


def _text(cell: Any) -> str:
    """A cell as a CSV file would have it; flags are 0 and 1."""
    return "" if cell is None else str(int(cell)) if isinstance(cell, bool) else str(cell)
