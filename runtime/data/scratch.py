"""Numbers that are written once and read in pieces: in memory while they are few, else in a file without a name."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

import numpy as np

from runtime.atomic_files import Unwritable

if TYPE_CHECKING:
    from compiler.types import Array

_IN_MEMORY = 64 << 20  # bytes
_AT_ONCE = 1 << 20  # numbers that are read together
_SPARSE = 4  # pieces that are further apart than this times their length are read one by one


class Scratch:
    """A row of numbers of one dtype. The file is in the folder for temporary files, and goes with the process.

    Reading is safe from several threads.
    """

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self.dtype = dtype
        self._count = 0
        self._parts: list[Array] = []
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def append(self, numbers: Array) -> None:
        """Write more numbers, which the dtype holds. Unwritable (E904) on a full disk."""
        numbers = np.ascontiguousarray(numbers, self.dtype)
        self._count += len(numbers)
        if self._file is not None:
            self._write(numbers)
            return
        self._parts.append(numbers)
        if self._count * self.dtype.itemsize > _IN_MEMORY:
            try:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # it closes with the object
            except OSError as error:
                raise Unwritable(tempfile.gettempdir(), error) from error
            for part in self._parts:
                self._write(part)
            self._parts = []

    def _write(self, numbers: Array) -> None:
        assert self._file is not None
        left = memoryview(numbers.view(np.uint8).data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise Unwritable(tempfile.gettempdir(), error) from error

    def read(self, first: int, count: int) -> Array:
        """Consecutive numbers."""
        if self._file is None:
            if len(self._parts) != 1:
                self._parts = [np.concatenate([np.zeros(0, self.dtype), *self._parts])]
            return self._parts[0][first : first + count]
        numbers = np.empty(max(0, min(count, self._count - first)), self.dtype)
        left = memoryview(numbers.view(np.uint8).data)
        with self._lock:
            self._file.seek(first * self.dtype.itemsize)
            while left:
                left = left[self._file.readinto(left) :]  # type: ignore[attr-defined]
        return numbers

    def blocks(self, count: int) -> Iterator[Array]:
        """The first numbers, some at a time."""
        for start in range(0, count, _AT_ONCE):
            yield self.read(start, min(_AT_ONCE, count - start))

    def gather(self, starts: Array, width: int) -> Array:
        """Pieces [of these starts, width]."""
        if not len(starts):
            return np.zeros((0, width), self.dtype)
        first, end = int(starts.min()), int(starts.max()) + width
        if self._file is not None and end - first > _SPARSE * width * len(starts):
            return np.stack([self.read(start, width) for start in starts.tolist()])
        pieces: Array = self.read(first, end - first)[(starts - first)[:, None] + np.arange(width)]
        return pieces
