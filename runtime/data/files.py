"""The bytes of data files, and what is said of one that cannot be read."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError


def content_of(path: Path) -> bytes:
    """A file's bytes, unpacked where it is gzipped."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(str(path), "a data file", error) from None
    return unpacked(content, str(path))


def unpacked(content: bytes, place: str) -> bytes:
    """The bytes of a file that may be gzipped."""
    try:
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(place, "a data file", error) from None


def unreadable(place: str, what: str, error: Exception) -> NablacError:
    """A file that is not what it is read as."""
    first = " ".join(str(error).split())[:160]
    return NablacError(Diagnostic("E821", f"this cannot be read as {what}: {first}", place=place))


def missing_extra(what: str, extra: str, stage: Stage) -> NablacError:
    """A source whose library is not installed."""
    hint = f"pip install 'nablac[{extra}]'"
    return NablacError(Diagnostic("E809", f"{what} need the `{extra}` extra", stage.span, hint=hint))
