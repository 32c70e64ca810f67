"""The step of a series by its dates, and the rows that are missing from it altogether.

Dates [rows] are of the dtype DATES: steps of less than a day are between instants, those of months between local times,
and those of days either, as `runtime.data.instants.elapsed` has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

from compiler.time_steps import TimeStep
from runtime.data.instants import DAY, instant, local

if TYPE_CHECKING:
    from compiler.types import Array

DATES = np.dtype([("instant", "datetime64[us]"), ("local", "datetime64[us]")])  # the same where there is no offset
MOST_DATES = 513  # of a series, from the first one on: the steps between them say what its step is
_FEWEST = 8
REGULAR = 0.9  # the share of equal steps in a regular series: weekdays have 0.8, hours of trading less than 0.88
_LONG_GAP = 1000  # rows
_DAY = DAY // DAY.resolution  # microseconds
_Time = Literal["instant", "local"]
_Unit = Literal["us", "M"]


def dates_of(moments: Sequence[datetime | None]) -> Array:
    """Dates [rows] of the dtype DATES, with NaT for None."""
    dates = np.empty(len(moments), DATES)
    has_offsets = any(moment is not None and moment.tzinfo is not None for moment in moments)
    dates["local"] = [None if moment is None else local(moment) for moment in moments] if has_offsets else moments
    dates["instant"] = dates["local"]
    if has_offsets:
        dates["instant"] = [None if moment is None else instant(moment) for moment in moments]
    return dates


class SeriesStep:
    """The step of a series whose rows come some at a time: its first dates tell, as of a table in memory."""

    def __init__(self) -> None:
        self._first = np.empty(0, DATES)

    def look(self, dates: Array) -> None:
        """More rows of the series, by their dates [rows]."""
        self._first = np.concatenate([self._first, dates[: MOST_DATES - len(self._first)]])

    @property
    def is_decided(self) -> bool:
        """Whether later rows change nothing."""
        return len(self._first) == MOST_DATES

    @property
    def step(self) -> TimeStep | None:
        """The step by the dates so far; None where the series is not regular, or too short to tell."""
        return step_of(self._first)


def missing_rows(dates: Array, step: TimeStep | None) -> Array:
    """How many rows are missing before each row of a series of this step, by its dates [rows].

    A part of a step counts as one. None is the step of a series that is not regular, such as one of working days: no
    row is missing from it. A row without a date is next to those around it.
    """
    nowhere = np.zeros(len(dates), np.int64)
    if step is None or not len(dates):
        return nowhere
    lengths, both = _lengths(dates, step)
    nowhere[1:] = np.where(both, np.maximum(-(-lengths // step.amount) - 1, 0), 0)
    return nowhere


def early_rows(dates: Array, step: TimeStep | None) -> Array:
    """The indices of the rows of a series of this step that come sooner after the row before."""
    if step is None or not len(dates):
        return np.zeros(0, np.int64)
    lengths, both = _lengths(dates, step)
    forward, _ = _steps(dates["instant"], "us")
    return np.flatnonzero(both & (forward > 0) & (lengths < step.amount)) + 1


def is_wrong_date(missing: int, count: int) -> bool:
    """Whether so many rows are missing from a series of `count` that one of the two dates is likely a wrong one."""
    return missing > max(_LONG_GAP, count)


def step_of(dates: Array) -> TimeStep | None:
    """The step of a regular series by its first dates [rows]; None of any other series, and where there are too few.

    A series is regular if nine of ten steps are the same time, or the same number of months.
    """
    return next((step for step, share in _most_common(dates) if share >= REGULAR), None)


def usual_step(dates: Array) -> tuple[TimeStep, float] | None:
    """The step that is the most common by the first dates [rows], and its share; None where there are too few."""
    return max(_most_common(dates), key=lambda way: way[1], default=None)


def _lengths(dates: Array, step: TimeStep) -> tuple[Array, Array]:
    """How long each step is, in the unit of `step`, and which of them are between two dates."""
    by_local = _steps(dates["local"], "M" if step.in_months else "us")
    if step.in_months:
        return by_local
    lengths, both = _steps(dates["instant"], "us")
    if step.amount % _DAY == 0:
        lengths = np.where((by_local[0] % step.amount == 0) | (lengths % step.amount != 0), by_local[0], lengths)
    return lengths, both


def _most_common(dates: Array) -> Iterator[tuple[TimeStep, float]]:
    """The most common steps forward among the first dates, of time and of months, each with its share of them all."""
    ways: tuple[tuple[_Time, _Unit], ...] = (("instant", "us"), ("local", "us"), ("local", "M"))
    for time, unit in ways:
        moments = dates[time][:MOST_DATES]
        elapsed, both = _steps(moments, "us")
        steps, _ = _steps(moments, unit)
        forward = steps[both & (elapsed > 0)]
        if len(forward) < _FEWEST:
            continue
        sizes, counts = np.unique(forward, return_counts=True)
        most = int(sizes[counts.argmax()])
        if most and ((time, unit) != ("local", "us") or most % _DAY == 0):
            yield TimeStep(most, unit == "M"), float(counts.max() / len(forward))


def _steps(moments: Array, unit: _Unit) -> tuple[Array, Array]:
    """The steps from each row to the next in a unit, and which of them are between two dates."""
    dated = ~np.isnat(moments)
    return np.diff(moments.astype(f"datetime64[{unit}]").astype(np.int64)), dated[1:] & dated[:-1]
