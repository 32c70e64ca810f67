"""Cells that are true or false: the numbers 1 and 0 in Parquet, JSON and Python, texts such as `True` in CSV.

A column of such texts alone is one of classes, and `TRUE` is the class `true` too. Each of both reads the other: `true`
is 1 where numbers are expected, and 1 the class `true` where classes are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

_NUMBERS = {"false": 0, "true": 1}


def truth_number(cell: str) -> int | None:
    """1 of a cell that says true, 0 of one that says false; None of any other."""
    return _NUMBERS.get(cell.strip().lower())


def is_truth(cell: str) -> bool:
    """Whether a cell says true or false."""
    return truth_number(cell) is not None


def are_truths(names: Collection[str]) -> bool:
    """Whether all of these names, of which there are some, say true or false."""
    return bool(names) and all(map(is_truth, names))


def truth_names(names: Iterable[str]) -> dict[int, str]:
    """One of the names of false and one of true by their numbers 0 and 1, as far as they are among these; in order."""
    by_number = {number: name for name in sorted(names, reverse=True) if (number := truth_number(name)) is not None}
    return dict(sorted(by_number.items()))
