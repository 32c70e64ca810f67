"""Standard output and error: always open, and with write errors distinguished from other errors."""

from __future__ import annotations

import io
import os
import sys
from typing import BinaryIO

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


class OutputFailed(NablacError):
    """Writing to standard output failed: the disk is full, or the stream is closed."""


class _Output(io.TextIOWrapper):
    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _failure(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _failure(error) from error


class _Errors(io.TextIOWrapper):
    """Standard error; if it cannot be written (full disk, closed pipe), messages are lost and the command continues."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            _discard(self.fileno())
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _discard(self.fileno())


def _failure(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):  # the reader has gone, which is not an error
        return error
    return OutputFailed(Diagnostic(codes.E904, f"standard output cannot be written: {error.strerror or error}"))


def open_streams() -> None:
    """Replace stdout and stderr by streams that every command may write to.

    A closed stdout (`>&-`) is replaced by a stream that fails when written, so that the next file that is opened does
    not get its descriptor. Characters that the encoding lacks are escaped.
    """
    if sys.stderr is None:
        sys.stderr = open(_null_device(2, os.O_WRONLY), "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    elif type(sys.stderr) is io.TextIOWrapper:  # not a test's replacement
        sys.stderr = _Errors(_reopened(sys.stderr), sys.stderr.encoding, "backslashreplace", line_buffering=True)
    if sys.stdout is None:
        sys.stdout = _Output(open(_null_device(1, os.O_RDONLY), "wb"), encoding="utf-8")  # noqa: SIM115 - as above
    elif type(sys.stdout) is io.TextIOWrapper:  # not a test's replacement
        old = sys.stdout
        sys.stdout = _Output(_reopened(old), old.encoding, "backslashreplace", line_buffering=old.line_buffering)


def _reopened(stream: io.TextIOWrapper) -> BinaryIO:
    return open(stream.fileno(), "wb", closefd=False)  # open until the process ends


def write_output(content: bytes) -> None:
    """Write bytes to standard output."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise _failure(error) from error


def discard_output() -> None:
    """Discard what stdout still buffers, so that Python does not fail to flush it at exit."""
    _discard(sys.stdout.fileno())


def _discard(number: int) -> None:
    """Redirect a descriptor to the null device."""
    handle = os.open(os.devnull, os.O_WRONLY)
    os.dup2(handle, number)
    os.close(handle)


def _null_device(number: int, flags: int) -> int:
    """Open the null device as this descriptor."""
    handle = os.open(os.devnull, flags)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)
    return number
