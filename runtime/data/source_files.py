"""The bytes of data files, and errors for files that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import LARGEST_TEXT, gunzip, read_file


def content_of(path: Path) -> bytes:
    """The bytes of a regular file, decompressed if it is gzipped; NablacError for more than LARGEST_TEXT of them."""
    with unchanged(path):
        content = read_file(path, LARGEST_TEXT)
    return unpack(content, str(path))


FileState = tuple[tuple[int, int], int, int]


@contextmanager
def unchanged(path: Path, since: FileState | None = None) -> Iterator[None]:
    """NablacError where a file is written to while it is read within the block, in place of what it then looks like.

    A new file in its place does no harm: what was opened is read to its end. With `since`, its state when it was first
    read, any other state is an error.
    """
    before = file_state(path)
    if since is not None and before is not None and before != since:
        raise changed_file(str(path), since, before)

    def check() -> None:
        check_unchanged(before, file_state(path), str(path))

    try:
        yield
    except NablacError:
        check()
        raise
    check()


def file_size(path: str) -> int:
    """The bytes of a file; 0 of one that is not there."""
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return 0


def check_unchanged(before: FileState | None, after: FileState | None, path: str) -> None:
    """NablacError where a file is the same, and was written to."""
    if before is not None and after is not None and after[0] == before[0] and after != before:
        raise changed_file(path, before, after)


def changed_file(path: str, before: FileState, after: FileState) -> NablacError:
    """The error for a file that is no longer what it was."""
    was, now = f"{before[1]:,}", f"{after[1]:,}"
    note = f"it had {was} bytes and now has {now}" if was != now else "another program has written to it"
    hint = "wait until it is written, or read a copy"
    return NablacError(Diagnostic(codes.E821, "the file changed while it was read", place=path, note=note, hint=hint))


def file_state(path: Path | int) -> FileState | None:
    """Which file, at a path or open, it is, its size, and when it was last written; None for one that is not there."""
    try:
        facts = os.fstat(path) if isinstance(path, int) else os.stat(path)
    except (OSError, ValueError):
        return None
    return (facts.st_dev, facts.st_ino), facts.st_size, facts.st_mtime_ns


def unpack(content: bytes, location: str) -> bytes:
    """Decompress bytes that may be gzipped."""
    return gunzip(content, location) if content[:2] == b"\x1f\x8b" else content


def unreadable(location: str, what: str, error: Exception) -> NablacError:
    """The error for a file of another format than expected."""
    first = " ".join(str(error).split())[:160]
    return NablacError(Diagnostic(codes.E821, f"this cannot be read as {what}: {first}", place=location))
