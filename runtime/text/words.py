"""Splitting texts into characters, or into words and punctuation, and joining them again.

Whether there is a space between two pieces mostly follows from the pieces, as in `a, b (c)`. Where it does not, as in
`3.14`, a special piece says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    parts: list[str] = []
    end = 0
    for part in _PART.finditer(text):
        apart = part.start() > end
        if end and apart != _are_spaced(parts[-1], part[0]):
            parts.append(SPACE if apart else JOIN)
        parts.append(part[0])
        end = part.end()
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
