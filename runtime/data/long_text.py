"""Texts of files that are read in parts, as often as they are needed, so that they may be larger than memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from grammar.file_kinds import GZIP, kind_of
from runtime.boundary import (
    BEGINNING,
    MOST_RATIO,
    PACKED_FREE,
    GzipReader,
    open_regular,
    refuse_packed,
    translate_errors,
)
from runtime.data.file_rows import most_in_memory
from runtime.data.source_files import FileState, file_state, unchanged
from runtime.data.text_lines import decoded_parts

_KEPT = 1 / 16  # characters that are kept in memory for each byte of `most_in_memory`


@dataclass(frozen=True, eq=False)
class FileText:
    """The text of a file, of `size` characters; `kept` are its parts, where they stay in memory."""

    path: Path
    size: int
    kept: tuple[str, ...] | None = None
    state: FileState | None = None  # of the file, where it is read again

    @staticmethod
    def read(path: Path, room: int) -> FileText:
        """Read a file for the first time; up to `room` characters are kept. NablacError for what is not text."""
        state, size = file_state(path), 0
        kept: list[str] = []
        for part in _parts_of(path, None):
            size += len(part)
            if size <= room:
                kept.append(part)
        return FileText(path, size, tuple(kept), None) if size <= room else FileText(path, size, None, state)

    def parts(self) -> Iterable[str]:
        """The text in parts. NablacError (E821) if the file has changed."""
        return self.kept if self.kept is not None else _parts_of(self.path, self.state)


class LongText:
    """The texts of several files, with a line break between them, of `size` characters."""

    def __init__(self, path: str = "") -> None:
        self.path = path  # of the file or folder
        self.files: list[FileText] = []
        self._room = int(most_in_memory() * _KEPT)

    @property
    def size(self) -> int:
        """The number of characters."""
        return sum(file.size for file in self.files) + max(0, len(self.files) - 1)

    def add(self, path: Path) -> None:
        """Add the text of a file. NablacError for what is not text, which is not added."""
        self._append(FileText.read(path, self._room))

    def add_text(self, path: Path, text: str) -> None:
        """Add a text that was taken out of a file."""
        self._append(FileText(path, len(text), (text,)))

    def _append(self, file: FileText) -> None:
        self.files.append(file)
        self._room -= file.size if file.kept is not None else 0

    def parts(self, count: int | None = None) -> Iterator[str]:
        """The text in parts, or its first `count` characters. NablacError (E821) if a file has changed."""
        left = self.size if count is None else count
        for part in self._all_parts():
            if left <= 0:
                return
            yield part[:left] if len(part) > left else part
            left -= len(part)

    def _all_parts(self) -> Iterator[str]:
        for number, file in enumerate(self.files):
            if number:
                yield "\n"
            yield from file.parts()


def _parts_of(path: Path, since: FileState | None) -> Iterator[str]:
    with unchanged(path, since), open_regular(path) as file:
        beginning = file.read(BEGINNING)
        file.seek(0)
        if kind_of(beginning) != GZIP:
            yield from decoded_parts(file, str(path), "a text")
        else:
            yield from decoded_parts(_Unpacked(file, str(path)), str(path), "a text")


class _Unpacked:
    """The content of a gzip file, within the limits of size."""

    def __init__(self, file: BinaryIO, location: str) -> None:
        self.location = location
        self.packed = os.fstat(file.fileno()).st_size
        self.unpacked = 0
        self.file = GzipReader(file, location)

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end of the file."""
        with translate_errors(self.location, "a gzip file"):
            part = self.file.read(size)
        self.unpacked += len(part)
        if self.unpacked > max(PACKED_FREE, MOST_RATIO * self.packed):
            refuse_packed(self.unpacked, self.packed, self.location)
        return part
