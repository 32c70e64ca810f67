"""Tables: CSV and Parquet files."""

from __future__ import annotations

from typing import Any

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import PARQUET
from runtime.boundary import BEGINNING, check_table, open_regular, refuse_other_kinds, translate_errors
from runtime.data.context import Context
from runtime.data.csv_file import Format, read_table
from runtime.data.rows import Rows
from runtime.data.source_files import content_of, missing_extra


def csv(stage: DataStage, context: Context) -> Rows:
    """The rows of a CSV file, in order; it may be gzipped.

    Columns without a name, such as spreadsheets leave behind, are skipped.
    """
    path = context.file(stage.arguments["path"], stage.span)
    format = Format(*(stage.arguments[name] for name in ("separator", "decimal", "header")))
    table = read_table(content_of(path), str(path), format, context)
    if not table.lines:
        raise NablacError(Diagnostic(codes.E823, f"{path} has no rows", stage.span))
    return Rows.of(table, str(path), format, context)


def parquet(stage: DataStage, context: Context) -> Rows:
    """The rows of a Parquet file; needs the extra `parquet`."""
    path = context.file(stage.arguments["path"], stage.span)
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("Parquet files", "parquet", stage) from None
    with translate_errors(str(path), "a Parquet file"), open_regular(path) as file:
        beginning = file.read(BEGINNING)
        refuse_other_kinds(beginning, "a Parquet file", str(path), but=(PARQUET,))
        if not beginning.startswith(b"PAR1"):
            raise ValueError("its first bytes are not those of the format")
        opened = pyarrow.parquet.ParquetFile(file)
        check_table(opened.metadata.num_rows * opened.metadata.num_columns, str(path))
        table = opened.read()
    if not table.num_rows:
        raise NablacError(Diagnostic(codes.E823, f"{path} has no rows", stage.span))
    refused = {name: what for name, column in _columns(table) if (what := _kind(column.type)) is not None}
    cells = {
        name: [] if name in refused else [_text(cell) for cell in column.to_pylist()]
        for name, column in _columns(table)
    }
    if len(cells) < len(table.column_names):
        twice = next(name for name in cells if table.column_names.count(name) > 1)
        raise NablacError(Diagnostic(codes.E821, f"two columns are called `{twice}`", place=str(path)))
    numbers = list(range(table.num_rows))
    return Rows(str(path), cells, [number + 1 for number in numbers], numbers, refused=refused)


def _columns(table: Any) -> Any:
    return zip(table.column_names, table.columns, strict=True)


def _kind(type: Any) -> str | None:
    """What a column holds, if it is neither numbers, booleans nor texts."""
    from pyarrow import types

    of = type.value_type if types.is_dictionary(type) else type
    plain = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    if any(holds(of) for holds in (*plain, types.is_string, types.is_large_string)):
        return None
    return f"{'dates or times' if types.is_temporal(of) else 'values'} ({of})"


def _text(cell: Any) -> str:
    """A cell as text; booleans are 0 and 1."""
    if cell is None:
        return ""
    # The shortest text of a 16-bit float would be another number when it is read in 32 bits.
    if isinstance(cell, (bool, float)) or type(cell).__module__ == "numpy":
        return repr(int(cell)) if isinstance(cell, bool) else repr(float(cell))
    return str(cell)
