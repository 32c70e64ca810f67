"""The bytes of data files, and what is said of one that cannot be read."""

from __future__ import annotations

from pathlib import Path

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import LARGEST_TEXT, gunzip, read_file


def content_of(path: Path) -> bytes:
    """A regular file's bytes, unpacked where it is gzipped; NablacError for more than LARGEST_TEXT of them."""
    return unpack(read_file(path, LARGEST_TEXT), str(path))


def unpack(content: bytes, location: str) -> bytes:
    """The bytes of a file that may be gzipped."""
    return gunzip(content, location) if content[:2] == b"\x1f\x8b" else content


def unreadable(location: str, what: str, error: Exception) -> NablacError:
    """A file that is not what it is read as."""
    first = " ".join(str(error).split())[:160]
    return NablacError(Diagnostic(codes.E821, f"this cannot be read as {what}: {first}", place=location))


def missing_extra(what: str, extra: str, stage: DataStage) -> NablacError:
    """A source whose library is not installed."""
    hint = f"pip install 'nablac[{extra}]'"
    return NablacError(Diagnostic(codes.E809, f"{what} need the `{extra}` extra", stage.span, hint=hint))
