"""Cells that say that there is no number, and values that are none."""

from __future__ import annotations

from typing import Any

_MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "-", "?"})


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no number: in one of the ways in which programs and offices write it."""
    return cell.strip().lower() in _MISSING


def is_nothing(value: Any) -> bool:
    """Whether a value from Python is None, NaN, NaT or the NA of pandas, whose comparisons are not bool."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True
