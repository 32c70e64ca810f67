"""The one reader of tables in files, some rows at a time or whole: CSV, Parquet, JSON, standard input."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import GZIP, PARQUET, kind_of
from runtime.atomic_files import is_stream
from runtime.boundary import (
    BEGINNING,
    LARGEST_JSON,
    BrokenFile,
    GzipReader,
    check_table,
    open_regular,
    refuse_empty,
    refuse_other_kinds,
    standard_input,
    translate_errors,
)
from runtime.data.csv_file import Format, Report, begins_like_json, looks_like_json, read_blocks, read_table
from runtime.data.parquet_file import arrow_rows, arrow_values, cell_text, open_parquet, parquet_rows, require_pyarrow
from runtime.data.rows import Rows
from runtime.data.source_files import content_of, unchanged, unpack
from runtime.data.text_lines import decoded_lines

STDIN = "-"
_FORMS = "a table in JSON is a list of objects, or an object on each line"
_OBJECTS = f"{_FORMS}; `--skip-broken` skips such rows, and reports how many"
# An escape of half of a character in UTF-16, perhaps with its other half
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_HALF_IN_BYTES = re.compile(_HALF.pattern.encode())
_KEY = re.compile(r'"\s*:')  # the end of a key, or the same within a text
_KEY_IN_BYTES = re.compile(_KEY.pattern.encode())
_BROKEN = object()  # in the place of a row that was reported
_AT_ONCE = 1 << 14  # rows of a table that is read whole, between two looks at its size
TableKind = Literal["csv", "parquet", "json", "lines"]  # JSON as a list of objects, and as one on each line
_KINDS: dict[str, TableKind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "json",
}
_SUFFIX_OF: dict[TableKind, str] = {"csv": ".csv", "parquet": ".parquet", "lines": ".jsonl", "json": ".json"}
_WHAT: dict[TableKind, str] = {
    "csv": "a CSV file",
    "parquet": "a Parquet file",
    "lines": "JSON with an object on each line",
    "json": "a list in JSON",
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
    kind, format = kind_by_name(path), format.of_file(path)
    with _opened(path) if kind != "parquet" else nullcontext((None, b"")) as (file, beginning):
        kind = kind or _kind_without_name(beginning, begins_like_json)  # whose first row may be broken
        kind = "lines" if kind == "json" and not _is_list(path, beginning) else kind
        for block in _blocks(path, file, kind, format, report, most):
            rows += len(block.rows.lines)
            yield block
    if not rows and not getattr(report, "skipped", 0):
        raise NablacError(Diagnostic(codes.E823, f"{path} has no rows", place=path))


def read_rows(path: str, format: Format, report: Report, kind: TableKind, content: bytes | None = None) -> Rows:
    """All rows of a table, within the limits of its size; there may be none. `content` is that of the file, if read."""
    if kind == "parquet":
        require_pyarrow(path)
        return parquet_rows(path)
    content = content_of(Path(path)) if content is None else unpack(content, path)
    if kind == "json" and not _is_list(path, content[:BEGINNING]):
        kind = "lines"
    if kind == "csv":
        format = format.of_file(path)
        return Rows.of(read_table(content, path, format, report), path, format, report)
    blocks = _blocks(path, io.BytesIO(content), kind, format, report, _AT_ONCE)
    return _joined([block.rows for block in blocks], path)


def blocks_of_columns(
    path: str, format: Format, kind: TableKind, names: Sequence[str], report: Report
) -> Iterator[Rows]:
    """The rows of a table, some at a time, with the columns of these names, or all of no names, and perhaps others."""
    if kind == "parquet":
        yield from _parquet_columns(Path(path), names)
        return
    with _opened(path) as (file, _):
        is_csv = kind == "csv"
        format = format.of_file(path) if is_csv else format
        for block in _blocks(path, file, "csv" if is_csv else "lines", format, report, _AT_ONCE):
            yield block.rows


def _parquet_columns(path: Path, names: Sequence[str]) -> Iterator[Rows]:
    """Rows of some columns of a Parquet file: others are not read."""
    first = 0
    with open_parquet(path) as opened:
        for batch in opened.iter_batches(batch_size=_AT_ONCE, columns=list(names) or None):
            yield arrow_rows(batch, str(path), first)
            first += batch.num_rows


def is_list(path: str, kind: TableKind) -> bool:
    """Whether a table in JSON is one list, which is read as a whole."""
    if kind != "json":
        return False
    with _opened(path) as (_, beginning):
        return _is_list(path, beginning)


def _is_list(path: str, beginning: bytes) -> bool:
    """Whether JSON is one list, by its name or its first bytes: a `.json` file may have an object on each line too."""
    return kind_by_name(path) != "lines" and _kind_by_content(beginning) != "lines"


def _joined(parts: Sequence[Rows], path: str) -> Rows:
    """The rows of all parts of a table; none of no parts."""
    if len(parts) == 1:
        return parts[0]
    check_table(sum(len(part.lines) * len(part.cells) for part in parts), path)
    names = list(parts[0].cells) if parts else []
    refused = {name: what for part in reversed(parts) for name, what in part.refused.items()}
    return Rows(
        path,
        {name: [cell for part in parts for cell in part.cells[name]] for name in names},
        [line for part in parts for line in part.lines],
        [number for part in parts for number in part.numbers],
        refused=refused,
    )


def _blocks(path: str, file: Any, kind: str, format: Format, report: Report, most: int) -> Iterator[Block]:
    if kind == "parquet":
        if file is not None:
            message = "a Parquet file cannot be read from a stream"
            raise NablacError(Diagnostic(codes.E807, message, place=path, hint="name the file"))
        yield from _parquet_blocks(Path(path), path, most)
    elif kind == "json":
        with translate_errors(path, "JSON", codes.E807):
            text = _all_of(file, path)
            refuse_empty(text, path)
            content = _parsed(text)
        yield from _object_blocks(_objects_of_list(content, path), path, report, most)
    elif kind == "lines":
        objects = _objects_of_lines(decoded_lines(file, path, "JSON lines"), path, report)
        yield from _object_blocks(objects, path, report, most)
    else:
        lines = decoded_lines(file, path, "a CSV file", format.encoding, format.encoding_hint)
        with translate_errors(path, "CSV"):
            for table in read_blocks(lines, path, format, report, most):
                rows = Rows.of(table, path, format, report)
                yield Block(rows, rows.cells)


def text_lines(path: str, report: Report) -> Iterator[tuple[int, str]]:
    """The lines of a text file, without their breaks, with their numbers; blank ones are left out, with a note."""
    with _opened(path) as (file, _):
        for number, line in enumerate(decoded_lines(file, path, "a text"), 1):
            if line.strip():
                yield number, line.rstrip("\r\n")
            else:
                report.note(f"{path}:{number}", "a blank line is skipped")


def kind_by_name(path: str) -> TableKind | None:
    """The kind of a table by its suffix; None if that is of no table."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return _KINDS.get(suffixes[-1]) if suffixes else None


def kind_of_table(path: str) -> TableKind:
    """The kind of a table in a file by its name and its first bytes; NablacError where these disagree."""
    with _opened(path) as (_, beginning):
        if len(beginning) < BEGINNING:  # which is all of it
            refuse_empty(beginning, path)
        refuse_other_kinds(beginning, "a table", path, but=(PARQUET,))
        is_named = kind_by_name(path) not in ("csv", None)
        content = _kind_by_content(beginning) if is_named else _kind_without_name(beginning, looks_like_json)
    named = kind_by_name(path) or content
    if content == named or (named, content) == ("json", "lines"):
        return content
    file, suffix = Path(path).name.removesuffix(".gz"), Path(path).name[len(Path(path).name.removesuffix(".gz")) :]
    hint = f"call it `{Path(file).with_suffix(_SUFFIX_OF[content])}{suffix}`"
    message = f"this is {_WHAT[content]}; expected {_WHAT[named]}, by its name"
    if content == "csv":  # or anything else
        said = _WHAT[named] if named == "parquet" else "JSON"
        message, hint = f"this is not {said}, as its name says", f"if it is a CSV file, {hint}"
    raise NablacError(Diagnostic(codes.E821, message, place=path, hint=hint))


def _kind_by_content(beginning: bytes) -> TableKind:
    if kind_of(beginning) == PARQUET:
        return "parquet"
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")
    return "lines" if start.startswith(b"{") else "json" if start.startswith(b"[") else "csv"


def _kind_without_name(beginning: bytes, is_json: Callable[[str], bool]) -> TableKind:
    """The kind of a table that may be CSV, whose header may begin with a bracket or a brace."""
    kind = _kind_by_content(beginning)
    first_line, end, _ = beginning.decode("utf-8-sig", "ignore").lstrip().partition("\n")
    if not end and len(beginning) >= BEGINNING:  # it goes on, perhaps in the middle of a number
        first_line = first_line.rpartition(",")[0] or first_line
    return "csv" if kind in ("json", "lines") and not is_json(first_line) else kind


@contextmanager
def _opened(path: str) -> Iterator[tuple[BinaryIO, bytes]]:
    """A file's bytes, unpacked where they are gzipped, and the first of them."""
    with ExitStack() as stack:
        if path == STDIN:
            raw: BinaryIO = standard_input()
        elif is_stream(Path(path)):
            raw = stack.enter_context(open(path, "rb"))
        else:
            stack.enter_context(unchanged(Path(path)))
            raw = stack.enter_context(open_regular(Path(path), path))
        file, beginning = _with_beginning(raw)
        if kind_of(beginning) == GZIP:
            with translate_errors(path, "a gzip file"):
                file, beginning = _with_beginning(GzipReader(file, path))  # type: ignore[arg-type]
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


def _all_of(file: BinaryIO, path: str) -> bytes:
    content = file.read(LARGEST_JSON + 1)
    if len(content) > LARGEST_JSON:
        message = f"this file has more than {LARGEST_JSON:,} bytes, and is read as one list"
        raise NablacError(
            Diagnostic(codes.E913, message, place=path, hint="write a JSON object on each line: `.jsonl`")
        )
    return content


def _parquet_blocks(path: Path, location: str, most: int) -> Iterator[Block]:
    require_pyarrow(location)
    first = 0
    with open_parquet(path) as opened:
        for batch in opened.iter_batches(batch_size=most):
            yield Block(arrow_rows(batch, location, first), arrow_values(batch, location))
            first += batch.num_rows


class _Ambiguous(dict[str, Any]):
    """An object with a key that is there twice."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.key = Counter(key for key, _ in pairs).most_common(1)[0][0]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else _Ambiguous(pairs)


def _parsed(text: str | bytes) -> Any:
    """The value of a text in JSON; ValueError for one with half of a character, which no file can hold as text."""
    value = json.loads(text)
    rows = value if isinstance(value, list) else [value]
    keys = len((_KEY if isinstance(text, str) else _KEY_IN_BYTES).findall(text))  # type: ignore[arg-type]
    if keys > sum(len(row) for row in rows if isinstance(row, dict)):
        value = json.loads(text, object_pairs_hook=_object)  # which takes longer
    has_half = _HALF.search(text) if isinstance(text, str) else _HALF_IN_BYTES.search(text)
    if has_half:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise ValueError(f"`{half}` is half of a character, and its other half is missing") from None
    return value


def _objects_of_list(content: Any, path: str) -> Iterator[tuple[int, Any]]:
    if not isinstance(content, list):
        raise NablacError(Diagnostic(codes.E807, _FORMS, place=path))
    yield from enumerate(content, 1)


def _objects_of_lines(lines: Iterable[str], path: str, report: Report) -> Iterator[tuple[int, Any]]:
    """The values of the lines with the number of each; `_BROKEN` for one that is no JSON, which goes to `report`."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            value: Any = _BROKEN
            try:
                with translate_errors(f"{path}:{number}", "JSON"):
                    value = _parsed(line)
            except BrokenFile as error:
                report.report_broken(f"{path}:{number}", error.diagnostics[0].message, _OBJECTS)
            yield number, value


def _object_blocks(objects: Iterator[tuple[int, Any]], path: str, report: Report, most: int) -> Iterator[Block]:
    """Rows of JSON objects; the columns are those of the first, and one that a later object lacks has an empty cell.

    What is not an object goes to `report`.
    """
    first = 0
    names: dict[str, None] = {}
    nested: dict[str, str | None] = {}
    while part := list(islice(objects, most)):
        lines: list[int] = []
        numbers: list[int] = []
        kept: list[dict[str, Any]] = []
        for number, (line, row) in enumerate(part, first):
            if row is _BROKEN:
                continue
            if not isinstance(row, dict) or not row:
                report.report_broken(f"{path}:{line}", 'a row of a table in JSON is an object, as `{"a": 1.5}`')
                continue
            if isinstance(row, _Ambiguous):
                report.report_broken(f"{path}:{line}", f"the key `{row.key}` is there twice")
                continue
            names = names or dict.fromkeys(row)
            for name in row:
                if name not in names:
                    report.note(f"{path}:{line}", f"`{name}`, which the first row lacks, is left out")
            lines.append(line)
            numbers.append(number)
            kept.append(row)
        values = {name: [row.get(name) for row in kept] for name in names}
        cells = {name: [_json_text(value) for value in column] for name, column in values.items()}
        first += len(part)
        if kept:
            for name in names.keys() - nested.keys():
                if any(value is not None for value in values[name]):
                    nested[name] = _nested(values[name], lines)
            refused = {name: what for name, what in nested.items() if what is not None}
            yield Block(Rows(path, cells, lines, numbers, refused=refused), values)


def _nested(column: Sequence[Any], lines: Sequence[int]) -> str | None:
    """What a column holds whose first value is an object or a list, and on which line; None of any other column.

    One of them after other values is a broken cell.
    """
    first = next((number for number, value in enumerate(column) if value is not None), None)
    if first is None or not isinstance(column[first], (dict, list)):
        return None
    return f"{'an object' if isinstance(column[first], dict) else 'a list'} on line {lines[first]}"


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else cell_text(value)
