"""Cells that say that there is no number."""

from __future__ import annotations

_MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "-", "?"})


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no number: in one of the ways in which programs and offices write it."""
    return cell.strip().lower() in _MISSING
