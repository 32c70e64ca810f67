"""The lines of a text as it is decoded, for every reader of tables: one rule for encodings and for what is not text."""

from __future__ import annotations

import codecs as encodings
import io
from collections.abc import Iterator
from typing import BinaryIO

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import LFS_POINTER, encoding_of, kind_of
from runtime.boundary import BrokenFile, SupportsRead, refuse_other_kinds

_LONGEST_LINE = 16 << 20  # characters of a line, so that no file is read into memory as one of them
_CHUNK = 1 << 20  # bytes
_RECODE = "save it as UTF-8 in an editor, or run `iconv -f latin1 -t utf-8`"


def decoded_lines(file: BinaryIO, path: str, what: str, encoding: str = "", hint: str = _RECODE) -> Iterator[str]:
    """The lines of a text with their breaks, which are any of those of the three systems; see `decoded_parts`."""
    lines = _Lines(path, what)
    for part in decoded_parts(file, path, what, encoding, hint):
        yield from lines.add(part)
    yield from lines.rest()


def decoded_parts(
    file: BinaryIO | SupportsRead, path: str, what: str, encoding: str = "", hint: str = _RECODE
) -> Iterator[str]:
    """A text, about a million characters at a time.

    `encoding` is "" for UTF-8, or what a byte order mark says. NablacError with the line of what is not text, with the
    file's kind where that is recognised; `hint` says what to do about another encoding.
    """
    breaks = _Breaks(path)
    part = _read(file)
    beginning = part
    if kind_of(beginning) == LFS_POINTER:  # the only kind that is text
        refuse_other_kinds(beginning, what, path)
    name = encoding or encoding_of(beginning)
    if name == "utf-16" and not beginning.startswith((encodings.BOM_UTF16_LE, encodings.BOM_UTF16_BE)):
        name = "utf-16-be" if beginning[:1] == b"\0" else "utf-16-le"  # an ASCII character has one zero byte
    decoder = encodings.getincrementaldecoder(name)()
    size = 0  # bytes that were decoded
    while True:
        state = decoder.getstate()
        try:
            text = decoder.decode(part, final=not part)
        except UnicodeDecodeError as error:
            refuse_other_kinds(beginning, what, path)
            left = len(error.object) - error.start  # which may begin with bytes of the part before
            decoder.setstate(state)
            breaks.add(decoder.decode(part[: max(0, len(part) - left)]))
            message = f"this is not {name.removesuffix('-sig').upper()} text: byte {size + len(part) - left}"
            raise BrokenFile(Diagnostic(codes.E821, message, place=breaks.location, hint=hint)) from None
        null = text.find("\0")
        if null >= 0:
            refuse_other_kinds(beginning, what, path)
            breaks.add(text[:null])
            hint = "a UTF-16 file must begin with a byte order mark, unless `encoding` is said to be utf-16"
            message = "the text contains a null byte"
            raise BrokenFile(Diagnostic(codes.E821, message, place=breaks.location, hint=hint))
        breaks.add(text)
        if text:
            yield text
        if not part:
            return
        size += len(part)
        part = _read(file)


def _read(file: BinaryIO | SupportsRead) -> bytes:
    """The next bytes of a file; of a pipe those that are there, so that a row is read when it has been written."""
    part: bytes = file.read1(_CHUNK) if isinstance(file, (io.BytesIO, io.BufferedReader)) else file.read(_CHUNK)
    return part


class _Breaks:
    """Counts the line breaks of a text that comes in parts."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = 0
        self.within = False  # a carriage return was the end of the last part

    @property
    def location(self) -> str:
        """Where the text goes on."""
        return f"{self.path}:{self.number + 1}"

    def add(self, text: str) -> None:
        """Go on by more text."""
        if text:
            self.number += text.count("\n") - (self.within and text[0] == "\n")
            if "\r" in text:
                self.number += text.count("\r") - text.count("\r\n")
            self.within = text[-1] == "\r"


class _Lines:
    """Cuts a text that comes in parts into lines."""

    def __init__(self, path: str, what: str) -> None:
        self.path, self.what = path, what
        self.number = 0  # of lines that are complete
        self.open = ""  # the beginning of the next one

    @property
    def location(self) -> str:
        """Where the text goes on."""
        return f"{self.path}:{self.number + 1}"

    def add(self, text: str) -> list[str]:
        """The lines that are complete with more text."""
        lines = list(io.StringIO(self.open + text, newline=""))
        # A carriage return may be the first half of a line break.
        self.open = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        self.number += len(lines)
        if len(self.open) >= _LONGEST_LINE:
            message = f"this line has more than {_LONGEST_LINE:,} characters"
            raise NablacError(Diagnostic(codes.E913, message, place=self.location))
        return lines

    def rest(self) -> list[str]:
        """The last line, if it does not end in a break."""
        return [self.open] if self.open else []
