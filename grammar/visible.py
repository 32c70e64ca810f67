"""Text from files as people see it: nothing in it moves the cursor, turns the order of writing, or fills pages."""

from __future__ import annotations

import re

LONGEST_WORD = 300  # characters without a space that are shown whole
LONGEST_TEXT = 4_000  # characters of a message

# Control characters but for the tab and the end of the line; those of bidirectional text that change the order of what
# stands around them (Unicode's UAX 9); other ends of lines; halves of characters.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def visible(text: str) -> str:
    """A text with escapes, as `\\x1b`, for the characters that a terminal would act on."""
    return _UNSEEN.sub(_escape, text)


def shortened(text: str) -> str:
    """A text whose long words, and itself where it is long, have `...` for a part of them."""
    text = _WORD.sub(_short_word, text)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _short_word(match: re.Match[str]) -> str:
    return f"{match[0][: LONGEST_WORD // 2]}...{match[0][-LONGEST_WORD // 4 :]}"
