"""Steps between dates as texts: "1 hour", "15 minutes", "3 months"."""

from __future__ import annotations

import re
from typing import NamedTuple

_MICROSECONDS = {
    "week": 604_800_000_000,
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
}
_MONTHS = {"year": 12, "quarter": 3, "month": 1}
_STEP = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?([a-z]+?)s?")


class TimeStep(NamedTuple):
    """A length of time in microseconds, or a number of months."""

    amount: int
    in_months: bool = False

    def __str__(self) -> str:
        if self.in_months:
            return counted(self.amount // 12, "year") if self.amount % 12 == 0 else counted(self.amount, "month")
        for unit, size in _MICROSECONDS.items():
            if self.amount % size == 0:
                return counted(self.amount // size, unit)
        return counted(self.amount / 1_000_000, "second")


def time_step_of(text: str) -> TimeStep | None:
    """The step that a text says; None for anything else."""
    match = _STEP.fullmatch(text.strip().lower())
    if match is None or match[2] not in {*_MICROSECONDS, *_MONTHS}:
        return None
    number, unit = float(match[1]), match[2]
    count = number * (_MONTHS[unit] if unit in _MONTHS else _MICROSECONDS[unit])
    return TimeStep(int(count), unit in _MONTHS) if count >= 1 and count == int(count) else None


def counted(number: float, unit: str) -> str:
    """So many of a unit."""
    return f"{number} {unit}" + ("" if abs(number) == 1 else "s")
