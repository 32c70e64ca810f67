"""What an argument of a data description, or a setting, has to be: in words for a person, and as a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compiler.elaborate.values import is_number
from grammar.record import Record


class Kind(Record):
    """What a value has to be; `words` follow "`name` must be"."""

    words: str
    allows: Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, which a truth value is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Whether a value is a non-empty text."""
    return isinstance(value, str) and bool(value)


def are_texts(value: Any) -> bool:
    """Whether a value is such a text, or a list of one or more."""
    return is_text(value) or (isinstance(value, list) and bool(value) and all(map(is_text, value)))


def is_fraction(value: Any) -> bool:
    """Whether a value is a number from 0 to below 1."""
    return is_number(value) and 0 <= value < 1


def one_of(*texts: str) -> Kind:
    """The kind that allows these texts alone."""
    return Kind(" or ".join(f'"{each}"' for each in texts), lambda value: isinstance(value, str) and value in texts)


POSITIVE = Kind("a whole number of at least 1", lambda value: is_whole(value) and value > 0)
COUNT = Kind("a whole number of at least 0", lambda value: is_whole(value) and value >= 0)
NUMBER = Kind("a number", is_number)
ABOVE_ZERO = Kind("a number above 0", lambda value: is_number(value) and value > 0)
NOT_NEGATIVE = Kind("a number of at least 0", lambda value: is_number(value) and value >= 0)
FRACTION = Kind("a fraction in [0, 1)", is_fraction)
PORTION = Kind("a fraction in (0, 1)", lambda value: is_number(value) and 0 < value < 1)
FRACTION_OR_FILE = Kind("a fraction in [0, 1) or a text", lambda value: is_fraction(value) or isinstance(value, str))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a non-empty text", is_text)
TEXTS = Kind("a text or a non-empty list of texts", are_texts)
PATTERNS = Kind("a text or a list of texts", lambda value: are_texts(value) or value == [])  # maybe of none
CHARACTER = Kind("one character", lambda value: isinstance(value, str) and len(value) == 1)
TWO_INDICES = Kind(
    "a list of two whole numbers from 0",
    lambda value: isinstance(value, list) and len(value) == 2 and all(is_whole(each) and each >= 0 for each in value),
)
CHANNELS = Kind("1, 3 or 4", lambda value: is_whole(value) and value in (1, 3, 4))
