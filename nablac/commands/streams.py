"""Standard output and error as the commands need them: open, and with errors of writing told from all others."""

from __future__ import annotations

import io
import os
import sys
from typing import BinaryIO

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


class OutputFailed(NablacError):
    """Standard output does not take what it is given: the disk behind it is full, or it is closed."""


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
    """Standard error: where nobody takes it (a full disk, a closed pipe) messages are lost, and the work goes on."""

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
    if isinstance(error, BrokenPipeError):  # nobody reads any more, which is no error
        return error
    return OutputFailed(Diagnostic(codes.E904, f"standard output cannot be written: {error.strerror or error}"))


def open_streams() -> None:
    """Streams that every command may write to.

    A closed stdout (`>&-`) is one that refuses what is written, and no hole that the next file opened falls into. What
    its encoding lacks is escaped.
    """
    if sys.stderr is None:
        sys.stderr = open(_taking(2, os.O_WRONLY), "w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    elif type(sys.stderr) is io.TextIOWrapper:  # and not a test's
        sys.stderr = _Errors(_reopened(sys.stderr), sys.stderr.encoding, "backslashreplace", line_buffering=True)
    if sys.stdout is None:
        sys.stdout = _Output(open(_taking(1, os.O_RDONLY), "wb"), encoding="utf-8")  # noqa: SIM115 - as above
    elif type(sys.stdout) is io.TextIOWrapper:  # and not a test's
        old = sys.stdout
        sys.stdout = _Output(_reopened(old), old.encoding, "backslashreplace", line_buffering=old.line_buffering)


def _reopened(stream: io.TextIOWrapper) -> BinaryIO:
    return open(stream.fileno(), "wb", closefd=False)  # as long as the process


def write_output(content: bytes) -> None:
    """Bytes to standard output."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise _failure(error) from error


def discard_output() -> None:
    """What is still to be written to stdout goes nowhere, so that Python does not fail on it at its end."""
    _discard(sys.stdout.fileno())


def _discard(number: int) -> None:
    """What is written to a descriptor from now on goes nowhere."""
    handle = os.open(os.devnull, os.O_WRONLY)
    os.dup2(handle, number)
    os.close(handle)


def _taking(number: int, flags: int) -> int:
    """The null device as this descriptor."""
    handle = os.open(os.devnull, flags)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)
    return number
