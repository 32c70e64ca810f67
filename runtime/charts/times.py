"""Axes of dates and times of day: ticks at the ends of minutes, hours, days, months or years."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from runtime.charts.scales import Scale, numeric_scale

_EPOCH = datetime(1970, 1, 1)
_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(1, 5, 15, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY),
)
_MONTHS = (1, 3, 6, *(12 * years * power for power in (1, 10, 100, 1000) for years in (1, 2, 5)))
_MONTH = 30.44 * _DAY
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ABOUT = 5


def seconds_of(time: datetime) -> float:
    """A date and time as the seconds since 1970 that an axis of times takes; time zones are ignored."""
    return (time.replace(tzinfo=None) - _EPOCH).total_seconds()


def time_scale(values: Sequence[float]) -> Scale:
    """A scale for times in seconds since 1970, without air at its ends.

    Those that no calendar has are numbers like others.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        low, high = low - _HOUR, high + _HOUR
    if low < seconds_of(_FIRST) or high > seconds_of(_LAST) or high - low < 1:
        return numeric_scale(values, logarithmic=False, air=0.0)
    ticks = _ticks(low, high)
    return Scale(low, high, tuple((seconds_of(time), label) for time, label in ticks))


def _ticks(low: float, high: float) -> list[tuple[datetime, str]]:
    target = (high - low) / _ABOUT
    step = min((*_STEPS, *(months * _MONTH for months in _MONTHS)), key=lambda step: abs(math.log(step / target)))
    if step in _STEPS:
        first, last = math.ceil(low / step), math.floor(high / step)
        times = [_EPOCH + timedelta(seconds=number * step) for number in range(first, last + 1)]
        label = _hour if step < _DAY else _day
    else:
        times = _months(low, high, round(step / _MONTH))
        label = _month if step < 12 * _MONTH else _year
    return [(time, label(time, times[index - 1] if index else None)) for index, time in enumerate(times)]


def _months(low: float, high: float, step: int) -> list[datetime]:
    """The first day of every month, or of every `step` months."""
    first, last = (_EPOCH + timedelta(seconds=seconds) for seconds in (low, high))
    numbers = range(math.ceil((first.year * 12 + first.month - 1) / step), (last.year * 12 + 12) // step + 1)
    every = [divmod(number * step, 12) for number in numbers]
    times = [datetime(year, month + 1, 1) for year, month in every if 1 <= year <= 9999]
    return [time for time in times if first <= time <= last]


def _hour(time: datetime, before: datetime | None) -> str:
    """The time of day; of the first tick of a day the date too."""
    written = f"{time:%H:%M}" if not time.second else f"{time:%H:%M:%S}"
    if before is None or before.date() != time.date():
        return _day(time, None) if not (time.hour or time.minute or time.second) else f"{_day(time, time)} {written}"
    return written


def _day(time: datetime, before: datetime | None) -> str:
    """The day; of the first tick of a year the year too."""
    day = f"{_NAMES[time.month - 1]} {time.day}"
    return day if before is not None and before.year == time.year else f"{day}, {time.year}"


def _month(time: datetime, before: datetime | None) -> str:
    name = _NAMES[time.month - 1]
    return name if before is not None and before.year == time.year else f"{name} {time.year}"


def _year(time: datetime, before: datetime | None) -> str:
    return str(time.year)
