"""Checks of the regular expressions in tokenizers: none may take exponential time.

They are matched by a backtracking library (Oniguruma), which gives up after ten million steps, but tries as many at
every index of the text. Nested repetitions such as `(a+)+` are refused; no tokenizer needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

MOST_REPEATED = 64  # how often a group that contains an unbounded repetition may be repeated
LONGEST_EXPRESSION = 10_000  # characters
_KEY = "Regex"  # of a pattern in a `tokenizer.json`


def check_expressions(stored: Any, location: str) -> None:
    """NablacError for a tokenizer's JSON with an expression that is too long or nests repetitions."""
    for expression in _expressions(stored):
        if len(expression) > LONGEST_EXPRESSION:
            message = f"an expression of {len(expression):,} characters, and the limit is {LONGEST_EXPRESSION:,}"
        elif repeats_repetition(expression):
            message = f"`{expression}` nests one repetition in another: matching could take exponential time"
        else:
            continue
        hint = "write it without nested repetitions, as `a+` for `(a+)+`"
        raise NablacError(Diagnostic(codes.E850, message, place=location, hint=hint))


def _expressions(stored: Any) -> Iterator[str]:
    waiting = [stored]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if isinstance(item.get(_KEY), str):
                yield item[_KEY]
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def repeats_repetition(expression: str) -> bool:
    """Whether a group that contains an unbounded repetition is itself repeated more than MOST_REPEATED times.

    Atomic groups and possessive repetitions count like others: this may refuse safe expressions, never accept others.
    """
    endless = [False]  # whether the expression, and each open group, contains an unbounded repetition
    closed = False  # whether the preceding item is a group that contains one
    index = 0
    while index < len(expression):
        letter = expression[index]
        most, after = _repetition(expression, index)
        if most is not None:
            if closed and most > MOST_REPEATED:
                return True
            endless[-1] = endless[-1] or most > MOST_REPEATED
            index = after  # `closed` stays: `(a+)?*` repeats the group too
            continue
        closed = False
        if letter == "\\":
            index += 2
        elif letter == "[":
            index = _behind_class(expression, index)
        else:
            if letter == "(":
                endless.append(False)
            elif letter == ")" and len(endless) > 1:
                closed = endless.pop()
                endless[-1] = endless[-1] or closed
            index += 1 if letter != "(" else _beginning(expression, index)
    return False


def _beginning(expression: str, index: int) -> int:
    """The length of `(`, or of `(?` for a special group."""
    return 2 if expression[index + 1 : index + 2] == "?" else 1


def _repetition(expression: str, index: int) -> tuple[float | None, int]:
    """The maximal count of the repetition at `index`, and the index after it; None if there is no repetition."""
    letter = expression[index]
    if letter in "*+?":
        return (1 if letter == "?" else float("inf")), index + 1
    end = expression.find("}", index, index + 32) if letter == "{" else -1
    least, comma, most = expression[index + 1 : end].partition(",")
    if end < 0 or not all(bound.isdigit() or not bound for bound in (least, most)) or not (least or most):
        return None, index
    return (float("inf") if comma and not most else float(most or least)), end + 1


def _behind_class(expression: str, index: int) -> int:
    """The index after a character class, which may contain others."""
    depth, first = 0, index
    while index < len(expression):
        letter = expression[index]
        if letter == "\\":
            index += 1
        elif letter == "[":
            depth += 1
            first = index + (2 if expression[index + 1 : index + 2] == "^" else 1)
            index = first - 1
        elif letter == "]" and index > first:  # a `]` at the beginning is literal
            depth -= 1
            if not depth:
                return index + 1
        index += 1
    return index
