"""Line charts: quantities over epochs, time or another quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runtime.charts.elements import circle, line, polyline
from runtime.charts.palette import BEST, MUTED, SERIES, SURFACE, Color
from runtime.charts.panel import HEIGHT, WIDTH, Chart, Entry, Panel
from runtime.charts.readable_numbers import is_drawable, readable
from runtime.charts.scales import Axis, numeric_scale, whole_scale, with_ticks_at
from runtime.charts.times import time_scale

_DENSE = 4  # points for each pixel of width, from which a line is thinned out
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A quantity: its value `y[i]` at `x[i]`. Values that are not finite leave gaps.

    Steps keep a value up to the next one. `tips` are texts for the dots, one for each value.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: Literal["line", "steps", "dots"] = "line"
    color: Color | None = None  # None is the next of the palette
    tips: Sequence[str] = ()


@dataclass(frozen=True)
class Highlight:
    """A point that stands out; its text is in the legend, since beside the point it would collide with a line."""

    x: float
    y: float
    text: str


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_name: str = "",
    y_name: str = "",
    log_x: bool = False,
    log_y: bool | None = None,
    whole_x: bool = False,
    ticks_at_x: bool = False,
    times: bool = False,
    levels: Mapping[str, float] | None = None,
    highlight: Highlight | None = None,
    legend: bool = True,
    note: str = "",
    about: int = 5,
    air: float = 0.0,
    width: float = WIDTH,
    height: float = HEIGHT,
) -> Chart:
    """A chart of several series. `levels` are dashed horizontal lines by name.

    With `whole_x`, values of x are counts such as epochs; with `times` they are seconds since 1970, and the
    axis has dates. With `ticks_at_x`, values of x that are whole or repeat have a tick each, if they are few.

    The y axis is logarithmic with `log_y`, or if it is None and values are positive and span more than two decades. It
    has about `about` ticks. `air` is left at both ends of the x axis, as a fraction of it.
    """
    levels = {name: value for name, value in (levels or {}).items() if is_drawable(value)}
    colors = _colors(series)
    entries = _legend(series, colors, levels, highlight) if legend else []
    panel = Panel.begin(title, width, height, entries, note)
    points = [_drawable_points(curve, log_x) for curve in series]
    x_values = [x for curve in series for x in curve.x[: len(curve.y)] if _is_drawable_at(x, 0.0, log_x)]
    y_values = [*(y for curve in points for _, y in curve), *levels.values()]
    description = _description(series, x_name)
    if not any(points):
        panel.say("no finite value")
        return panel.chart(title, description)
    if times:
        x_scale = time_scale(x_values)
    else:
        x_scale = whole_scale(x_values) if whole_x else numeric_scale(x_values, logarithmic=log_x, air=air)
    if ticks_at_x:
        x_scale = with_ticks_at(x_scale, x_values)
    y_scale = numeric_scale(y_values, logarithmic=log_y, about=about)
    x_axis, y_axis = panel.axes(x_scale, y_scale, x_name, y_name)
    for value in levels.values():
        y = y_axis.at(value)
        panel.parts.append(line(x_axis.start, y, x_axis.end, y, MUTED, stroke_width=1.5, stroke_dasharray="4 3"))
    if highlight is not None:
        x, y = x_axis.at(highlight.x), y_axis.at(highlight.y)
        panel.parts.append(line(x, y, x, y_axis.start, BEST, stroke_dasharray="3 3", opacity=0.6))
    for number, curve in enumerate(series):
        panel.parts += _draw(curve, colors[number], number >= len(SERIES), x_axis, y_axis)
    if highlight is not None:
        panel.parts.append(circle(x, y, 4.5, BEST, stroke=SURFACE, stroke_width=1.5))
    return panel.chart(title, description)


def _colors(series: Sequence[Series]) -> list[Color]:
    return [curve.color or SERIES[number % len(SERIES)] for number, curve in enumerate(series)]


def _legend(
    series: Sequence[Series], colors: Sequence[Color], levels: Mapping[str, float], highlight: Highlight | None
) -> list[Entry]:
    entries = []
    for number, (curve, color) in enumerate(zip(series, colors, strict=True)):
        line_mark: Literal["line", "dashes"] = "dashes" if number >= len(SERIES) else "line"
        entries.append(Entry(curve.name, color, "dot" if curve.style == "dots" else line_mark))
    entries += [Entry(f"{name} {readable(value)}", MUTED, "dashes") for name, value in levels.items()]
    if highlight is not None:
        entries.append(Entry(highlight.text, BEST, "dot", bold=True))
    return entries


def _is_drawable_at(x: float, y: float, log_x: bool) -> bool:
    return is_drawable(x) and is_drawable(y) and (x > 0 or not log_x)


def _drawable_points(series: Series, log_x: bool) -> Points:
    return [(x, y) for x, y in zip(series.x, series.y, strict=False) if _is_drawable_at(x, y, log_x)]


def _draw(series: Series, color: Color, dashed: bool, x_axis: Axis, y_axis: Axis) -> list[str]:
    """A line for each stretch of values; a value between two gaps is a dot."""
    runs: list[Points] = [[]]
    dots: list[str] = []
    for index, (x, y) in enumerate(zip(series.x, series.y, strict=False)):
        if _is_drawable_at(x, y, x_axis.scale.logarithmic):
            runs[-1].append((x_axis.at(x), y_axis.at(y)))
            if series.style == "dots":
                tip = series.tips[index] if index < len(series.tips) else ""
                dots.append(circle(*runs[-1][-1], 3.5, color, tip, opacity=0.75))
        elif runs[-1]:
            runs.append([])
    if series.style == "dots":
        return dots
    parts = []
    for run in filter(None, runs):
        if len(run) == 1:
            parts.append(circle(*run[0], 3.5, color))
            continue
        points = _steps(run) if series.style == "steps" else _thinned(run)
        parts.append(polyline(points, color, **({"stroke_dasharray": "6 4"} if dashed else {})))
    return parts


def _steps(points: Points) -> Points:
    stairs = points[:1]
    for x, y in points[1:]:
        stairs += [(x, stairs[-1][1]), (x, y)]
    return stairs


def _thinned(points: Points) -> Points:
    """The points of a line that looks the same: on each pixel the first, the last, and the two extremes."""
    if len(points) <= _DENSE * (points[-1][0] - points[0][0]):
        return points
    columns: dict[int, Points] = {}
    for point in points:
        columns.setdefault(round(point[0]), []).append(point)
    kept: Points = []
    for column in columns.values():
        low = min(range(len(column)), key=lambda index: column[index][1])
        high = max(range(len(column)), key=lambda index: column[index][1])
        kept += [column[index] for index in sorted({0, low, high, len(column) - 1})]
    return kept


def _description(series: Sequence[Series], x_name: str) -> str:
    over = f" by {x_name}" if x_name else ""
    sentences = []
    for curve in series:
        values = [value for value in curve.y if is_drawable(value)]
        if not values:
            sentences.append(f"{curve.name}{over} has no finite value.")
            continue
        extremes = f"lowest {readable(min(values))}, highest {readable(max(values))}, last {readable(values[-1])}"
        sentences.append(f"{curve.name}{over}, {len(values):,} values: {extremes}.")
    return " ".join(sentences)
