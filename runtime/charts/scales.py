"""Scales of axes: linear, logarithmic or by name, with ticks at round values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from runtime.charts.readable_numbers import decades, labels, readable, ticks, whole_ticks

_AIR = 0.07  # of the range, beyond its ends
_MOST_DISTINCT = 6  # values that have a tick each


@dataclass(frozen=True)
class Scale:
    """An interval of values, or of their logarithms; `ticks` are values with their labels, `minor` ones have none."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    minor: tuple[float, ...] = ()
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """The position of a value, from 0 at the low end to 1 at the high one."""
        value = math.log10(value) if self.logarithmic else value
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Axis:
    """A scale on pixels: its low end is at `start`, its high one at `end`."""

    scale: Scale
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + self.scale.share(value) * (self.end - self.start)


def numeric_scale(
    values: Sequence[float], *, logarithmic: bool | None = None, about: int = 5, air: float = _AIR
) -> Scale:
    """A scale for values, which are drawable; `air` is left at both ends, as a fraction of the range.

    Unless it is said, the scale is logarithmic for positive values of more than two decades. One that is asked for is
    linear where a value is not positive. Without values, it goes from 0 to 1.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if logarithmic is None:
        logarithmic = low > 0 and math.log10(high) - math.log10(low) > 2
    if logarithmic and low > 0:
        return _logarithmic(math.log10(low), math.log10(high), about, air)
    low, high = _widened(low, high, air)
    marks = ticks(low, high, about)
    return Scale(low, high, tuple(zip(marks, labels(marks), strict=True)))


def whole_scale(values: Sequence[float]) -> Scale:
    """A scale for counts such as epochs, without air at its ends; a single one stands in the middle."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    marks = tuple((tick, f"{tick:,.0f}") for tick in whole_ticks(low, high))
    return Scale(low - 1, high + 1, marks) if low == high else Scale(low, high, marks)


def with_ticks_at(scale: Scale, values: Sequence[float]) -> Scale:
    """The scale with a tick at each of the values, if they are whole or repeat, and are few with room between them."""
    distinct = sorted(set(values))
    if not 0 < len(distinct) <= _MOST_DISTINCT:
        return scale
    if len(distinct) == len(values) and any(value % 1 for value in distinct):
        return scale
    shares = [scale.share(value) for value in distinct]
    if any(after - before <= 0.06 for before, after in pairwise(shares)):
        return scale
    return replace(scale, ticks=tuple((value, readable(value)) for value in distinct), minor=())


def named_scale(names: Sequence[str]) -> Scale:
    """A scale on which each name has its index, the first at the low end."""
    last = max(len(names) - 1, 0)
    return Scale(-0.5 if not last else -0.1 * last, 0.5 if not last else 1.1 * last, tuple(enumerate(names)))


def _logarithmic(low: float, high: float, about: int, air: float) -> Scale:
    low, high = _widened(low, high, air)
    if high < -300.0:  # too small for differences between ticks
        return Scale(low, high, (), (), True)
    powers = decades(max(low, -307.0), min(high, 300.0))  # beyond are no numbers
    if len(powers) >= 2:
        marks = [10.0**power for power in powers]
        minor = _within_decades(low, high) if powers[1] - powers[0] == 1 else ()
        return Scale(low, high, tuple((mark, readable(mark, 3)) for mark in marks), minor, True)
    marks = [mark for mark in ticks(10.0**low, 10.0**high, about) if mark > 0]  # within a decade, as on a linear one
    return Scale(low, high, tuple(zip(marks, labels(marks), strict=True)), (), True)


def _within_decades(low: float, high: float) -> tuple[float, ...]:
    """2 to 9 times the powers of ten, for minor grid lines, which show that the scale is logarithmic."""
    powers = range(math.floor(low), math.ceil(high))
    values = [times * 10.0**power for power in powers for times in range(2, 10)]
    return tuple(value for value in values if low < math.log10(value) < high)


def _widened(low: float, high: float, air: float) -> tuple[float, float]:
    size = max(abs(low), abs(high))
    if high - low > max(1e-9 * size, 1e-290):
        return low - (high - low) * air, high + (high - low) * air
    beyond = size * 0.1 if size > 1e-290 else 1.0  # flat, but for rounding
    return low - beyond, high + beyond
