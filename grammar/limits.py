"""Limits of a file. Beyond one of them, the file gets one clear error instead of a long wait or a crash."""

from __future__ import annotations

MOST_BYTES = 4 * 1024 * 1024  # of a file
MOST_TOKENS = 250_000  # of a file: words, numbers and signs
MOST_NESTING = 100  # brackets and blocks inside one another
MOST_EXPRESSION_DEPTH = 1_000  # nested operators, which are the terms of `a + b + c + ...`
MOST_INTEGER_DIGITS = 18  # an integer fits 64 bits
MOST_ERRORS = 20  # after these, reading stops
