"""Rows of numbers in an open file: those of NumPy's files where they lie, and those of scratch files."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from math import prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from compiler.byte_sizes import bytes_of
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.table import cache_folder
from runtime.data.stored_rows import StoredRows

if TYPE_CHECKING:
    from compiler.types import Array

VARIABLE = "NABLAC_IN_MEMORY"  # the environment variable that sets it
_IN_MEMORY = 256 << 20
_SKIPPED = 1 << 12  # bytes between two rows that are read along rather than skipped


def most_in_memory() -> int:
    """The bytes of a data file, or of the windows of a table, above which rows stay on disk until a batch reads them.

    NablacError for a value of the environment variable that is not a size.
    """
    text = os.environ.get(VARIABLE, "").strip()
    count = bytes_of(text) if text else _IN_MEMORY
    if count is None:
        hint = "write a number with a unit: 500MB, or 2GiB"
        raise NablacError(Diagnostic(codes.E605, f"`{text:.40}` is not a size", place=VARIABLE, hint=hint))
    return count


class FileRows(StoredRows):
    """Rows that follow each other from a byte of a file on; the file stays open as long as they are there.

    They are read, not mapped: a file that another program cuts off ends in a message, not in a signal. `check` is
    called after each reading, and raises NablacError where the file is no longer what it was.
    """

    def __init__(
        self,
        file: IO[bytes],
        offset: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        path: str,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.file, self.offset, self.path, self.check = file, offset, path, check
        self.shape, self.dtype = shape, dtype
        self.lock = threading.Lock()
        self.bytes = prod(shape[1:]) * dtype.itemsize  # of a row

    def read(self, rows: Array) -> Array:
        """Rows of the file; those that lie beside each other are read together, or all that lie near each other."""
        whole = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if not whole.size:
            return whole
        target = whole.reshape(len(rows), -1).view(np.uint8)
        beside = np.flatnonzero(np.diff(rows) != 1) + 1
        order = np.argsort(rows, kind="stable") if len(beside) > 1 else rows[:0]
        ordered = rows[order]
        near = np.flatnonzero(np.diff(ordered) * self.bytes > self.bytes + _SKIPPED) + 1
        if len(beside) > 2 * len(near) + 1:
            for start, end in zip([0, *near.tolist()], [*near.tolist(), len(rows)], strict=True):
                first, last = int(ordered[start]), int(ordered[end - 1])
                part = np.empty((last - first + 1, self.bytes), np.uint8)
                self._read_into(part.reshape(-1).data, first)
                target[order[start:end]] = part[ordered[start:end] - first]
        else:
            view: memoryview = target.reshape(-1).data
            firsts = rows[[0, *beside]].tolist()
            for first, start, end in zip(firsts, [0, *beside.tolist()], [*beside.tolist(), len(rows)], strict=True):
                self._read_into(view[start * self.bytes : end * self.bytes], first)
        self.check()
        return whole

    def spans(self, starts: Array, width: int) -> Array:
        """`width` consecutive rows from each of these on: [starts, width, *shape[1:]]."""
        whole = np.empty((len(starts), width, *self.shape[1:]), self.dtype)
        target = whole.reshape(len(starts), -1).view(np.uint8)
        for part, first in zip(target, starts.tolist(), strict=True):
            self._read_into(part.data, first)
        self.check()
        return whole

    def _read_into(self, view: memoryview, first: int) -> None:
        start = self.offset + first * self.bytes
        while len(view):
            count = self._read_at(view, start)
            if not count:
                self.check()
                raise NablacError(Diagnostic(codes.E821, "the file ends before its numbers do", place=self.path))
            view, start = view[count:], start + count

    def _read_at(self, view: memoryview, start: int) -> int:
        """Fill some of a view from a byte on; how much of it."""
        if hasattr(os, "preadv"):
            return os.preadv(self.file.fileno(), [view], start)
        with self.lock:  # Windows knows one position of an open file
            self.file.seek(start)
            return int(self.file.readinto(view))  # type: ignore[attr-defined]


class Scratch:
    """A file without a name that rows are written to one after the other, and then read from.

    The system removes it when the process ends, however that comes about.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], path: str) -> None:
        self.shape, self.dtype, self.path = shape, dtype, path
        self.count = 0
        self.file = tempfile.TemporaryFile(dir=_folder())  # noqa: SIM115 - open as long as its rows are

    def add(self, rows: Array) -> None:
        """Write rows of examples of the shape; NablacError where the disk is full."""
        try:
            self.file.write(np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise self._no_room(error) from None
        self.count += len(rows)

    def rows(self) -> FileRows:
        """All rows that were written."""
        try:
            self.file.flush()
        except OSError as error:
            raise self._no_room(error) from None
        return FileRows(self.file, 0, (self.count, *self.shape), self.dtype, self.path)

    def _no_room(self, error: OSError) -> NablacError:
        message = f"the numbers of {self.path} do not fit on the disk of {_folder() or tempfile.gettempdir()}"
        hint = "make room there, or name a folder on a larger disk in the environment variable TMPDIR"
        note = error.strerror
        return NablacError(Diagnostic(codes.E913, message, place=self.path, note=note, hint=hint))


def _folder() -> str | None:
    """The folder of scratch files: TMPDIR, else the user's cache, as the system's own may be in memory."""
    folder = cache_folder() if "TMPDIR" not in os.environ else None
    if folder is None:
        return None
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None
