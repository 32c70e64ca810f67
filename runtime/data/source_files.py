"""The bytes of data files, and errors for files that cannot be read."""

from __future__ import annotations

from pathlib import Path

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import LARGEST_TEXT, gunzip, read_file


def content_of(path: Path) -> bytes:
    """The bytes of a regular file, decompressed if it is gzipped; NablacError for more than LARGEST_TEXT of them."""
    return unpack(read_file(path, LARGEST_TEXT), str(path))


def unpack(content: bytes, location: str) -> bytes:
    """Decompress bytes that may be gzipped."""
    return gunzip(content, location) if content[:2] == b"\x1f\x8b" else content


def unreadable(location: str, what: str, error: Exception) -> NablacError:
    """The error for a file of another format than expected."""
    first = " ".join(str(error).split())[:160]
    return NablacError(Diagnostic(codes.E821, f"this cannot be read as {what}: {first}", place=location))


def missing_extra(what: str, extra: str, stage: DataStage) -> NablacError:
    """The error for a source whose library is not installed."""
    hint = f"pip install 'nablac[{extra}]'"
    return NablacError(Diagnostic(codes.E809, f"{what} need the `{extra}` extra", stage.span, hint=hint))
