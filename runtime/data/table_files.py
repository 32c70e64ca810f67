"""Sources of a table: CSV files, Parquet files, and JSON, which has an object on each line or a list of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from compiler.elaborate.data import SOURCES, TABLES
from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.csv_file import PLAIN, Format
from runtime.data.file_rows import most_in_memory
from runtime.data.large_tables import large_rows
from runtime.data.parquet_file import parquet_size, require_pyarrow
from runtime.data.rows import Rows
from runtime.data.source_files import file_size
from runtime.data.table_blocks import TableKind, blocks_of_columns, is_list, kind_by_name, read_rows
from runtime.extras import missing_extra

_UNPACKED = {".gz": 8}  # how much larger a table may be than its file


def csv(stage: DataStage, context: Context) -> Rows:
    """The rows of a CSV file, in order; it may be gzipped.

    Columns without a name, such as spreadsheets leave behind, are skipped.
    """
    names = ("separator", "decimal", "header", "encoding", "thousands")
    format = Format(**{name: stage.arguments[name] for name in names})
    return _rows(stage, context, format, "csv")


def parquet(stage: DataStage, context: Context) -> Rows:
    """The rows of a Parquet file; needs the extra `parquet`."""
    try:
        require_pyarrow("")
    except NablacError:
        raise missing_extra("Parquet files", "parquet", stage.span) from None
    return _rows(stage, context, PLAIN, "parquet")


def json(stage: DataStage, context: Context) -> Rows:
    """The rows of JSON lines, or of a list of objects; it may be gzipped."""
    return _rows(stage, context, PLAIN, "json")


def of_file(source: DataStage, path: str) -> DataStage:
    """A source with another file; that of a table reads any other form of table too, which its name says."""
    kind = kind_by_name(path) if source.name in TABLES else None
    name = "json" if kind == "lines" else kind
    if name is None or name == source.name:
        return replace(source, arguments={**source.arguments, "path": path})
    defaults = {key: parameter.default for key, parameter in SOURCES[name].parameters.items()}
    return replace(source, name=name, arguments={**defaults, "path": path})


def _read_in_blocks(path: str, format: Format, kind: TableKind) -> Rows | None:
    """A table that is larger than memory is to hold; None of any other, of a list in JSON, and of one without rows."""
    largest = most_in_memory()
    if kind == "parquet":
        if parquet_size(path) <= largest:
            return None
    elif file_size(path) * _UNPACKED.get(Path(path).suffix.lower(), 1) <= largest or is_list(path, kind):
        return None
    return large_rows(path, partial(blocks_of_columns, path, format, kind))


def _rows(stage: DataStage, context: Context, format: Format, kind: TableKind) -> Rows:
    path = context.file(stage.arguments["path"], stage.span)
    rows = _read_in_blocks(str(path), format, kind) or read_rows(str(path), format, context, kind)
    if not rows.lines:
        raise NablacError(Diagnostic(codes.E823, f"{path} has no rows", stage.span))
    return rows
