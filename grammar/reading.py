"""Reads a `.model` file from disk, or tells why it is not one."""

from __future__ import annotations

import math
import os
import stat
import time
from pathlib import Path

from grammar import mistakes
from grammar.diagnostics import NablacError
from grammar.file_kinds import ARRAYS, LFS_POINTER, NPY, NPZ, ONNX, TRAINED, encoding_of, kind_of
from grammar.limits import MOST_BYTES
from grammar.source import Source

WAIT = 5.0  # seconds until something must be written into a pipe
PAUSE = 0.01  # seconds

_SUFFIXES = {
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a checkpoint",
    ".h5": "an HDF5 file",
    ".keras": "a Keras file",
    ".safetensors": "a file of weights",
    ".pkl": "a Python pickle",
    ".pickle": "a Python pickle",
    ".gguf": "a GGUF file",
    ".tflite": "a TensorFlow Lite file",
    ".pb": "a protocol buffer",
}
_SUFFIXES_OF_ARRAYS = {".npz": NPZ, ".npy": NPY}


def read_source(path: str | os.PathLike[str]) -> Source:
    """The text of a file; raises NablacError if it cannot be read or is not a model."""
    name = os.fspath(path)
    return source_of(name, _content(name))


def source_of(name: str, content: bytes) -> Source:
    """The text in the bytes of a file or a stream; raises NablacError if it is not a model."""
    if len(content) > MOST_BYTES:
        _refuse_other_kinds(name, content)
        raise NablacError(mistakes.file_too_large(name))
    if kind_of(content) == LFS_POINTER:
        raise NablacError(mistakes.lfs_pointer(name))
    _refuse_other_kinds(name, content)
    if encoding_of(content) != "utf-8-sig":
        raise NablacError(mistakes.other_encoding(name, encoding_of(content)))
    if b"\0" in content:
        raise NablacError(mistakes.binary(name, f"a zero byte at offset {content.index(0)}"))
    try:
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NablacError(mistakes.not_utf8(name, line, content[error.start])) from None


def _content(name: str) -> bytes:
    try:
        kind = os.stat(name).st_mode
        if stat.S_ISDIR(kind):
            raise NablacError(mistakes.is_directory(name))
        if not stat.S_ISREG(kind) and not stat.S_ISFIFO(kind):
            raise NablacError(mistakes.unreadable(name, "it is a device or a socket"))
        content = read_pipe(name, MOST_BYTES + 1) if stat.S_ISFIFO(kind) else _from_file(name)
    except FileNotFoundError:
        raise NablacError(mistakes.missing_file(name, models_beside(name))) from None
    except NotADirectoryError:
        raise NablacError(mistakes.missing_file(name, ())) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NablacError(mistakes.unreadable(name, reason.lower())) from None
    return content


def _from_file(name: str) -> bytes:
    with open(name, "rb") as file:
        return file.read(MOST_BYTES + 1)


def read_pipe(name: str, most: int) -> bytes:
    """At most `most` bytes of what is written into a pipe, as by `<(...)` in a shell.

    NablacError if nothing writes into it within `WAIT` seconds.
    """
    parts: list[bytes] = []
    remaining, pipe = most, os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    deadline = time.monotonic() + WAIT
    try:
        while remaining > 0:
            try:
                chunk = os.read(pipe, min(remaining, 1 << 20))
            except BlockingIOError:  # it has a writer, but no bytes yet
                deadline = math.inf
                chunk = b""
            else:
                if not chunk and (parts or deadline == math.inf):
                    break
                if chunk:
                    parts.append(chunk)
                    remaining -= len(chunk)
            if not chunk:
                if time.monotonic() > deadline:
                    raise NablacError(mistakes.unreadable(name, "it is a pipe, and nothing writes into it"))
                time.sleep(PAUSE)
    finally:
        os.close(pipe)
    return b"".join(parts)


def _refuse_other_kinds(name: str, content: bytes) -> None:
    is_text = content.isascii() and b"\0" not in content[:4096]
    kind = kind_of(content)
    if kind == ONNX or (name.lower().endswith(".onnx") and not is_text):
        raise NablacError(mistakes.onnx_file(name))
    suffix = Path(name).suffix.lower()
    if kind in ARRAYS or (kind is None and suffix in _SUFFIXES_OF_ARRAYS and not is_text):
        raise NablacError(mistakes.file_of_arrays(name, kind or _SUFFIXES_OF_ARRAYS[suffix]))
    trained = kind if kind in TRAINED else None if is_text else _SUFFIXES.get(suffix)
    if trained is not None:
        raise NablacError(mistakes.trained_model(name, trained))
    if kind is not None:
        raise NablacError(mistakes.binary(name, f"it is {kind}"))


def models_beside(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The model files in the folder of a missing one."""
    folder = os.path.dirname(path)
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for _, entry in zip(range(1000), entries, strict=False)]
    except OSError:
        return ()
    return tuple(os.path.join(folder, name) for name in names if name.endswith(".model"))
