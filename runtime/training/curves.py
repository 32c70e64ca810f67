"""Learning curves as SVG: one panel for each quantity, with training and validation."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

WIDTH, HEIGHT, SMALL = 480, 290, 180  # of a panel; SMALL is the height of a learning rate's
MARGIN, GAP, HEADER = 20, 16, 56  # of the card: around the panels, between them, above them
TOP, RIGHT, BOTTOM = 64, 26, 48  # from a panel's edges to its plot; the left follows from the labels
TRAINING, VALIDATION, BEST, OTHER = "#2563eb", "#ea580c", "#15803d", "#7c3aed"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_INK, _GREY, _GRID, _FAINT = "#0f172a", "#64748b", "#e2e8f0", "#f1f5f9"
_SMALL = ("lr", "learning_rate")


def curves(history: Mapping[str, Sequence[float]], title: str, higher_is_better: Collection[str] = ()) -> str:
    """An SVG of a Keras-style history: `loss` and `val_loss` share a panel; the x axis is the epoch.

    The best epoch on validation data is marked: the one of the lowest value, or of the highest if `higher_is_better`.
    """
    panels = _panels(history, higher_is_better)
    columns = 2 if sum(panel.height == HEIGHT for panel in panels) > 1 else 1
    width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP
    parts: list[str] = []
    y = HEADER
    while panels:
        row = panels[:columns] if panels[0].height == HEIGHT else panels[:1]
        row = [panel for panel in row if panel.height == row[0].height]
        panels = panels[len(row) :]
        # A single panel in a row takes its full width.
        across = (width - 2 * MARGIN - (len(row) - 1) * GAP) // len(row)
        for column, panel in enumerate(row):
            x = MARGIN + column * (across + GAP)
            parts.append(f'<g class="panel" transform="translate({x} {y})">{panel.draw(across)}</g>')
        y += row[0].height + GAP
    if not parts:
        parts.append(_text(MARGIN + 4, HEADER + 14, "no epoch is finished yet", fill=_GREY))
        y = HEADER + 24
    height = y + MARGIN - (GAP if y > HEADER + 24 else 0)
    shown = _fit(title, width - 2 * MARGIN - 8, 17, bold=True)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="{_FONT}" font-size="12" fill="{_INK}">',
        f"<title>{_escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="12" fill="#f8fafc"/>',
        _text(MARGIN + 4, 36, shown, size=17, weight=600),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _panels(history: Mapping[str, Sequence[float]], higher_is_better: Collection[str]) -> list[_Panel]:
    """A panel for every quantity with values, in the order of the history, learning rates last."""
    series = {name: tuple(map(float, values)) for name, values in history.items() if len(values)}
    epochs = series.pop("epoch", ())
    count = max(map(len, series.values()), default=0)
    usable = len(epochs) >= count and all(map(math.isfinite, epochs)) and all(a < b for a, b in pairwise(epochs))
    if not usable:
        epochs = tuple(map(float, range(1, count + 1)))
    names = dict.fromkeys(name.removeprefix("val_") for name in series)
    panels = [
        _Panel(name, epochs[:count], series.get(name, ()), series.get(f"val_{name}", ()), name in higher_is_better)
        for name in names
    ]
    return sorted(panels, key=lambda panel: panel.name in _SMALL)


@dataclass(frozen=True)
class _Axis:
    """A linear or logarithmic axis: `low` is at pixel `start`, `high` at pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        value = math.log10(value) if self.logarithmic else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class _Panel:
    name: str
    epochs: tuple[float, ...]
    training: tuple[float, ...]
    validation: tuple[float, ...]
    higher_is_better: bool

    @property
    def height(self) -> int:
        return SMALL if self.name in _SMALL else HEIGHT

    def draw(self, width: int) -> str:
        top = TOP - 20 if self.name in _SMALL else TOP
        bottom = self.height - BOTTOM
        name = _fit(self.name, width - 32, 13, bold=True)
        parts = [
            f'<rect width="{width}" height="{self.height}" rx="8" fill="#ffffff" stroke="{_GRID}"/>',
            _text(16, 25, name, size=13, weight=600),
        ]
        numbers = [value for value in (*self.training, *self.validation) if _drawable(value)]
        if not numbers:
            middle = (top + bottom) / 2
            return "".join([*parts, _text(width / 2, middle, "no finite value", fill=_GREY, anchor="middle")])
        low, high, logarithmic = _range(numbers)
        marks = _decades(low, high) if logarithmic else ticks(low, high, 3 if self.name in _SMALL else 5)
        labels = _labels([10.0**mark for mark in marks] if logarithmic else marks, logarithmic)
        left = max(52.0, 26 + max(_width(label, 12) for label in labels))
        up = _Axis(low, high, bottom, top, logarithmic)
        across = self._across(left, width - RIGHT)
        if logarithmic and self.name not in _SMALL:
            parts += _between(marks, up, left, width - RIGHT)
        for mark, label in zip(marks, labels, strict=True):
            y = up.at(10.0**mark if logarithmic else mark)
            parts.append(_line(left, y, width - RIGHT, y, _GRID))
            parts.append(_text(left - 8, y + 4, label, fill=_GREY, anchor="end"))
        for epoch in _epoch_ticks(self.epochs):
            parts.append(_text(across.at(epoch), bottom + 20, f"{epoch:,}", fill=_GREY, anchor="middle"))
        parts.append(_text((left + width - RIGHT) / 2, bottom + 36, "epoch", fill=_GREY, anchor="middle", size=11))
        best = self._best()
        if best is not None:
            x = across.at(self.epochs[best])
            y = up.at(self.validation[best])
            parts.append(_line(x, y, x, bottom, BEST, 'stroke-dasharray="3 3" opacity="0.6"'))
        parts += _curve(self.epochs, self.training, across, up, OTHER if self.name in _SMALL else TRAINING)
        parts += _curve(self.epochs, self.validation, across, up, VALIDATION)
        if best is not None:
            edge = 'stroke="#ffffff" stroke-width="1.5"'
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{BEST}" {edge}/>')
        if self.name not in _SMALL:
            parts += self._legend(best)
        return "".join(parts)

    def _across(self, left: float, right: float) -> _Axis:
        first, last = self.epochs[0], self.epochs[-1]
        if first == last:  # one epoch stands in the middle
            return _Axis(first - 1, last + 1, left, right)
        return _Axis(first, last, left, right)

    def _best(self) -> int | None:
        """The index of the epoch with the best validation value; None if there are fewer than two values."""
        indices = [index for index, value in enumerate(self.validation) if _drawable(value)]
        if len(indices) < 2:
            return None
        sign = -1 if self.higher_is_better else 1
        return min(indices, key=lambda index: sign * self.validation[index])

    def _legend(self, best: int | None) -> list[str]:
        """A row under the name. It includes the best value, which would collide with the curve beside its dot."""
        parts: list[str] = []
        x = 16.0
        lines = ("training", TRAINING, self.training), ("validation", VALIDATION, self.validation)
        for label, color, values in lines:
            if values:
                parts.append(f'<rect x="{x:.1f}" y="41" width="14" height="3" rx="1.5" fill="{color}"/>')
                parts.append(_text(x + 20, 47, label, fill="#475569"))
                x += 20 + _width(label, 12) + 14
        if best is not None:
            best_text = f"best {_number(self.validation[best], 4)} at epoch {self.epochs[best]:,.0f}"
            parts.append(f'<circle cx="{x + 5:.1f}" cy="42.5" r="4.5" fill="{BEST}"/>')
            parts.append(_text(x + 16, 47, best_text, fill=BEST, weight=600))
        return parts


def _curve(epochs: Sequence[float], values: Sequence[float], across: _Axis, up: _Axis, color: str) -> list[str]:
    """A line through the values; values that cannot be drawn leave gaps, and a value between two gaps is a dot."""
    runs: list[list[tuple[float, float]]] = [[]]
    for epoch, value in zip(epochs, values, strict=False):
        if _drawable(value):
            runs[-1].append((across.at(epoch), up.at(value)))
        elif runs[-1]:
            runs.append([])
    parts = []
    for run in filter(None, runs):
        if len(run) == 1:
            parts.append(f'<circle cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="3.5" fill="{color}"/>')
            continue
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2" stroke-linejoin="round" '
            'stroke-linecap="round"/>'
        )
    return parts


def _drawable(value: float) -> bool:
    return abs(value) < 1e300  # neither NaN nor infinite, nor so large that a difference would be


def _range(numbers: Sequence[float]) -> tuple[float, float, bool]:
    """The limits of the y axis with margins, and whether they are logarithms."""
    low, high = min(numbers), max(numbers)
    logarithmic = low > 0 and math.log10(high) - math.log10(low) > 2
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    size = max(abs(low), abs(high))
    if high - low > max(1e-9 * size, 1e-290):
        air = (high - low) * 0.07
    else:  # flat, but for rounding
        air = size * 0.1 if size > 1e-290 else 1.0
    return low - air, high + air, logarithmic


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round numbers from `low` to `high`, spaced by 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * 0.999)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """About five powers of ten."""
    step = math.ceil((high - low) / 6)
    first = math.ceil(low / step) * step
    return [float(power) for power in range(first, math.floor(high) + 1, step)]


def _between(decades: Sequence[float], up: _Axis, left: float, right: float) -> list[str]:
    """Minor grid lines at 2 to 9 times the powers of ten."""
    if len(decades) > 1 and decades[1] - decades[0] > 1:
        return []
    powers = range(math.floor(up.low), math.ceil(up.high))
    values = [power + math.log10(times) for power in powers for times in range(2, 10)]
    inside = [up.at(10.0**value) for value in values if up.low < value < up.high]
    return [_line(left, y, right, y, _FAINT) for y in inside]


def _epoch_ticks(epochs: Sequence[float]) -> list[int]:
    first, last = math.ceil(epochs[0]), math.floor(epochs[-1])
    if last - first < 1:
        return [round(epochs[0])]
    marks = [round(tick) for tick in ticks(first, last) if tick == round(tick)]
    step = marks[1] - marks[0] if len(marks) > 1 else 1
    # The first epoch is labelled too, unless its label would overlap the next.
    return [first, *marks] if marks and marks[0] - first > 0.6 * step else marks


def _labels(values: Sequence[float], logarithmic: bool) -> list[str]:
    """The labels of an axis, with enough digits to tell neighbours apart."""
    if logarithmic or len(values) < 2:
        return [_number(value, 3) for value in values]
    largest, step = max(map(abs, values)), values[1] - values[0]
    digits = math.floor(math.log10(largest)) - math.floor(math.log10(step) + 1e-9) + 1
    return [_number(value, max(digits, 1)) if value else "0" for value in values]


def _number(value: float, digits: int) -> str:
    """Short and readable: 0.0025, 32,500, 4e9."""
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{max(digits - 1, 0)}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    whole = math.floor(math.log10(abs(value))) + 1 if value else 1
    text = f"{value:,.{max(digits - whole, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _width(text: str, size: float, bold: bool = False) -> float:
    """The approximate width of a text in the widest of the fonts."""
    ems = sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.7 if bold else 0.63 for letter in text)
    return ems * size


def _fit(text: str, room: float, size: float, bold: bool = False) -> str:
    if _width(text, size, bold) <= room:
        return text
    while text and _width(text + "…", size, bold) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def _escape(text: str) -> str:
    return escape("".join(letter if letter.isprintable() else " " for letter in text))  # XML has no control characters


def _text(
    x: float, y: float, text: str, fill: str = _INK, anchor: str = "start", size: float = 12, weight: int = 400
) -> str:
    style = f'fill="{fill}" font-size="{size:g}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{_escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, color: str, more: str = "") -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{color}" {more}/>'
