"""Round numbers for axes, and readable numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def is_drawable(value: float) -> bool:
    """Whether a number can be drawn: neither NaN nor infinite, nor so large that a difference would be."""
    return abs(value) < 1e300


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round numbers from `low` to `high`, spaced by 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((times * power for times in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """About five evenly spaced exponents of ten from `low` to `high`."""
    step = math.ceil((high - low) / 6)
    first = math.ceil(low / step) * step
    return [float(power) for power in range(first, math.floor(high) + 1, step)]


def whole_ticks(low: float, high: float) -> list[float]:
    """Round whole numbers from `low` to `high`, including the first if there is room for it."""
    first, last = math.ceil(low), math.floor(high)
    if last - first < 1:
        return [float(round(low))]
    marks = [float(round(tick)) for tick in ticks(first, last) if tick == round(tick)]
    step = marks[1] - marks[0] if len(marks) > 1 else 1
    return [float(first), *marks] if marks and marks[0] - first > 0.6 * step else marks


def labels(values: Sequence[float]) -> list[str]:
    """The labels of evenly spaced numbers, with enough digits to tell neighbours apart."""
    if len(values) < 2:
        return [readable(value, 3) for value in values]
    largest, step = max(map(abs, values)), values[1] - values[0]
    digits = math.floor(math.log10(largest)) - math.floor(math.log10(step) + 1e-9) + 1
    return [readable(value, max(digits, 1)) if value else "0" for value in values]


def readable(value: float, digits: int = 4) -> str:
    """Short and readable: 0.0025, 32,500, 4e9. Whole digits are never rounded away below a million."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{max(digits - 1, 0)}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    whole = math.floor(math.log10(abs(value))) + 1 if value else 1
    text = f"{value:,.{max(digits - whole, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """A readable duration: 0.4 s, 12 s, 3 min, 2.5 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def prefixed(number: float) -> str:
    """An amount with three significant digits and the prefix of its unit: 1.23 M."""
    for scale, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= scale:
            return f"{number / scale:.3g} {letter}"
    return f"{number:.3g} "
