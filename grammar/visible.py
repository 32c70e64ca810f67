"""Text from files, made safe to show: without control characters or bidirectional overrides, and of limited length."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

LONGEST_WORD = 300  # characters without a space that are shown in full
LONGEST_TEXT = 4_000  # characters of a message

# Control characters except the tab and the newline; characters that override the direction of the text around them
# (Unicode's UAX 9); other line separators; spaces and joints of no width, but for those in words; surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060-\u2064\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def visible(text: str) -> str:
    """A text with escapes, such as `\\x1b`, instead of the characters that a terminal would act on."""
    return _UNSEEN.sub(_escape, text)


def shortened(text: str) -> str:
    """A text with `...` in its long words, and at its end if the text is long."""
    text = _WORD.sub(_short_word, text)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


def shell_word(path: Path | str) -> str:
    """A path as a word of a command that a message suggests: quoted if a shell would change it.

    One that begins as an option does gets `./` before it; `-` is standard input.
    """
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") and text != "-" else text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _short_word(match: re.Match[str]) -> str:
    return f"{match[0][: LONGEST_WORD // 2]}...{match[0][-LONGEST_WORD // 4 :]}"
