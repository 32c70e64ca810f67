"""Arrays in NumPy's files, whose rows stay there until a batch reads them."""

from __future__ import annotations

import os
import zipfile
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from runtime.boundary import BEGINNING, check_ratio, open_regular, translate_errors
from runtime.data.file_rows import FileRows, Scratch
from runtime.data.source_files import check_unchanged, file_state
from runtime.data.stored_rows import row_blocks
from runtime.numpy_files import Header, open_archive, read_header

if TYPE_CHECKING:
    from collections.abc import Callable


_CHUNK = 1 << 20
_LOCAL_HEADER, _NAME_LENGTH, _EXTRA_LENGTH = 30, 26, 28  # of an entry, and where the lengths are in it


def stored_arrays(path: Path) -> dict[str, FileRows]:
    """The arrays of a `.npy` file, by the name of the file, or of an `.npz` file, by theirs.

    Arrays are read where they are; those that are compressed, or do not lie row after row, from scratch files.
    NablacError for anything else, and for an archive whose checksums do not agree.
    """
    location = str(path)
    file = open_regular(path)
    state = file_state(file.fileno())
    check = partial(_check, file, state, location)
    beginning = file.read(BEGINNING)
    size = os.fstat(file.fileno()).st_size
    if beginning.startswith(np.lib.format.MAGIC_PREFIX):
        with translate_errors(location, "a .npy file of a plain array"):
            file.seek(0)
            return {path.stem: _by_rows(file, 0, read_header(file, size), location, check)}
    with open_archive(file, location) as (archive, packed):
        entries = archive.infolist()
        check_ratio(sum(entry.file_size for entry in entries), packed, location)
        arrays = {
            entry.filename.removesuffix(".npy"): _entry(file, archive, entry, location, check) for entry in entries
        }
    check()
    return arrays


def _check(file: IO[bytes], state: object, location: str) -> None:
    check_unchanged(state, file_state(file.fileno()), location)  # type: ignore[arg-type]


def _entry(
    file: IO[bytes], archive: zipfile.ZipFile, entry: zipfile.ZipInfo, location: str, check: Callable[[], None]
) -> FileRows:
    """The array of an entry, all of which is read once: its checksum may not agree."""
    with archive.open(entry) as opened:
        header = read_header(opened, entry.file_size)
        if entry.compress_type == zipfile.ZIP_STORED:
            while opened.read(_CHUNK):
                pass
            file.seek(entry.header_offset)
            local = file.read(_LOCAL_HEADER)
            lengths = (int.from_bytes(local[at : at + 2], "little") for at in (_NAME_LENGTH, _EXTRA_LENGTH))
            return _by_rows(file, entry.header_offset + _LOCAL_HEADER + sum(lengths), header, location, check)
        scratch = Scratch((), np.dtype(np.uint8), location)
        while part := opened.read(_CHUNK):
            scratch.add(np.frombuffer(part, np.uint8))
    if scratch.count != header.size:
        raise EOFError("it is truncated")
    return _by_rows(scratch.rows().file, -header.offset, header, location, lambda: None)


def _by_rows(file: IO[bytes], start: int, header: Header, location: str, check: Callable[[], None]) -> FileRows:
    """The rows of an array whose header begins at a byte of a file."""
    shape, offset = header.shape, start + header.offset
    if not header.by_columns or len(shape) < 2:
        return FileRows(file, offset, shape, header.dtype, location, check)
    # Each of its numbers of an example lies with those of all other examples.
    count, numbers = shape[0], shape[1:]
    columns = FileRows(file, offset, (header.size // header.dtype.itemsize,), header.dtype, location, check)
    scratch = Scratch(numbers, header.dtype, location)
    size = int(np.prod(numbers))
    for rows in row_blocks(FileRows(file, offset, shape, header.dtype, location)):
        block = np.stack([columns.read(rows + number * count) for number in range(size)])
        scratch.add(block.reshape(*numbers[::-1], len(rows)).T)
    return scratch.rows()
