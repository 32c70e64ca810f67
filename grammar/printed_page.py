"""The lines of a printed file, and the comments that are still to be printed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby

from grammar.lexer import Token
from grammar.source import Source, Span

INDENT = "    "
WIDTH = 120
COMMENT_GAP = "  "  # before a comment that ends a line


@dataclass(frozen=True)
class TrailingComment:
    """A comment that ends a line, and the group of lines in which comments are aligned."""

    text: str
    group: int


@dataclass
class Page:
    """The lines printed so far, and the comments that are not printed yet."""

    source: Source
    comments: list[Token]
    lines: list[str] = field(default_factory=list)
    trailing: dict[int, TrailingComment] = field(default_factory=dict)  # by the index of the line
    level: int = 0
    fresh: bool = True  # no blank line may follow: at the start of the file or of a block
    taken: int = 0
    group: int = 0  # of lines of one level, without a blank line or a comment's own line between
    margin: int = 0  # spaces before a line, besides its indentation

    @property
    def width(self) -> int:
        """The characters that a line may have behind its indentation."""
        return WIDTH - len(INDENT) * self.level - self.margin

    @contextmanager
    def indented(self, margin: int = 0) -> Iterator[None]:
        """A block of lines that are indented by one more level, and by `margin` spaces."""
        before = self.level, self.margin
        self.level, self.margin, self.fresh = self.level + 1, self.margin + margin, True
        self.group += 1
        yield
        (self.level, self.margin), self.fresh = before, False
        self.group += 1

    def line(self, text: str) -> None:
        """Print a line."""
        self.lines.append((INDENT * self.level + " " * self.margin + text).rstrip())
        self.fresh = False

    def blank(self) -> None:
        """Print a blank line, unless there is one, or a block begins."""
        self.group += 1
        if not self.fresh and self.lines and self.lines[-1]:
            self.lines.append("")

    def doc(self, doc: str | None) -> None:
        """Print a docstring."""
        if doc is None:
            return
        lines = doc.split("\n")
        if len(lines) == 1 and not doc.endswith('"'):
            self.line(f'"""{doc}"""')
        else:
            self.line(f'"""{lines[0]}')
            for line in lines[1:]:
                # Not through `line`: the text of a docstring is kept exactly.
                self.lines.append(INDENT * self.level + line if line else "")
            self.line('"""')

    def comments_before(self, offset: int) -> None:
        """The comments before an offset, on lines of their own."""
        while self.taken < len(self.comments) and self.comments[self.taken].span.start < offset:
            comment = self.comments[self.taken]
            self.taken += 1
            if self.after_blank(comment.span):
                self.blank()
            self.line(comment.text.rstrip())
            self.group += 1

    def line_with_comment(self, text: str, offset: int) -> None:
        """A line, followed by the comment that ends the source line of `offset`."""
        comment = self.comments[self.taken] if self.taken < len(self.comments) else None
        if (
            comment is not None
            and comment.span.start >= offset
            and comment.span.line == self.source.position(offset)[0]
        ):
            if not self.source.text[offset : comment.span.start].strip(" \t\f\v,;)"):
                self.taken += 1
                self.trailing[len(self.lines)] = TrailingComment(comment.text.rstrip(), self.group)
        self.line(text)

    def text(self) -> str:
        """The whole text; the comments of a group of lines are aligned, where that passes no line's width."""
        lines = self.lines[:]
        for _, block in groupby(self.trailing, lambda index: self.trailing[index].group):
            self._append_comments(lines, list(block))
        while lines and not lines[-1]:
            lines.pop()
        return "".join(f"{line}\n" for line in lines)

    def _append_comments(self, lines: list[str], block: Sequence[int]) -> None:
        """Append the comments of these lines, in one column if all fit, else each behind its line."""
        column = max(len(lines[index]) for index in block)
        if any(column + len(COMMENT_GAP) + len(self.trailing[index].text) > WIDTH for index in block):
            column = 0
        for index in block:
            lines[index] = f"{lines[index]:<{column}}{COMMENT_GAP}{self.trailing[index].text}"

    def find(self, text: str, start: int) -> int:
        """The offset of a text from `start` on, outside comments; it must be there."""
        while True:
            offset = self.source.text.index(text, start)
            before = bisect_right(self.comments, offset, key=lambda comment: comment.span.start) - 1
            if before < 0 or self.comments[before].span.end <= offset:
                return offset
            start = self.comments[before].span.end

    def after_blank(self, span: Span) -> bool:
        """Whether a blank line is before a span."""
        line = span.line
        return line > 1 and not self.source.line(line - 1).strip()

    def on_one_line(self, span: Span) -> bool:
        """Whether a span begins and ends on the same line."""
        return span.line == self.source.position(span.end)[0]

    def start(self, span: Span) -> None:
        """What comes before a declaration or a statement: its comments and a blank line."""
        self.comments_before(span.start)
        if self.after_blank(span):
            self.blank()
