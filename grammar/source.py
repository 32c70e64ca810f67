"""Source text and spans in it."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

from grammar.record import Record


class Source(Record):
    """The text of a `.model` file; `name` is the path as the user wrote it, `library` whether it comes with nablac."""

    name: str
    text: str
    library: bool = False

    @cached_property
    def line_starts(self) -> list[int]:
        """The offset of the first character of each line, and that of the end."""
        starts = [0]
        for line in self.text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts

    def line(self, number: int) -> str:
        """Line `number`, counted from 1, without its line break."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n\f\v\x1c\x1d\x1e\x85\u2028\u2029")

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both counted from 1."""
        line = min(bisect_right(self.line_starts, offset), max(len(self.line_starts) - 1, 1))
        return line, offset - self.line_starts[line - 1] + 1


class Span:
    """The characters of a source from `start` up to, and without, `end`. Immutable: there are very many."""

    __slots__ = ("end", "source", "start")

    def __init__(self, source: Source, start: int, end: int) -> None:
        self.source, self.start, self.end = source, start, end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Span):
            return NotImplemented
        return self.start == other.start and self.end == other.end and self.source is other.source

    def __hash__(self) -> int:
        return hash((self.source, self.start, self.end))

    def __repr__(self) -> str:
        return f"Span({self})"

    @property
    def line(self) -> int:
        """The line of the first character, counted from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """The column of the first character, counted from 1."""
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        """The text of the span."""
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end))

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"
