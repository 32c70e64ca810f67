"""Bar charts of named amounts, and histograms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from runtime.charts.elements import fit, line, rectangle, text, text_width
from runtime.charts.palette import BLUE, GRID, INK, MUTED, Color
from runtime.charts.panel import EDGE, HEIGHT, WIDTH, Chart, Panel
from runtime.charts.readable_numbers import is_drawable, readable, ticks
from runtime.charts.scales import Axis, Scale, numeric_scale

_ROW, _BAR = 26.0, 16.0
_MOST_BINS = 50


def bar_chart(
    title: str,
    amounts: Mapping[str, float],
    *,
    texts: Sequence[str] | None = None,
    note: str = "",
    color: Color = BLUE,
    most: int = 30,
    width: float = WIDTH,
) -> Chart:
    """A horizontal bar from 0 for each amount, in order, with the value at its end.

    `texts` replace the values. Only the first `most` are drawn, with a note of how many more there are.
    """
    written = texts if texts is not None else [readable(amount, 3) for amount in amounts.values()]
    rows = list(zip(amounts.items(), written, strict=True))
    more = len(rows) - most
    rows = rows[:most]
    height = 44 + max(len(rows), 1) * _ROW + (_ROW if more > 0 else 0) + (20 if note else 0) + 14
    panel = Panel.begin(title, width, height, note=note)
    description = "; ".join(f"{name}: {label}" for (name, _), label in rows) + "."
    if not rows:
        panel.say("nothing to show")
        return panel.chart(title, "Nothing to show.")
    names = min(max(text_width(name) for (name, _), _ in rows), width * 0.4)
    room = max(text_width(label) for _, label in rows) + 8
    drawable = [amount for (_, amount), _ in rows if is_drawable(amount)]
    low, high = min([0.0, *drawable]), max([0.0, *drawable])
    left = EDGE + names + 10 + (room if low < 0 else 0)
    axis = Axis(Scale(low, high if high > low else low + 1, ()), left, width - EDGE - room)
    y = panel.top
    for (name, amount), label in rows:
        panel.parts.append(text(EDGE + names, y + _ROW / 2 + 4, fit(name, names), anchor="end"))
        end = axis.at(amount if is_drawable(amount) else 0.0)
        start = axis.at(0.0)
        bar = rectangle(min(start, end), y + (_ROW - _BAR) / 2, abs(end - start), _BAR, color, f"{name}: {label}", rx=2)
        before = is_drawable(amount) and amount < 0
        anchor = "end" if before else "start"
        panel.parts += [bar, text(end + (-6 if before else 6), y + _ROW / 2 + 4, label, fill=MUTED, anchor=anchor)]
        y += _ROW
    panel.parts.append(line(axis.at(0.0), panel.top, axis.at(0.0), y, GRID, stroke_width=1.5))
    if more > 0:
        panel.parts.append(text(EDGE, y + _ROW / 2 + 4, f"and {more:,} more", fill=MUTED))
    return panel.chart(title, description)


def histogram(
    title: str,
    values: Iterable[float],
    *,
    x_name: str = "",
    y_name: str = "count",
    bins: int | None = None,
    mark: float | None = None,
    note: str = "",
    color: Color = BLUE,
    width: float = WIDTH,
    height: float = HEIGHT,
) -> Chart:
    """Counts of values in intervals of equal width between round numbers, and a vertical line at `mark`.

    There are about `bins` of them, or as many as by the rule of Freedman and Diaconis (1981).
    """
    numbers = sorted(float(value) for value in values if is_drawable(value))
    panel = Panel.begin(title, width, height, note=note)
    if not numbers:
        panel.say("no finite value")
        return panel.chart(title, "No finite value.")
    edges = bin_edges(numbers, bins)
    counts = bin_counts(numbers, edges)
    inside = [*edges, mark] if mark is not None and is_drawable(mark) else edges
    x_scale = numeric_scale(inside, logarithmic=False, air=0.0)
    y_scale = numeric_scale([0.0, max(counts)], logarithmic=False, air=0.0)
    whole = tuple((tick, label) for tick, label in y_scale.ticks if tick == round(tick))
    y_scale = Scale(0.0, y_scale.high * 1.05, whole)
    x_axis, y_axis = panel.axes(x_scale, y_scale, x_name, y_name)
    for (start, end), count in zip(pairwise(edges), counts, strict=True):
        if count:
            x, y = x_axis.at(start), y_axis.at(count)
            wide = max(x_axis.at(end) - x - 1, 1.0)
            tip = f"{readable(start)} to {readable(end)}: {count:,}"
            panel.parts.append(rectangle(x + 0.5, y, wide, y_axis.start - y, color, tip, rx=1, opacity=0.85))
    panel.parts.append(line(x_axis.start, y_axis.start, x_axis.end, y_axis.start, GRID))
    if mark is not None and is_drawable(mark):
        x = x_axis.at(mark)
        panel.parts.append(line(x, y_axis.end, x, y_axis.start, INK, stroke_width=1.5, stroke_dasharray="4 3"))
    middle = numbers[len(numbers) // 2]
    fullest = counts.index(max(counts))
    description = (
        f"{len(numbers):,} values from {readable(numbers[0])} to {readable(numbers[-1])}, median {readable(middle)}; "
        f"most lie from {readable(edges[fullest])} to {readable(edges[fullest + 1])}."
    )
    return panel.chart(title, description)


def bin_edges(numbers: Sequence[float], bins: int | None = None) -> list[float]:
    """The edges of intervals of equal width, round numbers, for sorted numbers; one interval if all are equal."""
    low, high = numbers[0], numbers[-1]
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, 1e-290):
        beyond = size * 0.05 if size > 1e-290 else 0.5
        return [low - beyond, low + beyond]
    if bins is None:
        count = len(numbers)
        spread = numbers[count * 3 // 4] - numbers[count // 4]
        estimate = (high - low) / (2 * spread) * count ** (1 / 3) if spread > 0 else math.sqrt(count)
        bins = round(min(max(estimate, math.sqrt(count) / 2, 5.0), _MOST_BINS))
    marks = ticks(low, high, bins)
    step = marks[1] - marks[0] if len(marks) > 1 else high - low
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [number * step for number in range(first, last + 1)]


def bin_counts(numbers: Iterable[float], edges: Sequence[float]) -> list[int]:
    """The number of values in each interval; an edge belongs to the interval above it."""
    counts = [0] * (len(edges) - 1)
    width = edges[1] - edges[0]
    for number in numbers:
        index = min(max(int((number - edges[0]) / width + 1e-9), 0), len(counts) - 1)
        counts[index] += 1
    return counts
