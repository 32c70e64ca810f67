"""Tables some rows at a time: CSV, Parquet, JSON lines, standard input, and columns from Python."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import GZIP, PARQUET, encoding_of, kind_of
from runtime.atomic_files import is_stream
from runtime.boundary import (
    BEGINNING,
    LARGEST_JSON,
    BrokenFile,
    open_regular,
    refuse_other_kinds,
    translate_errors,
)
from runtime.data.csv_file import Format, Report, read_blocks
from runtime.data.rows import Rows
from runtime.data.table_files import arrow_rows, cell_text, open_parquet

STDIN = "-"
_LONGEST_LINE = 16 << 20  # characters of a line, so that no file is read into memory as one of them
_KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "json",
}
SUFFIXES = (".csv", ".parquet", ".jsonl", ".json")


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of a table: their cells as texts, and every column as it stands in the file."""

    rows: Rows
    values: Mapping[str, Sequence[Any]]


def table_blocks(path: str, format: Format, report: Report, most: int) -> Iterator[Block]:
    """The rows of a table, `most` at a time; NablacError for a file that is none, and for one without rows.

    `-` is standard input, which is CSV unless its first bytes say something else. A file may be gzipped.
    """
    rows = 0
    for block in _blocks(path, format, report, most):
        rows += len(block.rows.lines)
        yield block
    if not rows and not getattr(report, "skipped", 0):
        raise NablacError(Diagnostic(codes.E823, f"{path} has no rows", place=path))


def _blocks(path: str, format: Format, report: Report, most: int) -> Iterator[Block]:
    kind = _kind_by_name(path)
    if kind == "parquet":
        yield from _parquet_blocks(Path(path), path, most)
        return
    with _opened(path) as (file, beginning):
        kind = kind or _kind_by_content(beginning)
        if kind == "parquet":
            raise NablacError(
                Diagnostic(codes.E807, "a Parquet file cannot be read from a stream", place=path, hint="name the file")
            )
        if kind == "json":
            with translate_errors(path, "JSON", codes.E807):
                content = json.loads(_all_of(file, path))
            yield from _object_blocks(_objects_of_list(content, path), path, most)
        elif kind == "lines":
            yield from _object_blocks(_objects_of_lines(_lines(file, beginning, path), path), path, most)
        else:
            with translate_errors(path, "CSV"):
                for table in read_blocks(_lines(file, beginning, path), path, format, report, most):
                    rows = Rows.of(table, path, format, report)
                    yield Block(rows, rows.cells)


def text_lines(path: str, report: Report) -> Iterator[tuple[int, str]]:
    """The lines of a text file, without their breaks, with their numbers; blank ones are left out, with a note."""
    with _opened(path) as (file, beginning):
        for number, line in enumerate(_lines(file, beginning, path), 1):
            if line.strip():
                yield number, line.rstrip("\r\n")
            else:
                report.note(f"{path}:{number}", "a blank line is skipped")


def is_table(path: str) -> bool:
    """Whether a name is one of a table, by its suffix."""
    return _kind_by_name(path) is not None


def _kind_by_name(path: str) -> str | None:
    suffixes = [suffix.lower() for suffix in Path(path).suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return _KINDS.get(suffixes[-1]) if suffixes else None


def _kind_by_content(beginning: bytes) -> str:
    if kind_of(beginning) == PARQUET:
        return "parquet"
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")
    return "lines" if start.startswith(b"{") else "json" if start.startswith(b"[") else "csv"


@contextmanager
def _opened(path: str) -> Iterator[tuple[BinaryIO, bytes]]:
    """A file's bytes, unpacked where they are gzipped, and the first of them."""
    with ExitStack() as stack:
        if path == STDIN:
            raw: BinaryIO = sys.stdin.buffer
        elif is_stream(Path(path)):
            raw = stack.enter_context(open(path, "rb"))
        else:
            raw = stack.enter_context(open_regular(Path(path), path))
        file, beginning = _with_beginning(raw)
        if kind_of(beginning) == GZIP:
            with translate_errors(path, "a gzip file"):
                file, beginning = _with_beginning(gzip.GzipFile(fileobj=file))  # type: ignore[arg-type]
        yield file, beginning


class _Continued(io.RawIOBase):
    """The bytes of a stream of which some were read already."""

    def __init__(self, beginning: bytes, rest: BinaryIO) -> None:
        self.beginning, self.rest = beginning, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.beginning[: len(buffer)] or self.rest.read(len(buffer)) or b""
        self.beginning = self.beginning[len(part) :] if self.beginning else b""
        buffer[: len(part)] = part
        return len(part)


def _with_beginning(raw: BinaryIO) -> tuple[BinaryIO, bytes]:
    beginning = b""
    while len(beginning) < BEGINNING and (part := raw.read(BEGINNING - len(beginning))):
        beginning += part
    return io.BufferedReader(_Continued(beginning, raw)), beginning


def _lines(file: BinaryIO, beginning: bytes, path: str) -> Iterator[str]:
    """The lines of a text with their breaks; NablacError for what is no text, at its line."""
    refuse_other_kinds(beginning, "a text", path)
    encoding = encoding_of(beginning)
    text = io.TextIOWrapper(file, encoding, newline="")
    number = 0
    while True:
        number += 1
        try:
            line = text.readline(_LONGEST_LINE)
        except UnicodeDecodeError:
            message = f"this is not {encoding.removesuffix('-sig').upper()} text"
            hint = "save it as UTF-8 in an editor, or run `iconv -f latin1 -t utf-8`"
            place = f"{path}, after line {number - 1}" if number > 1 else path  # a block of lines is decoded at once
            raise BrokenFile(Diagnostic(codes.E821, message, place=place, hint=hint)) from None
        if len(line) >= _LONGEST_LINE:
            message = f"this line has more than {_LONGEST_LINE:,} characters"
            raise NablacError(Diagnostic(codes.E913, message, place=f"{path}:{number}"))
        if "\0" in line:
            message = "the text contains a null byte"
            raise BrokenFile(Diagnostic(codes.E821, message, place=f"{path}:{number}"))
        if not line:
            return
        yield line


def _all_of(file: BinaryIO, path: str) -> bytes:
    content = file.read(LARGEST_JSON + 1)
    if len(content) > LARGEST_JSON:
        message = f"this file has more than {LARGEST_JSON:,} bytes, and is read as one list"
        raise NablacError(
            Diagnostic(codes.E913, message, place=path, hint="write a JSON object on each line: `.jsonl`")
        )
    return content


def _parquet_blocks(path: Path, place: str, most: int) -> Iterator[Block]:
    try:
        import pyarrow
    except ImportError:
        hint = "pip install 'nablac[parquet]'"
        raise NablacError(
            Diagnostic(codes.E809, "Parquet files need the `parquet` extra", place=place, hint=hint)
        ) from None
    first = 0
    with open_parquet(path) as opened:
        for batch in opened.iter_batches(batch_size=most):
            table = pyarrow.Table.from_batches([batch])
            values = {name: column.to_pylist() for name, column in zip(table.column_names, table.columns, strict=True)}
            yield Block(arrow_rows(table, place, first), values)
            first += table.num_rows


def _objects_of_list(content: Any, path: str) -> Iterator[tuple[int, Any]]:
    if not isinstance(content, list):
        message = "a table in JSON is a list of objects, or an object on each line"
        raise NablacError(Diagnostic(codes.E807, message, place=path))
    yield from enumerate(content, 1)


def _objects_of_lines(lines: Iterable[str], path: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            with translate_errors(f"{path}:{number}", "JSON"):
                yield number, json.loads(line)


def _object_blocks(objects: Iterator[tuple[int, Any]], path: str, most: int) -> Iterator[Block]:
    """Rows of JSON objects; the columns are those of the first, and one that a later object lacks has an empty cell."""
    first = 0
    names: list[str] = []
    while part := list(islice(objects, most)):
        for line, row in part:
            if not isinstance(row, dict) or not row:
                message = 'a row of a table in JSON is an object, as `{"a": 1.5}`'
                raise NablacError(Diagnostic(codes.E821, message, place=f"{path}:{line}"))
        names = names or list(part[0][1])
        values = {name: [row.get(name) for _, row in part] for name in names}
        numbers = range(first, first + len(part))
        cells = {name: [_json_text(value) for value in column] for name, column in values.items()}
        yield Block(Rows(path, cells, [line for line, _ in part], list(numbers)), values)
        first += len(part)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else cell_text(value)


def mapping_blocks(columns: Mapping[str, Any], place: str, most: int) -> Iterator[Block]:
    """Rows of columns from Python: lists, arrays, or a data frame's; NablacError where they differ in length."""
    arrays = {str(name): _listed(columns[name]) for name in columns}
    lengths = {len(values) for values in arrays.values()}
    if len(lengths) != 1:
        listed = ", ".join(f"`{name}` {len(values)}" for name, values in arrays.items()) or "nothing"
        raise NablacError(Diagnostic(codes.E823, f"columns must have the same length: {listed}", place=place))
    (count,) = lengths
    if not count:
        raise NablacError(Diagnostic(codes.E823, "the table has no rows", place=place))
    for start in range(0, count, most):
        values = {name: column[start : start + most] for name, column in arrays.items()}
        cells = {name: [cell_text(value) for value in column] for name, column in values.items()}
        numbers = range(start, min(start + most, count))
        yield Block(Rows(place, cells, [number + 1 for number in numbers], list(numbers)), values)


def _listed(column: Any) -> list[Any]:
    """A column as Python's own values; a date of any precision as a `datetime`."""
    array = np.asarray(column)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]")
    if array.ndim != 1:
        raise NablacError(Diagnostic(codes.E823, f"a column has one axis, not {array.ndim}", place="columns"))
    listed: list[Any] = array.tolist()
    return listed


__all__ = ["STDIN", "SUFFIXES", "Block", "is_table", "mapping_blocks", "table_blocks", "text_lines"]
