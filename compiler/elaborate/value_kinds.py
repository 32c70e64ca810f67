"""Kinds of settings and of arguments of data stages: a test, and its description in messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compiler.byte_sizes import bytes_of
from compiler.elaborate.values import is_number
from compiler.time_steps import time_step_of
from grammar.file_kinds import THOUSANDS
from grammar.record import Record


class Kind(Record):
    """A kind of value; `words` follow "`name` must be" in messages."""

    words: str
    allows: Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; a boolean is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Whether a value is a non-empty text."""
    return isinstance(value, str) and bool(value)


def are_texts(value: Any) -> bool:
    """Whether a value is a non-empty text, or a non-empty list of them."""
    return is_text(value) or (isinstance(value, list) and bool(value) and all(map(is_text, value)))


def is_fraction(value: Any) -> bool:
    """Whether a value is a number in [0, 1)."""
    return is_number(value) and 0 <= value < 1


def is_rate(value: Any) -> bool:
    """Whether a value is a pattern of paths and a factor above 0."""
    return isinstance(value, list) and len(value) == 2 and is_text(value[0]) and is_number(value[1]) and value[1] > 0


def is_class_weight(value: Any) -> bool:
    """Whether a value is the name of a class and a weight of at least 0."""
    return isinstance(value, list) and len(value) == 2 and is_text(value[0]) and NOT_NEGATIVE.allows(value[1])


def one_of(*texts: str) -> Kind:
    """The kind of values that are one of these texts."""
    return Kind(" or ".join(f'"{text}"' for text in texts), lambda value: isinstance(value, str) and value in texts)


def some_of(*texts: str) -> Kind:
    """The kind of values that are one of these texts, or a list of some of them."""

    def allows(value: object) -> bool:
        return bool(value) and all(item in texts for item in (value if isinstance(value, list) else [value]))

    return Kind(f"one of {', '.join(texts)}, or a list of them", allows)


POSITIVE = Kind("a whole number of at least 1", lambda value: is_whole(value) and value > 0)
POSITIVES = Kind(
    "a whole number of at least 1, or a list of them",
    lambda value: bool(value) and all(map(POSITIVE.allows, value if isinstance(value, list) else [value])),
)
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
PATTERNS = Kind("a text or a list of texts", lambda value: are_texts(value) or value == [])  # possibly an empty one
BYTES = Kind('a size such as "500MB" or "2GiB"', lambda value: isinstance(value, str) and bytes_of(value) is not None)
STEP = Kind(
    'a step such as "1 hour" or "3 months"',
    lambda value: isinstance(value, str) and time_step_of(value) is not None,
)
RATES = Kind(
    "a pattern and a factor above 0, or a list of such pairs",
    lambda value: is_rate(value) or (isinstance(value, list) and all(map(is_rate, value))),
)
CLASS_WEIGHTS = Kind(
    '"balanced", or a list of numbers of at least 0, one for each class, or of pairs of a class and its number',
    lambda value: (
        value == "balanced"
        or (
            isinstance(value, list)
            and bool(value)
            and (all(map(NOT_NEGATIVE.allows, value)) or all(map(is_class_weight, value)))
        )
    ),
)
CHARACTER = Kind("one character", lambda value: isinstance(value, str) and len(value) == 1)
TWO_COLUMNS = Kind(
    "a list of two whole numbers from 0, or of two names",
    lambda value: (
        isinstance(value, list)
        and len(value) == 2
        and (all(is_whole(item) and item >= 0 for item in value) or all(map(is_text, value)))
    ),
)
THOUSAND_SIGN = Kind(
    """"," or "." or "_" or "'" or a space""", lambda value: isinstance(value, str) and value in THOUSANDS
)
CHANNELS = Kind("1, 3 or 4", lambda value: is_whole(value) and value in (1, 3, 4))
