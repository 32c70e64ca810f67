"""Lines that are broken inside brackets: where the writer broke them, and where they are too long.

As written, brackets stay on one line, or have their values on lines of their own, with the same values on each line.
Longer lines are broken in their longest brackets, which are filled line by line.
"""

from __future__ import annotations

from collections.abc import Sequence

from grammar.expression_printer import PIPE, Brackets, Entry, split_at_brackets
from grammar.printed_page import INDENT, Page

_LEAST = 2 * len(INDENT)  # characters of brackets that are worth a line of their own


def print_pieces(page: Page, pieces: Sequence[str | Brackets], end: int) -> bool:
    """Print a text with brackets, which ends at the offset `end`, on as many lines as it needs, with its comments.

    Returns whether that is more than one line.
    """
    line = ""
    arranged = _arranged(page, pieces)
    margin = len(arranged[0]) - len(arranged[0].lstrip()) if arranged and isinstance(arranged[0], str) else 0
    line_ends = [*(piece.span.start + 1 for piece in arranged if isinstance(piece, Brackets)), end]
    for piece in arranged:
        if isinstance(piece, str):
            line += piece
            continue
        line_end = line_ends.pop(0)
        page.comments_before(line_end)
        page.line_with_comment(line + piece.opening, line_end)
        with page.indented(margin):
            _rows(page, piece)
            page.comments_before(line_ends[0])  # those of the next line too, which begins with a bracket
        line = " " * margin + piece.closing
    page.comments_before(end)
    page.line_with_comment(line, end)
    return any(isinstance(piece, Brackets) for piece in arranged)


def one_line(pieces: Sequence[str | Brackets]) -> str:
    """The text of pieces on one line."""
    return "".join(piece if isinstance(piece, str) else piece.flat for piece in pieces)


def is_broken(page: Page, pieces: Sequence[str | Brackets]) -> bool:
    """Whether the writer broke a line in some brackets."""
    return any(
        isinstance(piece, Brackets) and (_breaks(page, piece) or _breaks_inside(page, piece)) for piece in pieces
    )


def end_of_first_line(page: Page, pieces: Sequence[str | Brackets], end: int) -> int:
    """The offset where the first line of a text ends that itself ends at `end`."""
    broken = (piece for piece, breaks in _as_written(page, pieces) if breaks)
    return next((piece.span.start + 1 for piece in broken if isinstance(piece, Brackets)), end)


def pieces_of(entry: Entry) -> list[str | Brackets]:
    """The pieces of a value in brackets."""
    node = [(entry.node, PIPE)] if entry.node is not None else []
    return split_at_brackets([entry.text, *node])


def _rows(page: Page, brackets: Brackets) -> None:
    """Print the values in brackets: on the lines as written, or on new lines where they do not fit."""
    row: list[str | Brackets] = []
    last: Entry | None = None
    width = 0
    for entry in brackets.entries:
        pieces = pieces_of(entry)
        length = len(one_line(pieces))
        if last is not None:
            too_long = width + len(", ") + length + len(brackets.comma) > page.width
            if too_long or page.source.position(last.span.end)[0] != entry.span.line:
                print_pieces(page, [*row, brackets.comma], last.span.end)
                row, width = [], 0
            else:
                row.append(", ")
                width += 2
        if not row:
            page.comments_before(entry.span.start)
        row += pieces
        width += length
        last = entry
    if last is not None:
        print_pieces(page, [*row, brackets.comma], last.span.end)


def _arranged(page: Page, pieces: Sequence[str | Brackets]) -> list[str | Brackets]:
    """The pieces, with the brackets that stay on their line as text."""
    written = _as_written(page, pieces)
    arranged: list[str | Brackets] = []
    flat: dict[int, tuple[int, Brackets]] = {}  # what may be broken of the present line, with its length
    width = index = 0
    while index < len(written):
        piece, is_broken_as_written = written[index]
        index += 1
        if isinstance(piece, Brackets) and is_broken_as_written:
            arranged.append(piece)
            width, flat = len(piece.closing), {}
            continue
        text = piece if isinstance(piece, str) else piece.flat
        if isinstance(piece, Brackets) and len(text) > _LEAST:
            flat[len(arranged)] = (len(text), piece)
        arranged.append(text)
        width += len(text)
        if width > page.width and flat:
            longest = max(flat, key=lambda position: flat[position][0])
            index -= len(arranged) - longest - 1  # what follows is on another line
            arranged[longest:] = [flat[longest][1]]
            width, flat = len(flat[longest][1].closing), {}
    return arranged


def _as_written(page: Page, pieces: Sequence[str | Brackets]) -> list[tuple[str | Brackets, bool]]:
    """The pieces, each with whether it is brackets that the writer broke.

    Brackets on one line around broken ones, as in `f(g(`, are their parts, if these lines are not too long.
    """
    parts: list[tuple[str | Brackets, bool]] = []
    for piece in pieces:
        if isinstance(piece, str) or not _breaks_inside(page, piece) or _breaks(page, piece):
            parts.append((piece, isinstance(piece, Brackets) and _breaks(page, piece)))
            continue
        parts += _as_written(page, split_at_brackets(piece.pieces_on_one_line()))
    return parts


def _breaks(page: Page, brackets: Brackets) -> bool:
    """Whether the writer broke a line directly inside brackets, between the values."""
    if not brackets.entries:
        return False
    ends = [brackets.span.start, *(entry.span.end for entry in brackets.entries)]
    starts = [*(entry.span.start for entry in brackets.entries), brackets.span.end]
    return any("\n" in page.source.text[end:start] for end, start in zip(ends, starts, strict=True))


def _breaks_inside(page: Page, brackets: Brackets) -> bool:
    """Whether the writer broke a line in brackets inside these."""
    return any(is_broken(page, pieces_of(entry)) for entry in brackets.entries)
