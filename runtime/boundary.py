"""Reading untrusted files: which may be read, how large they may get, and how the errors of parsers are reported.

Every reader of a file goes through this module: only regular files are read (and pipes where a command allows them),
never more than a limit, and any exception of a parser or the system becomes one diagnostic.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

from grammar import codes, mistakes
from grammar.diagnostics import MOST_KNOWN, Diagnostic, NablacError
from grammar.file_kinds import LFS_POINTER, SHEETS, encoding_of, kind_of
from grammar.reading import read_pipe
from runtime.memory import memory

# Limits of a file's size. Available memory is a further limit: see `require_room`.
LARGEST_TEXT = 1 << 30  # bytes of a table or a text, unpacked
LARGEST_PYTHON = 8 << 20  # bytes of a Python file whose texts are data: its syntax tree takes a hundred times as much
LARGEST_JSON = 256 << 20  # bytes of JSON other than the arrays of `run`: tokenizers, indices, records of runs
LARGEST_STREAM = 1 << 30  # bytes from standard input, a pipe or a device
PACKED_FREE = 256 << 20  # bytes that a compressed file may unpack to, whatever its own size
MOST_RATIO = 100  # the largest compression ratio beyond that; deflate reaches 1,032
MOST_ENTRIES = 10_000  # arrays of an archive
MOST_PIXELS = 89_478_485  # of an image: where Pillow begins to warn
MOST_CELLS = 1_000_000_000  # of a table
CELL_BYTES = 64  # that a cell of a table takes while it is read: a string and its slot in a list

STANDARD_INPUT = "<stdin>"  # in diagnostics
BEGINNING = 1 << 10  # bytes of a file that its kind is recognised by

_CHUNK = 1 << 20
_IN_MEMORY = re.compile(r" <_io\.[^>]*>| <zipfile[^>]*>")  # what Python calls an open file
_PANIC = ("pyo3_runtime", "PanicException")  # a BaseException, of a module that cannot be imported


class BrokenFile(NablacError):
    """The content of a file is not of the expected kind; a reader of a folder may leave such a file out."""


class SupportsRead(Protocol):
    """What `read_at_most` needs of a file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end of the file."""


@contextmanager
def translate_errors(
    location: str, what: str, code: codes.Code = codes.E821, hint: str | None = None
) -> Iterator[None]:
    """Turn any exception raised within the block into one diagnostic: the file cannot be read as `what`."""
    try:
        yield
    except NablacError:
        raise
    except Exception as error:
        raise _unreadable(error, location, what, code, hint) from error
    except BaseException as error:
        if not _is_panic(error):  # an interrupt, or the end of the process
            raise
        raise _unreadable(error, location, what, code, hint) from error


def _unreadable(error: BaseException, location: str, what: str, code: codes.Code, hint: str | None) -> NablacError:
    if isinstance(error, MemoryError):
        message = f"not enough memory to read this as {what}"
        return NablacError(
            Diagnostic(codes.E810, message, place=location, hint="choose a smaller file, or a part of it")
        )
    reason = "the library that reads it gives up" if _is_panic(error) else reason_of(error)
    message = f"this cannot be read as {what}: {reason}"
    return BrokenFile(Diagnostic(code, message, place=location, hint=hint))


def _is_panic(error: BaseException) -> bool:
    """Whether a Rust library has panicked. Each has its own class, and exports none: it is recognised by its name."""
    return (type(error).__module__, type(error).__name__) == _PANIC


def reason_of(error: BaseException) -> str:
    """The message of an exception, in one line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    from json import JSONDecodeError  # which few commands need

    if isinstance(error, JSONDecodeError):
        line = f" of line {error.lineno}" if error.lineno > 1 else ""
        return f"{error.msg.removesuffix(' at')} at character {error.colno}{line}"
    if isinstance(error, ValueError) and "int_max_str_digits" in str(error):  # Python's advice is for its programmers
        return f"an integer has more than {sys.get_int_max_str_digits():,} digits"
    text = _IN_MEMORY.sub("", " ".join(str(error).split()))
    return text[:160] or type(error).__name__


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Discard standard error within the block: Rust libraries print a panic there as well as raising it."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def read_file(path: Path, largest: int | None = None, *, pipes: bool = False, location: str | None = None) -> bytes:
    """The bytes of a regular file of at most `largest` bytes; None sets no limit but the available memory.

    With `pipes` a pipe is read too, up to LARGEST_STREAM. NablacError for devices, folders and missing files.
    """
    location = location or str(path)
    try:
        if pipes and stat.S_ISFIFO(os.stat(path).st_mode):
            return _check_size(read_pipe(str(path), LARGEST_STREAM + 1), LARGEST_STREAM, location)
        with open_regular(path, location) as file:
            size = os.fstat(file.fileno()).st_size
            require_room(size, location)
            most = largest if largest is not None else max(size, LARGEST_STREAM)
            if size > most:
                _refuse_size(f"{size:,} bytes", f"{most:,}", location)
            # The size cannot be relied on: files of /proc report 0, and others may grow.
            return _check_size(read_at_most(file, most), most, location)
    except (OSError, ValueError) as error:
        raise _cannot_read(error, location) from None


def open_regular(path: Path, location: str | None = None) -> BinaryIO:
    """Open a regular file for reading; NablacError for anything else, which could block or never end."""
    location = location or str(path)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(handle, "rb")
        os.close(handle)
    except (OSError, ValueError) as error:
        raise _cannot_read(error, location) from None
    raise folder_for_file(location) if stat.S_ISDIR(mode) else _not_a_file(location)


def require_regular(path: Path, location: str | None = None) -> int:
    """The size of a regular file, to be checked before a library opens it by name; NablacError for anything else."""
    with open_regular(path, location) as file:
        return os.fstat(file.fileno()).st_size


def standard_input() -> BinaryIO:
    """The bytes of standard input; NablacError if it is closed, as by `<&-`."""
    if sys.stdin is None:
        raise NablacError(mistakes.unreadable(STANDARD_INPUT, "it is closed"))
    return sys.stdin.buffer


def read_stream(path: Path, location: str | None = None) -> bytes:
    """The bytes of standard input (`-`), a pipe or a device, up to LARGEST_STREAM."""
    location = location or str(path)
    try:
        if str(path) == "-":
            return _check_size(read_at_most(standard_input(), LARGEST_STREAM), LARGEST_STREAM, location)
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return _check_size(read_pipe(str(path), LARGEST_STREAM + 1), LARGEST_STREAM, location)
        with path.open("rb") as file:
            return _check_size(read_at_most(file, LARGEST_STREAM), LARGEST_STREAM, location)
    except (OSError, ValueError) as error:
        raise _cannot_read(error, location) from None


def read_at_most(file: SupportsRead, most: int) -> bytes:
    """The remaining bytes of a file, up to `most` + 1: one more than `most` shows that there are more."""
    parts: list[bytes] = []
    left = most + 1
    while left > 0:
        part = file.read(min(left, _CHUNK))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def names_in(folder: Path) -> list[str]:
    """The names of the files in a folder, for suggestions; an empty list if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, MOST_KNOWN))
    except (OSError, ValueError):
        return []


def decode(content: bytes, location: str, what: str = "a text", code: codes.Code = codes.E821) -> str:
    """The text of a file: UTF-8, or UTF-16 or UTF-32 where a byte order mark says so, as spreadsheets write it.

    NablacError with the line of the first invalid byte, or with the file's kind where that is recognised.
    """
    if kind_of(content) == LFS_POINTER:  # the only kind that is text
        refuse_other_kinds(content, what, location, code)
    encoding = encoding_of(content)
    try:
        text, end = content.decode(encoding), None
    except UnicodeDecodeError as error:
        text, end = content[: error.start].decode(encoding, "ignore"), error.start
    if end is None and "\0" not in text:
        return text
    refuse_other_kinds(content, what, location, code)
    null = text.find("\0")
    line = text.count("\n", 0, null if null >= 0 else None) + 1
    message = f"this is not {encoding.removesuffix('-sig').upper()} text: byte {end}"
    hint = "save it as UTF-8 in an editor, or run `iconv -f latin1 -t utf-8`"
    if null >= 0:
        message = "the text contains a null byte"
        hint = "a UTF-16 file must begin with a byte order mark; UTF-8 needs none"
    raise BrokenFile(Diagnostic(code, message, place=f"{location}:{line}", hint=hint))


def refuse_other_kinds(
    content: bytes, what: str, location: str, code: codes.Code = codes.E821, but: Collection[str] = ()
) -> None:
    """NablacError for a file that is recognised by its first bytes as of a kind that is not in `but`."""
    kind = kind_of(content)
    if kind is not None and kind not in but:
        hint = "fetch the file itself: `git lfs pull`" if kind == LFS_POINTER else None
        hint = "save the sheet as CSV there, and read that file" if kind in SHEETS else hint
        raise BrokenFile(Diagnostic(code, f"this is {kind}; expected {what}", place=location, hint=hint))


def refuse_empty(content: bytes, location: str) -> None:
    """NablacError for a file of data without any bytes, or of blanks alone, as an export that was cut off leaves it."""
    if not content or content.isspace():
        raise NablacError(Diagnostic(codes.E823, f"{location} is empty", place=location))


class GzipReader(gzip.GzipFile):
    """The content of a gzip file, whose errors say what is wrong with it."""

    def __init__(self, file: BinaryIO, location: str) -> None:
        super().__init__(fileobj=file)
        self.location = location

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes; NablacError for a file that is cut off or damaged."""
        try:
            return super().read(size)
        except EOFError:
            message = "this gzip file is cut off: it ends before its content does"
        except (gzip.BadGzipFile, zlib.error):
            message = "this gzip file is damaged"
        hint = "copy or download it again; `gzip -t FILE` checks it"
        raise BrokenFile(Diagnostic(codes.E821, message, place=self.location, hint=hint))


def gunzip(content: bytes, location: str, largest: int = LARGEST_TEXT) -> bytes:
    """The content of a gzip file of one or several members, within the limits of size."""
    most = min(largest, max(PACKED_FREE, MOST_RATIO * len(content)))
    unpacked = bytearray()
    with translate_errors(location, "a gzip file"), GzipReader(io.BytesIO(content), location) as file:
        while part := file.read(_CHUNK):
            unpacked += part
            if len(unpacked) > most:
                refuse_packed(len(unpacked), len(content), location)
    require_room(len(unpacked), location)
    return bytes(unpacked)


def check_unpacked(size: int, packed: int, location: str) -> None:
    """Refuse a compressed file by the size that it declares, if that is implausible or does not fit in memory."""
    check_ratio(size, packed, location)
    require_room(size, location)


def check_ratio(size: int, packed: int, location: str) -> None:
    """Refuse a compressed file by the size that it declares, if that is implausible."""
    if size > max(PACKED_FREE, MOST_RATIO * packed):
        refuse_packed(size, packed, location)


def require_room(size: int, location: str) -> None:
    """Refuse to read what would take more than half of the memory."""
    available = memory()
    if available is not None and size > available // 2:
        _refuse_size(f"{size:,} bytes in memory", f"half of this machine's, {available // 2:,}", location)


def check_table(cells: int, location: str) -> None:
    """Refuse a table of too many cells, or one that does not fit in memory."""
    if cells > MOST_CELLS:
        _refuse_size(f"{cells:,} cells", f"{MOST_CELLS:,}", location)
    require_room(cells * CELL_BYTES, location)


def check_pixels(width: int, height: int, location: str) -> None:
    """Refuse an image by the size in its header, before its pixels are decoded."""
    if width * height > MOST_PIXELS:
        _refuse_size(f"{width:,} x {height:,} pixels", f"{MOST_PIXELS:,} pixels", location, "make the image smaller")


def refuse_packed(size: int, packed: int, location: str) -> NoReturn:
    """Raise the NablacError of a compressed file that unpacks to too much."""
    limit = f"{PACKED_FREE:,} bytes, or {MOST_RATIO} times its own size"
    raise NablacError(
        Diagnostic(
            codes.E913,
            f"this file of {packed:,} bytes unpacks to {size:,} bytes or more, and the limit is {limit}",
            place=location,
            hint="if you trust it, unpack it yourself; or use a part of it",
        )
    )


def _check_size(content: bytes, largest: int, location: str) -> bytes:
    if len(content) > largest:
        _refuse_size(f"more than {largest:,} bytes", f"{largest:,}", location)
    return content


def _refuse_size(size: str, limit: str, location: str, hint: str = "use a part of it") -> NoReturn:
    raise NablacError(
        Diagnostic(codes.E913, f"this file has {size}, and the limit is {limit}", place=location, hint=hint)
    )


def folder_for_file(location: str) -> NablacError:
    """The error for a folder where a file is expected."""
    return NablacError(
        Diagnostic(codes.E902, "this is a folder; expected a file", place=location, hint="name a file in it")
    )


def _not_a_file(location: str) -> NablacError:
    hint = "copy its contents to a file, and name that"
    return NablacError(Diagnostic(codes.E914, "this is a device or a pipe, not a file", place=location, hint=hint))


def _cannot_read(error: Exception, location: str) -> NablacError:
    return NablacError(Diagnostic(codes.E903, "the file cannot be read", place=location, note=reason_of(error)))
