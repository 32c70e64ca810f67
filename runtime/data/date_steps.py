"""The step of a series by its dates, and the rows that are missing from it altogether."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from compiler.time_steps import TimeStep

if TYPE_CHECKING:
    from compiler.types import Array

LOOKED_AT = 512  # steps that say what the step of a series is
_FEWEST = 8
_REGULAR = 0.9  # the share of equal steps in a regular series: weekdays have 0.8, hours of trading less than 0.88


def missing_rows(moments: Array) -> Array:
    """How many rows are missing before each row of a series, by its dates [rows] in `datetime64`.

    A series is regular if nine of ten steps are the same time, or the same number of months. In any other, such as one
    of working days, no row is missing. A row without a date is next to those around it.
    """
    nowhere = np.zeros(len(moments), np.int64)
    step = step_of(moments)
    if step is None:
        return nowhere
    steps, both = _steps(moments, "M" if step.in_months else "us")
    nowhere[1:] = np.where(both, np.maximum(steps // step.amount - 1, 0), 0)
    return nowhere


def step_of(moments: Array) -> TimeStep | None:
    """The step of a regular series by its dates [rows]; None of any other series, and where there are too few."""
    for unit in ("us", "M"):
        most, share, count = _most_common(moments, unit)
        if count >= _FEWEST and share >= _REGULAR:
            return TimeStep(most, unit == "M")
    return None


def usual_step(moments: Array) -> tuple[TimeStep, float] | None:
    """The step that is the most common by the dates [rows], and its share; None where there are too few."""
    most, share, count = _most_common(moments, "us")
    return (TimeStep(most), share) if count >= _FEWEST else None


def _most_common(moments: Array, unit: Literal["us", "M"]) -> tuple[int, float, int]:
    """The most common step forward in a unit, its share of all such steps, and how many there are."""
    steps, both = _steps(moments, unit)
    forward = steps[both & (steps > 0)][:LOOKED_AT]
    if not len(forward):
        return 0, 0.0, 0
    sizes, counts = np.unique(forward, return_counts=True)
    return int(sizes[counts.argmax()]), float(counts.max() / len(forward)), len(forward)


def _steps(moments: Array, unit: Literal["us", "M"]) -> tuple[Array, Array]:
    """The steps from each row to the next in a unit, and which of them are between two dates."""
    dated = ~np.isnat(moments)
    return np.diff(moments.astype(f"datetime64[{unit}]").astype(np.int64)), dated[1:] & dated[:-1]
