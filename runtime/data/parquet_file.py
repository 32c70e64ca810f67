"""Parquet files: their rows with numbers as they are stored, and texts of them where a reader asks for texts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import PARQUET
from runtime.boundary import BEGINNING, open_regular, refuse_other_kinds, translate_errors
from runtime.data.rows import Rows
from runtime.data.source_files import unchanged
from runtime.extras import missing_extra

if TYPE_CHECKING:
    from compiler.types import Array


def require_pyarrow(place: str) -> None:
    """NablacError where the extra `parquet` is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise missing_extra("Parquet files", "parquet", place=place) from None


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """An open Parquet file; NablacError for other files, and for errors while it is read within the block."""
    import pyarrow.parquet

    with unchanged(path), translate_errors(str(path), "a Parquet file"), open_regular(path) as file:
        beginning = file.read(BEGINNING)
        refuse_other_kinds(beginning, "a Parquet file", str(path), but=(PARQUET,))
        if not beginning.startswith(b"PAR1"):
            raise ValueError("its first bytes are not those of the format")
        yield pyarrow.parquet.ParquetFile(file, pre_buffer=False)  # which would keep all that was read


def parquet_size(path: str) -> int:
    """The bytes of a table in memory, as numbers of 64 bits, or those of its file where that is more."""
    with open_parquet(Path(path)) as opened:
        facts = opened.metadata
        return max(8 * int(facts.num_rows) * int(facts.num_columns), os.path.getsize(path))


def arrow_rows(table: Any, path: str, first: int = 0) -> Rows:
    """The rows of a pyarrow table: in the file `path` they begin at the number `first`."""
    columns = dict(_columns(table))
    if len(columns) < len(table.column_names):
        twice = next(name for name in columns if table.column_names.count(name) > 1)
        raise NablacError(Diagnostic(codes.E821, f"two columns are called `{twice}`", place=path))
    refused = {name: what for name, column in columns.items() if (what := _kind(column.type)) is not None}
    stored = {name: array for name, column in columns.items() if (array := _numbers(column)) is not None}
    numbers = list(range(first, first + table.num_rows))
    lines = [number + 1 for number in numbers]
    return Rows(path, _Texts(columns, refused, path), lines, numbers, refused=refused, stored=stored)


def arrow_values(table: Any) -> dict[str, list[Any]]:
    """Every column of a pyarrow table as Python's own values."""
    return {name: column.to_pylist() for name, column in _columns(table)}


class _Texts(Mapping[str, Sequence[str]]):
    """The cells of columns as texts, made when they are asked for."""

    def __init__(self, columns: Mapping[str, Any], refused: Mapping[str, str], path: str) -> None:
        self.columns, self.path = columns, path
        self.known: dict[str, list[str]] = {name: [] for name in refused if not _are_dates(columns[name].type)}

    def __getitem__(self, name: str) -> list[str]:
        if name not in self.known:
            with translate_errors(self.path, "a Parquet file"):
                self.known[name] = [cell_text(cell) for cell in self.columns[name].to_pylist()]
        return self.known[name]

    def __contains__(self, name: object) -> bool:  # that of Mapping would make the texts
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def _columns(table: Any) -> Any:
    return zip(table.column_names, table.columns, strict=True)


def _are_dates(type: Any) -> bool:
    from pyarrow import types

    return bool(types.is_date(type) or types.is_timestamp(type))


def _kind(type: Any) -> str | None:
    """What a column holds, if it is neither numbers, booleans nor texts."""
    from pyarrow import types

    of = type.value_type if types.is_dictionary(type) else type
    plain = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    if any(holds(of) for holds in (*plain, types.is_string, types.is_large_string)):
        return None
    return f"{'dates or times' if types.is_temporal(of) else 'values'} ({of})"


def _numbers(column: Any) -> Array | None:
    """A column of numbers or booleans as f64, with NaN for what is missing; None of any other.

    The memory of pyarrow is read as it is: its own conversion imports pandas where that is installed, which takes a
    second.
    """
    from pyarrow import types

    if types.is_boolean(column.type):
        parts = [_bits(chunk.buffers()[1], chunk).astype(np.float64) for chunk in column.chunks]
    elif types.is_integer(column.type) or types.is_floating(column.type):
        kind = "f" if types.is_floating(column.type) else "i" if types.is_signed_integer(column.type) else "u"
        dtype = np.dtype(f"{kind}{column.type.bit_width // 8}")
        parts = [
            np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize).astype(np.float64)
            if len(chunk)
            else np.zeros(0)
            for chunk in column.chunks
        ]
    else:
        return None
    for part, chunk in zip(parts, column.chunks, strict=True):
        if chunk.null_count:
            part[~_bits(chunk.buffers()[0], chunk)] = np.nan
    return np.concatenate(parts) if parts else np.zeros(0)


def _bits(buffer: Any, chunk: Any) -> Array:
    """The bits of a buffer that are a chunk's, as booleans."""
    if buffer is None or not len(chunk):
        return np.zeros(len(chunk), bool)
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return np.asarray(bits[chunk.offset : chunk.offset + len(chunk)].astype(bool))


def cell_text(cell: Any) -> str:
    """A cell as text; booleans are 0 and 1."""
    if cell is None:
        return ""
    # The shortest text of a 16-bit float would be another number when it is read in 32 bits.
    if isinstance(cell, (bool, float)) or type(cell).__module__ == "numpy":
        return repr(int(cell)) if isinstance(cell, bool) else repr(float(cell))
    return str(cell)
