"""Images that stay in their files until a batch asks for them; of some the pixels are kept, as bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.thread_pools import thread_pool
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span
from runtime.data.file_rows import most_in_memory
from runtime.data.source_files import content_of
from runtime.data.stored_rows import StoredRows
from runtime.extras import missing_extra
from runtime.image_file import numbers_of, read_pixels
from runtime.thread_limits import available_threads

if TYPE_CHECKING:
    from compiler.types import Array

_MOST_THREADS = 8
_AHEAD = 2 * _MOST_THREADS  # images that are decoded before the first of them is looked at
_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Decoding:
    """How files become images: in how many channels, and of which size; 0 keeps that of the file."""

    channels: int
    side: int

    def pixels(self, file: Path, content: bytes, notes: list[str]) -> Array:
        """The pixels of a file, which `numbers_of` takes."""
        side = self.side
        return read_pixels(
            content, str(file), self.channels, lambda height, width: (side or height, side or width), notes.append
        )


@dataclass(frozen=True, eq=False)
class Picture:
    """A file that was decoded: its pixels, or the error of one that is broken, and what is lost of the file."""

    file: Path
    pixels: Array | None = None
    error: NablacError | None = None
    content: bytes = b""  # a digest of the bytes of the file
    notes: list[str] = field(default_factory=list)


def decoded(files: Sequence[Path], decoding: Decoding, span: Span | None) -> Iterator[Picture]:
    """All files in order, on several threads, some ahead; NablacError without Pillow."""

    def decode(file: Path) -> Picture:
        notes: list[str] = []
        try:
            content = content_of(file)
            return Picture(file, decoding.pixels(file, content, notes), None, _digest(content), notes)
        except NablacError as error:
            return Picture(file, error=error, notes=notes)
        except ImportError:
            raise missing_extra("images", "image", span) from None

    ahead: deque[Future[Picture]] = deque()
    for file in files:
        ahead.append(_threads().submit(decode, file))
        if len(ahead) > _AHEAD:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


class Pictures:
    """The images of a folder, of one size, as they are read for the first time."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding
        self.files: list[Path] = []
        self._contents: list[bytes] = []
        self._kept: list[Array] = []  # of the first files
        self._bytes = 0
        self._most = most_in_memory()
        self.shape: tuple[int, ...] | None = None  # of an image

    def add(self, picture: Picture) -> None:
        """One more image, of the same size."""
        pixels = picture.pixels
        assert pixels is not None
        self.files.append(picture.file)
        self._contents.append(picture.content)
        self.shape = (self.decoding.channels, *pixels.shape[:2])
        self._bytes += pixels.nbytes
        if self._bytes <= self._most:
            self._kept.append(pixels)

    def rows(self) -> Array | StoredRows:
        """All images f32[images, channels, height, width]: an array where that is small."""
        assert self.shape is not None
        shape = (len(self.files), *self.shape)
        rows = ImageRows(tuple(self.files), tuple(self._contents), tuple(self._kept), self.decoding, shape)
        small = int(np.prod(shape)) * rows.dtype.itemsize <= self._most
        return rows[:] if small else rows


@dataclass(frozen=True, eq=False)
class ImageRows(StoredRows):
    """The images of files f32[images, channels, height, width]; of the first ones the pixels are kept."""

    files: tuple[Path, ...]
    contents: tuple[bytes, ...]  # digests of the bytes of the files
    kept: tuple[Array, ...]
    decoding: Decoding
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic] = _FLOAT32

    def read(self, rows: Array) -> Array:
        """Images by index. NablacError (E821) for a file whose content is not what it was at first."""
        images = np.empty((len(rows), *self.shape[1:]), np.float32)

        def fill(at: int) -> None:
            images[at] = numbers_of(self._pixels(int(rows[at])), self.decoding.channels)

        absent = np.flatnonzero(rows >= len(self.kept))
        filling = _threads().map(fill, absent.tolist()) if len(absent) else ()
        for at in np.flatnonzero(rows < len(self.kept)).tolist():
            fill(at)
        for _ in filling:  # raises what a thread raised, in the order of the rows
            pass
        return images

    def _pixels(self, row: int) -> Array:
        if row < len(self.kept):
            return self.kept[row]
        file = self.files[row]
        content = content_of(file)
        if _digest(content) != self.contents[row]:
            hint = "train on a copy that stays as it is"
            message = "the file has changed since it was first read"
            raise NablacError(Diagnostic(codes.E821, message, place=str(file), hint=hint))
        return self.decoding.pixels(file, content, [])


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=8).digest()


def _threads() -> ThreadPoolExecutor:
    """Threads that decode: Pillow lets others run meanwhile."""
    return thread_pool("images", min(available_threads(), _MOST_THREADS))
