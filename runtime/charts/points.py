"""Scatter plots, and reliability diagrams of predicted probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runtime.charts.elements import circle, line, polyline, rectangle
from runtime.charts.palette import BLUE, MUTED, RAMP, Color
from runtime.charts.panel import WIDTH, Chart, Entry, Panel
from runtime.charts.readable_numbers import is_drawable, readable
from runtime.charts.scales import Scale, numeric_scale

_MOST_POINTS = 2000
_HEIGHT = 440
_SHARES = Scale(0.0, 1.0, tuple((tenth / 10, f"{tenth * 10}%") for tenth in range(0, 11, 2)))


def scatter(
    title: str,
    x: Iterable[float],
    y: Iterable[float],
    *,
    x_name: str = "",
    y_name: str = "",
    identity: bool = False,
    tips: Sequence[str] = (),
    note: str = "",
    color: Color = BLUE,
    width: float = WIDTH,
    height: float = _HEIGHT,
) -> Chart:
    """A dot for each pair. With `identity` both axes have one scale, and a line shows where both values are equal.

    Of very many pairs some are drawn, evenly spaced in their order; that is said.
    """
    labels = [*tips]
    pairs = [
        (float(left), float(right), labels[index] if index < len(labels) else "")
        for index, (left, right) in enumerate(zip(x, y, strict=True))
        if is_drawable(left) and is_drawable(right)
    ]
    count = len(pairs)
    if count > _MOST_POINTS:
        pairs = [pairs[index * count // _MOST_POINTS] for index in range(_MOST_POINTS)]
        note = f"{note}; " if note else ""
        note += f"{_MOST_POINTS:,} of {count:,} points"
    legend = [Entry("equal values", MUTED, "dashes")] if identity else []
    panel = Panel.begin(title, width, height, legend, note)
    if not pairs:
        panel.say("no finite value")
        return panel.chart(title, "No finite value.")
    x_values, y_values = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if identity:
        x_scale = y_scale = numeric_scale([*x_values, *y_values], logarithmic=False, air=0.03)
    else:
        x_scale, y_scale = numeric_scale(x_values, logarithmic=False), numeric_scale(y_values, logarithmic=False)
    x_axis, y_axis = panel.axes(x_scale, y_scale, x_name, y_name, grid="both")
    if identity:
        panel.parts.append(_diagonal(x_axis.start, y_axis.start, x_axis.end, y_axis.end))
    opacity = min(max(10 / math.sqrt(len(pairs)), 0.25), 0.8)
    panel.parts += [circle(x_axis.at(a), y_axis.at(b), 3, color, tip, opacity=opacity) for a, b, tip in pairs]
    description = (
        f"{count:,} points; {x_name or 'x'} from {readable(min(x_values))} to {readable(max(x_values))}, "
        f"{y_name or 'y'} from {readable(min(y_values))} to {readable(max(y_values))}."
    )
    return panel.chart(title, description)


def _diagonal(x: float, y: float, to_x: float, to_y: float) -> str:
    return line(x, y, to_x, to_y, MUTED, stroke_width=1.5, stroke_dasharray="4 3")


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions of similar confidence: their mean confidence, the share of correct ones, and their number."""

    confidence: float
    share_right: float
    count: int


def calibration_plot(
    title: str,
    bins: Sequence[CalibrationBin],
    *,
    x_name: str = "confidence",
    y_name: str = "share that is right",
    note: str = "",
    width: float = WIDTH,
    height: float = _HEIGHT,
) -> Chart:
    """A reliability diagram: the share of correct predictions by their confidence.

    On the diagonal they are right as often as they say. Columns show how many predictions there are of a confidence.
    """
    bins = [group for group in bins if group.count and is_drawable(group.confidence) and is_drawable(group.share_right)]
    legend = [
        Entry("model", BLUE),
        Entry("perfectly calibrated", MUTED, "dashes"),
        Entry("predictions", RAMP[2], "square"),
    ]
    panel = Panel.begin(title, width, height, legend, note)
    if not bins:
        panel.say("no predictions")
        return panel.chart(title, "No predictions.")
    x_axis, y_axis = panel.axes(_SHARES, _SHARES, x_name, y_name)
    most = max(group.count for group in bins)
    wide = min((x_axis.end - x_axis.start) / max(len(bins), 10) * 0.8, 30.0)
    for group in bins:
        tall = (y_axis.start - y_axis.end) * 0.25 * group.count / most
        x = min(max(x_axis.at(group.confidence) - wide / 2, x_axis.start), x_axis.end - wide)
        panel.parts.append(rectangle(x, y_axis.start - tall, wide, tall, RAMP[2], f"{group.count:,} predictions"))
    panel.parts.append(_diagonal(x_axis.start, y_axis.start, x_axis.end, y_axis.end))
    points = [(x_axis.at(group.confidence), y_axis.at(group.share_right)) for group in bins]
    if len(points) > 1:
        panel.parts.append(polyline(points, BLUE))
    for (x, y), group in zip(points, bins, strict=True):
        tip = f"confidence {group.confidence:.1%}, right {group.share_right:.1%}, {group.count:,} predictions"
        panel.parts.append(circle(x, y, 4.5, BLUE, tip))
    sentences = [f"Of {group.count:,} at {group.confidence:.0%}, {group.share_right:.0%} are right." for group in bins]
    return panel.chart(title, " ".join(sentences))
