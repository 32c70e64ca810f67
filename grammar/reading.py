"""A `.model` file from disk, or why it is not one."""

from __future__ import annotations

import math
import os
import stat
import time
from pathlib import Path

from grammar import mistakes
from grammar.diagnostics import NablacError
from grammar.file_kinds import LFS_POINTER, ONNX, TRAINED, encoding_of, kind_of
from grammar.limits import MOST_BYTES
from grammar.source import Source

WAIT = 5.0  # seconds for somebody to write into a pipe
PAUSE = 0.01

_SUFFIXES = {
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a checkpoint",
    ".h5": "an HDF5 file",
    ".keras": "a Keras file",
    ".safetensors": "a file of weights",
    ".npz": "NumPy arrays",
    ".npy": "a NumPy array",
    ".pkl": "a Python pickle",
    ".pickle": "a Python pickle",
    ".gguf": "a GGUF file",
    ".tflite": "a TensorFlow Lite file",
    ".pb": "a protocol buffer",
}


def read_source(path: str | os.PathLike[str]) -> Source:
    """The text of a file; raises NablacError where there is none to read."""
    name = os.fspath(path)
    content = _content(name)
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
    if len(content) > MOST_BYTES:
        _refuse_other_kinds(name, content)
        raise NablacError(mistakes.file_too_large(name))
    return content


def _from_file(name: str) -> bytes:
    with open(name, "rb") as file:
        return file.read(MOST_BYTES + 1)


def read_pipe(name: str, most: int) -> bytes:
    """At most `most` bytes that are written into a pipe, as by `<(...)` of a shell.

    For a writer who never comes nobody waits without end.
    """
    parts: list[bytes] = []
    left, pipe = most, os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    until = time.monotonic() + WAIT
    try:
        while left > 0:
            try:
                found = os.read(pipe, min(left, 1 << 20))
            except BlockingIOError:  # there is a writer, who has nothing yet
                until = math.inf
                found = b""
            else:
                if not found and (parts or until == math.inf):
                    break
                if found:
                    parts.append(found)
                    left -= len(found)
            if not found:
                if time.monotonic() > until:
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
    found = kind if kind in TRAINED else None if is_text else _SUFFIXES.get(Path(name).suffix.lower())
    if found is not None:
        raise NablacError(mistakes.trained_model(name, found))
    if kind is not None:
        raise NablacError(mistakes.binary(name, f"it is {kind}"))


def models_beside(name: str | os.PathLike[str]) -> tuple[str, ...]:
    """The model files of the folder where the missing one was looked for."""
    folder = os.path.dirname(name)
    try:
        with os.scandir(folder or ".") as entries:
            found = [entry.name for _, entry in zip(range(1000), entries, strict=False)]
    except OSError:
        return ()
    return tuple(os.path.join(folder, each) for each in found if each.endswith(".model"))
