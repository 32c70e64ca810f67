"""Reading NumPy's `.npy` and `.npz` files: plain arrays with verified headers; nothing is ever unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy_format

from grammar import codes
from grammar.file_kinds import NPY, NPZ, ZIP
from runtime.boundary import (
    BEGINNING,
    MOST_ENTRIES,
    check_unpacked,
    open_regular,
    refuse_empty,
    refuse_other_kinds,
    require_room,
    translate_errors,
)

if TYPE_CHECKING:
    from compiler.types import Array

_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
_CHUNK = 1 << 20
_OBJECTS = "it holds Python objects, not numbers"


def read_npy(content: bytes, location: str, code: codes.Code = codes.E821) -> Array:
    """The array of a `.npy` file's bytes; NablacError with `code` for anything else."""
    refuse_empty(content, location)
    refuse_other_kinds(content, "a .npy file", location, code, but=(NPY,))
    with translate_errors(location, "a .npy file of a plain array", code):
        if not content.startswith(npy_format.MAGIC_PREFIX):
            raise ValueError("its first bytes are not those of the format")
        return _array(io.BytesIO(content), len(content), location)


def read_npz(source: Path | bytes, location: str, code: codes.Code = codes.E821) -> dict[str, Array]:
    """The arrays of an `.npz` file by name; NablacError with `code` for anything else."""
    opened = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source, location)
    with opened as file, open_archive(file, location, code) as (archive, packed):
        entries = archive.infolist()
        check_unpacked(sum(entry.file_size for entry in entries), packed, location)
        return {entry.filename.removesuffix(".npy"): _entry(archive, entry, location) for entry in entries}


def unpacked_size(file: IO[bytes], location: str) -> int:
    """The bytes of all arrays of an `.npz` file, as it declares them; NablacError for another file."""
    with open_archive(file, location) as (archive, _):
        return sum(entry.file_size for entry in archive.infolist())


@contextmanager
def open_archive(
    file: IO[bytes], location: str, code: codes.Code = codes.E821
) -> Iterator[tuple[zipfile.ZipFile, int]]:
    """The archive in a file, and the bytes of it; NablacError for another file, and for errors within the block."""
    with translate_errors(location, "an .npz file of plain arrays", code):
        file.seek(0)
        beginning = file.read(BEGINNING)
        refuse_empty(beginning, location)
        refuse_other_kinds(beginning, "an .npz file", location, code, but=(NPZ, ZIP))
        packed = file.seek(0, io.SEEK_END)
        if not zipfile.is_zipfile(file):
            raise ValueError(
                "it is truncated" if beginning.startswith(b"PK") else "its first bytes are not those of the format"
            )
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ENTRIES:
                raise ValueError(f"it has {len(entries):,} entries, and the limit is {MOST_ENTRIES:,}")
            wrong = next((entry.filename for entry in entries if not entry.filename.endswith(".npy")), None)
            if wrong is not None:
                raise ValueError(f"its entry `{wrong}` is not an array")
            yield archive, packed


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, location: str) -> Array:
    with archive.open(entry) as file:
        return _array(file, entry.file_size, f"{location}: {entry.filename}")


def _array(file: IO[bytes], size: int, location: str) -> Array:
    """The array in a file of `size` bytes, whose header is not trusted."""
    header = read_header(file, size)
    require_room(header.size, location)
    flat = np.frombuffer(_bytes(file, header.size), header.dtype, math.prod(header.shape))
    return flat.reshape(header.shape[::-1]).T if header.by_columns else flat.reshape(header.shape)


@dataclass(frozen=True)
class Header:
    """What a `.npy` file says of its numbers, which begin at the byte `offset`."""

    shape: tuple[int, ...]
    by_columns: bool  # whether the first axis changes fastest
    dtype: np.dtype[Any]
    offset: int

    @property
    def size(self) -> int:
        """Bytes of all numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], size: int) -> Header:
    """The header of a file of `size` bytes, checked; ValueError for anything that is not a plain array."""
    version = npy_format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format has version {'.'.join(map(str, version))}; expected 1.0 or 2.0")
    shape, by_columns, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError(_OBJECTS)
    if any(axis < 0 for axis in shape):
        raise ValueError(f"its header declares the shape {list(shape)}")
    needed, available = math.prod(shape) * dtype.itemsize, size - file.tell()
    if needed > available:
        raise ValueError(f"its header declares {needed:,} bytes of numbers; the file has {max(available, 0):,}")
    return Header(shape, by_columns, dtype, file.tell())


def _bytes(file: IO[bytes], size: int) -> bytearray:
    """The next `size` bytes, in writable memory."""
    content = bytearray(size)
    view = memoryview(content)
    start = 0
    while start < size:
        part = file.read(min(_CHUNK, size - start))
        if not part:
            raise EOFError("it is truncated")
        view[start : start + len(part)] = part
        start += len(part)
    return content
