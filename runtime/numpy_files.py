"""Reading NumPy's `.npy` and `.npz` files: plain arrays with verified headers; nothing is ever unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.lib import format as npy_format

from grammar import codes
from grammar.file_kinds import NPY, NPZ, ZIP
from runtime.boundary import (
    BEGINNING,
    MOST_ENTRIES,
    check_unpacked,
    open_regular,
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
    refuse_other_kinds(content, "a .npy file", location, code, but=(NPY,))
    with translate_errors(location, "a .npy file of a plain array", code):
        if not content.startswith(npy_format.MAGIC_PREFIX):
            raise ValueError("its first bytes are not those of the format")
        return _array(io.BytesIO(content), len(content), location)


def read_npz(source: Path | bytes, location: str, code: codes.Code = codes.E821) -> dict[str, Array]:
    """The arrays of an `.npz` file by name; NablacError with `code` for anything else."""
    opened = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source, location)
    with opened as file, translate_errors(location, "an .npz file of plain arrays", code):
        beginning = file.read(BEGINNING)
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
            check_unpacked(sum(entry.file_size for entry in entries), packed, location)
            return {entry.filename.removesuffix(".npy"): _entry(archive, entry, location) for entry in entries}


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, location: str) -> Array:
    if not entry.filename.endswith(".npy"):
        raise ValueError(f"its entry `{entry.filename}` is not an array")
    with archive.open(entry) as file:
        return _array(file, entry.file_size, f"{location}: {entry.filename}")


def _array(file: IO[bytes], size: int, location: str) -> Array:
    """The array in a file of `size` bytes, whose header is not trusted."""
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
    require_room(needed, location)
    flat = np.frombuffer(_bytes(file, needed), dtype, math.prod(shape))
    return flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)


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
