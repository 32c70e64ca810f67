"""Splitting texts into characters, or into words and punctuation, and joining them again.

Whether there is a space between two pieces mostly follows from the pieces, as in `a, b (c)`. Where it does not, as in
`3.14`, a special piece says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

KINDS = ("characters", "words")
JOIN, SPACE = "", " "  # pieces for no space, and for a space, where the other is usual
SPACING = (JOIN, SPACE)
_PART = re.compile(r"\w+|[^\w\s]")
_CLOSING, _OPENING = ".,;:!?%)]}\u2026", "([{\u00ab"
_APOSTROPHES = "'\u2019"


def pieces(text: str, kind: str) -> list[str]:
    """The characters of a text, or its words and punctuation with marks of unusual spacing."""
    if kind == "characters":
        return list(text)
    words = _Words()
    return [*words.add(text), *words.rest()]


def pieces_of(parts: Iterable[str], kind: str) -> Iterator[list[str]]:
    """The `pieces` of a text that comes in parts, some at a time."""
    if kind == "characters":
        yield from map(list, parts)
        return
    words = _Words()
    for part in parts:
        yield words.add(part)
    yield words.rest()


class _Words:
    """Cuts a text that comes in parts into words and punctuation."""

    def __init__(self) -> None:
        self.open: list[str] = []  # the beginning of a word that may go on
        self.last = ""  # the last piece
        self.apart = False  # there was white space after it

    def add(self, text: str) -> list[str]:
        """The pieces that are complete with more text."""
        end = len(text)
        while end and (text[end - 1].isalnum() or text[end - 1] == "_"):
            end -= 1
        if not end:
            self.open.append(text)
            return []
        whole = "".join([*self.open, text[:end]])
        self.open = [text[end:]]
        return self._cut(whole)

    def rest(self) -> list[str]:
        """The last word, if the text ends in one."""
        return self._cut("".join(self.open))

    def _cut(self, text: str) -> list[str]:
        parts: list[str] = []
        last, end = self.last, 0
        for part in _PART.finditer(text):
            piece = part[0]
            apart = part.start() > end or (self.apart and not end)
            if last and apart != _are_spaced(last, piece):
                parts.append(SPACE if apart else JOIN)
            parts.append(piece)
            last, end = piece, part.end()
        self.apart = end < len(text) or (self.apart and not end)
        self.last = last
        return parts


def join(parts: Sequence[str], kind: str) -> str:
    """The text of the pieces, with single spaces for white space."""
    if kind == "characters":
        return "".join(parts)
    text, last, spacing = "", "", None
    for part in parts:
        if part in SPACING:
            spacing = part
            continue
        usual = SPACE if last and _are_spaced(last, part) else JOIN
        text += (usual if spacing is None or not last else spacing) + part
        last, spacing = part, None
    return text


def _are_spaced(before: str, after: str) -> bool:
    """Whether two parts usually have a space between them."""
    if after in _CLOSING or before in _OPENING:
        return False
    return not (after in _APOSTROPHES and _ends_in_word(before)) and not (
        before in _APOSTROPHES and _ends_in_word(after)
    )


def _ends_in_word(part: str) -> bool:
    return part[-1].isalnum() or part[-1] == "_"
