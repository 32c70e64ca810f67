"""Parquet files: their rows with numbers as they are stored, and texts of them where a reader asks for texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import PARQUET
from runtime.boundary import (
    BEGINNING,
    check_table,
    open_regular,
    refuse_empty,
    refuse_other_kinds,
    translate_errors,
)
from runtime.data.number_columns import NumberColumns
from runtime.data.rows import Rows
from runtime.data.source_files import FileState, file_state, unchanged
from runtime.extras import missing_extra

if TYPE_CHECKING:
    from compiler.types import Array

_BUFFER = 1 << 16  # bytes of a column that are read together
_AT_ONCE = 1 << 13  # rows that are decoded together, as many as a processor's cache has room for


def require_pyarrow(location: str) -> None:
    """NablacError where the extra `parquet` is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise missing_extra("Parquet files", "parquet", location=location) from None


@contextmanager
def open_parquet(path: Path, since: FileState | None = None) -> Iterator[Any]:
    """An open Parquet file; NablacError for other files, and for errors while it is read within the block.

    With `since`, the state of the file when it was first looked at, any other state is an error.
    """
    import pyarrow.parquet

    with unchanged(path, since), translate_errors(str(path), "a Parquet file"), open_regular(path) as file:
        beginning = file.read(BEGINNING)
        refuse_empty(beginning, str(path))
        refuse_other_kinds(beginning, "a Parquet file", str(path), but=(PARQUET,))
        if not beginning.startswith(b"PAR1"):
            raise ValueError("its first bytes are not those of the format")
        # `pre_buffer` would keep all that was read, and without `buffer_size` a column of a row group is read at once.
        yield pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)


def parquet_size(path: str) -> int:
    """The bytes of a table in memory, as numbers of 64 bits, or those of its file where that is more."""
    with open_parquet(Path(path)) as opened:
        facts = opened.metadata
        return max(8 * int(facts.num_rows) * int(facts.num_columns), os.path.getsize(path))


def parquet_rows(path: str) -> Rows:
    """All rows of a Parquet file, whose columns are read when they are asked for."""
    state = file_state(Path(path))
    with open_parquet(Path(path), state) as opened:
        facts = opened.metadata
        check_table(facts.num_rows * facts.num_columns, path)
        schema, count = opened.schema_arrow, int(facts.num_rows)

    def batches(names: Sequence[str]) -> Iterator[Any]:
        with open_parquet(Path(path), state) as opened:
            yield from opened.iter_batches(_AT_ONCE, columns=list(names), use_threads=False)

    return _rows(schema, batches, count, path)


def arrow_rows(batch: Any, path: str, first: int = 0) -> Rows:
    """The rows of a pyarrow record batch: in the file `path` they begin at the number `first`."""
    return _rows(batch.schema, lambda names: iter((batch,)), batch.num_rows, path, first)


Batches = Callable[[Sequence[str]], Iterator[Any]]  # record batches with the columns of these names, and perhaps others


def _rows(schema: Any, batches: Batches, count: int, path: str, first: int = 0) -> Rows:
    types = dict(zip(schema.names, schema.types, strict=True))
    if len(types) < len(schema.names):
        twice = next(name for name in types if schema.names.count(name) > 1)
        hint = "give one of them another name in the file"
        raise NablacError(Diagnostic(codes.E821, f"two columns are called `{twice}`", place=path, hint=hint))
    refused = {name: what for name, type in types.items() if (what := _kind(type)) is not None}
    stored = [name for name, type in types.items() if _are_numbers(type)]

    def read(names: Sequence[str]) -> Array:
        table = np.empty((count, len(names)), order="F")
        end = 0
        for batch in batches(names):
            start, end = end, end + batch.num_rows
            for number, name in enumerate(names):
                _decode(batch.column(name), table[start:end, number])
        return table

    numbers = range(first, first + count)
    lines = range(first + 1, first + 1 + count)
    texts = _Texts(types, batches, refused, path)
    zones = {name: zone for name, type in types.items() if (zone := _zone(type)) is not None}
    return Rows(path, texts, lines, numbers, refused=refused, stored=NumberColumns(stored, read), zones=zones)


def arrow_values(batch: Any, path: str) -> dict[str, list[Any]]:
    """Every column of a pyarrow record batch as Python's own values."""
    columns = zip(batch.schema.names, batch.columns, strict=True)
    return {name: _values(column, name, path) for name, column in columns}


def _values(column: Any, name: str, path: str) -> list[Any]:
    """A column as Python's own values; NablacError for dates in a time zone that Python does not know."""
    try:
        values: list[Any] = column.to_pylist()
    except Exception as error:
        zone = getattr(column.type, "tz", None)
        if zone is None or isinstance(error, MemoryError):
            raise
        message = f"column `{name}`: the time zone `{zone}` of its dates is not known"
        hint = "write them in UTC; where Python lacks the zones of the IANA, `pip install tzdata` has them"
        raise NablacError(Diagnostic(codes.E821, message, place=path, hint=hint)) from error
    return values


class _Texts(Mapping[str, Sequence[str]]):
    """The cells of columns as texts, made when they are asked for."""

    def __init__(self, types: Mapping[str, Any], batches: Batches, refused: Mapping[str, str], path: str) -> None:
        self.types, self.batches, self.path = types, batches, path
        self.known: dict[str, list[str]] = {name: [] for name in refused if not _are_dates(types[name])}

    def __getitem__(self, name: str) -> list[str]:
        if name not in self.types:
            raise KeyError(name)
        if name not in self.known:
            with translate_errors(self.path, "a Parquet file"):
                batches = self.batches([name])
                self.known[name] = [
                    cell_text(cell) for part in batches for cell in _values(part.column(name), name, self.path)
                ]
        return self.known[name]

    def __contains__(self, name: object) -> bool:  # that of Mapping would make the texts
        return name in self.types

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)


def _are_dates(type: Any) -> bool:
    from pyarrow import types

    return bool(types.is_date(type) or types.is_timestamp(type))


def _zone(type: Any) -> tzinfo | None:
    """The time zone of dates; None of any others, and where Python does not know it, which reading them reports."""
    import pyarrow

    if getattr(type, "tz", None) is None:
        return None
    try:
        zone: tzinfo | None = pyarrow.scalar(0, pyarrow.timestamp("us", type.tz)).as_py().tzinfo
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        return None
    return zone


def _kind(type: Any) -> str | None:
    """What a column holds, if it is neither numbers, booleans nor texts."""
    from pyarrow import types

    of = type.value_type if types.is_dictionary(type) else type
    plain = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    views = getattr(types, "is_string_view", types.is_string)  # which versions before 16 do not have
    if any(holds(of) for holds in (*plain, types.is_string, types.is_large_string, views)):
        return None
    return f"{'dates or times' if types.is_temporal(of) else 'values'} ({of})"


def _are_numbers(type: Any) -> bool:
    from pyarrow import types

    return bool(types.is_boolean(type) or types.is_integer(type) or types.is_floating(type))


def _decode(column: Any, target: Array) -> None:
    """Write a pyarrow array of numbers or booleans to `target` [rows], in f64, with NaN for what is missing.

    The memory of pyarrow is read as it is: its own conversion imports pandas where that is installed, which takes a
    second.
    """
    from pyarrow import types

    type, count = column.type, len(column)
    if not count:
        return
    present, content = column.buffers()
    if types.is_boolean(type):
        target[:] = _bits(content, column)
    else:
        kind = "f" if types.is_floating(type) else "i" if types.is_signed_integer(type) else "u"
        dtype = np.dtype(f"{kind}{type.bit_width // 8}")
        target[:] = np.frombuffer(content, dtype, count, column.offset * dtype.itemsize)
    if column.null_count:
        target[~_bits(present, column)] = np.nan


def _bits(buffer: Any, column: Any) -> Array:
    """The bits of a buffer that are a column's, as booleans."""
    if buffer is None:
        return np.zeros(len(column), bool)
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return np.asarray(bits[column.offset : column.offset + len(column)].astype(bool))


def cell_text(cell: Any) -> str:
    """A cell as text; booleans are 0 and 1."""
    if cell is None:
        return ""
    # The shortest text of a 16-bit float would be another number when it is read in 32 bits.
    if isinstance(cell, (bool, float)) or type(cell).__module__ == "numpy":
        return repr(int(cell)) if isinstance(cell, bool) else repr(float(cell))
    return str(cell)
