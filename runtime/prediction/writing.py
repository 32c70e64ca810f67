"""Results as files, some rows at a time: CSV, JSON lines, Parquet. A float reads back as itself."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.atomic_files import atomic_write
from runtime.data.parquet_file import require_pyarrow
from runtime.prediction.table_rows import Columns, len_of

FORMATS = {".csv": "csv", ".jsonl": "lines", ".ndjson": "lines", ".parquet": "parquet", ".pq": "parquet"}


class Writer(Protocol):
    """Takes results some rows at a time; the first decide which columns there are."""

    def write(self, columns: Columns) -> None:
        """Add rows."""


def aligned(columns: Columns, names: Sequence[str]) -> list[Any]:
    """The columns of these names; one that is missing is empty."""
    empty = [None] * len_of(columns)
    return [columns.get(name, empty) for name in names]


class CsvWriter:
    """Rows as CSV with a header; `emit` takes the text of some."""

    def __init__(self, emit: Callable[[str], object]) -> None:
        self.emit, self.names = emit, list[str]()

    def write(self, columns: Columns) -> None:
        """Add rows, and before the first the names of their columns."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self.names:
            self.names = list(columns)
            writer.writerow(self.names)
        writer.writerows(zip(*map(texts_of, aligned(columns, self.names)), strict=True))
        self.emit(text.getvalue())


class LineWriter:
    """Rows as JSON objects, each on its line; NaN and infinities, which JSON has not, are null."""

    def __init__(self, emit: Callable[[str], object]) -> None:
        self.emit, self.names = emit, list[str]()

    def write(self, columns: Columns) -> None:
        """Add rows."""
        self.names = self.names or list(columns)
        self.emit("".join(f"{row}\n" for row in json_rows(columns, self.names)))


class ParquetWriter:
    """Rows as a Parquet file, whose types are those of the first rows."""

    def __init__(self, path: Path, location: str) -> None:
        self.path, self.location = path, location
        self._file: Any = None
        self._schema: Any = None

    def write(self, columns: Columns) -> None:
        """Add rows; NablacError for one whose type differs from those before it."""
        import pyarrow
        import pyarrow.parquet

        if self._schema is None:
            arrays = {name: pyarrow.array(_plain(values)) for name, values in columns.items()}
            types = {
                name: pyarrow.string() if pyarrow.types.is_null(array.type) else array.type
                for name, array in arrays.items()
            }
            self._schema = pyarrow.schema(list(types.items()))
            self._file = pyarrow.parquet.ParquetWriter(self.path, self._schema)
        parts = []
        for field, values in zip(self._schema, aligned(columns, self._schema.names), strict=True):
            try:
                parts.append(pyarrow.array(_plain(values), type=field.type))
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
                message = f"column `{field.name}` holds {field.type} in the first rows, and something else in others"
                hint = "`.csv` and `.jsonl` take any value"
                raise NablacError(Diagnostic(codes.E821, message, place=self.location, hint=hint)) from None
        self._file.write_table(pyarrow.Table.from_arrays(parts, schema=self._schema))

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


@contextmanager
def written(path: Path) -> Iterator[Writer]:
    """A writer of the file, in the form that its suffix names; it is there whole, or not at all.

    NablacError where the form needs a package that is not installed, Unwritable where the system refuses.
    """
    form = FORMATS.get(path.suffix.lower(), "csv")
    if form == "parquet":
        require_pyarrow(str(path))
    with atomic_write(path) as draft:
        if form == "parquet":
            parquet = ParquetWriter(draft, str(path))
            try:
                yield parquet
            finally:
                parquet.close()
            return
        with draft.open("w", encoding="utf-8", newline="") as file:
            yield CsvWriter(file.write) if form == "csv" else LineWriter(file.write)


def json_rows(columns: Columns, names: Sequence[str]) -> Iterator[str]:
    """Each row as a JSON object."""
    for row in zip(*map(_json_values, aligned(columns, names)), strict=True):
        yield json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)


def texts_of(values: Any) -> list[str]:
    """Values as cells; a float in as few digits as read back as itself."""
    if not isinstance(values, np.ndarray) or values.dtype.kind == "O":
        return [_text(value) for value in values]
    texts: list[str] = values.astype(str).tolist()
    if values.dtype.kind != "f":
        return texts
    return [
        text if "e" not in text or not 1e-4 <= abs(value) < 1e16 else np.format_float_positional(value, trim="0")
        for text, value in zip(texts, values, strict=True)
    ]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _json_values(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return [float(text) if math.isfinite(float(text)) else None for text in values.astype(str).tolist()]
    return [_json_value(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]


def _json_value(value: Any) -> Any:
    if isinstance(value, date):  # or a `datetime`, which is one
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, dict, list)) or value is None else str(value)


def _plain(values: Any) -> Any:
    """Values as pyarrow takes them: one type, so that mixed JSON values become texts."""
    if isinstance(values, np.ndarray):
        return values if values.dtype.kind not in "OUS" else [str(value) for value in values.tolist()]
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds:
        return [float(value) if value is not None else None for value in values]
    return (
        values
        if len(kinds) <= 1 and not kinds & {dict, list}
        else [value if value is None else _text(value) for value in values]
    )
