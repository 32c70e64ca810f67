"""Parallel coordinates: an axis for every setting, and across them a line for each trial, coloured by its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.charts.elements import fit, line, polyline, text, text_width
from runtime.charts.palette import BEST, GRID, MUTED, RAMP, STEPS, SURFACE
from runtime.charts.panel import EDGE, Chart, Entry, Panel
from runtime.charts.readable_numbers import is_drawable, readable
from runtime.charts.scales import Axis, Scale, named_scale, numeric_scale, with_ticks_at

_HEIGHT, _NARROWEST, _SPACING = 380, 968, 104
_MISSING = "none"


@dataclass(frozen=True)
class Dimension:
    """A setting with its value on each line: numbers, or texts for the names of options; None if it had none.

    Flags are texts too. By default, positive numbers that span more than two decades have a logarithmic axis.
    """

    name: str
    values: Sequence[float | str | None]
    logarithmic: bool | None = None


@dataclass(frozen=True)
class _DrawnAxis:
    """A dimension's axis, the height of lines without a value, and the height of each line."""

    axis: Axis
    missing: float | None
    heights: list[float]


def parallel_coordinates(
    title: str,
    dimensions: Sequence[Dimension],
    objective: Dimension,
    *,
    higher_is_better: bool = False,
    tips: Sequence[str] = (),
    note: str = "",
    width: float | None = None,
    height: float = _HEIGHT,
) -> Chart:
    """A line for each value of the objective, the last axis; better lines have stronger colours, the best stands out.

    Lines without an objective are left out.
    """
    order = [
        index for index, value in enumerate(objective.values) if isinstance(value, int | float) and is_drawable(value)
    ]
    sign = 1 if higher_is_better else -1
    order.sort(key=lambda index: sign * _number(objective.values[index]))  # the worst is drawn first
    wide = width or max(_NARROWEST, _SPACING * (len(dimensions) + 1) + 2 * EDGE)
    legend = [Entry("worse", RAMP[2]), Entry("better", RAMP[STEPS]), Entry("best", BEST, bold=True)] if order else []
    panel = Panel.begin(title, wide, height, legend, note)
    if not order:
        panel.say("no trial has a result yet")
        return panel.chart(title, "No trial has a result yet.")
    axes = [*(_aligned(dimension, order) for dimension in dimensions), _aligned(objective, order)]
    scales = [_scale(dimension) for dimension in axes]
    left, right = (EDGE + _beside(axes[index], scales[index]) for index in (0, -1))
    spacing = (wide - left - right) / max(len(axes) - 1, 1)
    top, bottom = panel.top + 22, height - 22
    layouts = [_lay_out(dimension, scale, top, bottom) for dimension, scale in zip(axes, scales, strict=True)]
    xs = [left + spacing * number for number in range(len(axes))] if len(axes) > 1 else [wide / 2]
    for number, index in enumerate(order):
        points = [(x, drawn.heights[number]) for x, drawn in zip(xs, layouts, strict=True)]
        best = number == len(order) - 1
        share = number / max(len(order) - 1, 1)
        color = BEST if best else RAMP[2 + round(share * (STEPS - 2))]
        tip = tips[index] if index < len(tips) else ""
        shape: dict[str, Any] = {"stroke_width": 3.0} if best else {"stroke_width": 1.5, "opacity": 0.8}
        panel.parts.append(polyline(points, color, tip, css="trial", **shape))
    for x, dimension, drawn in zip(xs, axes, layouts, strict=True):
        panel.parts += _draw_axis(x, dimension.name, drawn, spacing, panel.top, dimension is axes[-1])
    best_value = readable(_number(objective.values[order[-1]]))
    return panel.chart(
        title, f"{len(order):,} lines across {', '.join(dimension.name for dimension in axes)}; best {best_value}."
    )


def _number(value: float | str | None) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _aligned(dimension: Dimension, order: Sequence[int]) -> Dimension:
    """A dimension with its values on the drawn lines in order: all numbers or all texts, None instead of NaN."""
    values = [dimension.values[index] for index in order]
    if any(isinstance(value, str) for value in values):
        return replace(dimension, values=[None if value is None else str(value) for value in values])
    return replace(
        dimension, values=[None if value is None or not is_drawable(_number(value)) else value for value in values]
    )


def _scale(dimension: Dimension) -> Scale:
    """The scale of texts, by first appearance, or of numbers, with a tick at each of a few if there is room."""
    names = list(dict.fromkeys(value for value in dimension.values if isinstance(value, str)))
    if names:
        return named_scale(names)
    numbers = [_number(value) for value in dimension.values if value is not None]
    scale = numeric_scale(numbers, logarithmic=dimension.logarithmic, air=0.04)
    return with_ticks_at(scale, numbers)


def _beside(dimension: Dimension, scale: Scale) -> float:
    """The room beside the first or the last axis for its texts."""
    ticks = [text_width(label, 11) for _, label in scale.ticks]
    return max(min(max(ticks, default=0.0), _SPACING) + 8, min(text_width(dimension.name, 12, True), _SPACING) / 2, 24)


def _lay_out(dimension: Dimension, scale: Scale, top: float, bottom: float) -> _DrawnAxis:
    """Lines without a value pass below the axis, which is shorter for it."""
    names = {label: value for value, label in scale.ticks}
    missing = bottom if None in dimension.values else None
    axis = Axis(scale, bottom - 34 if missing is not None else bottom, top)
    heights = [
        bottom if value is None else axis.at(names[value] if isinstance(value, str) else value)
        for value in dimension.values
    ]
    return _DrawnAxis(axis, missing, heights)


def _draw_axis(x: float, name: str, layout: _DrawnAxis, spacing: float, top: float, last: bool) -> list[str]:
    axis = layout.axis
    parts = [line(x, axis.start, x, axis.end, MUTED, stroke_width=1)]
    halo: dict[str, Any] = {"stroke": SURFACE, "stroke_width": 4, "paint_order": "stroke", "stroke_linejoin": "round"}
    side, anchor = (8, "start") if last else (-8, "end")
    ticks = [(axis.at(value), label) for value, label in axis.scale.ticks]
    if layout.missing is not None:
        ticks.append((layout.missing, _MISSING))
        parts.append(line(x, axis.start, x, layout.missing, GRID, stroke_dasharray="2 3"))
    for y, label in ticks:
        parts.append(line(x - 3, y, x + 3, y, MUTED))
        parts.append(text(x + side, y + 4, fit(label, spacing - 14, 11), fill=MUTED, size=11, anchor=anchor, **halo))
    shown = fit(name, spacing - 6, 12, bold=True)
    return [*parts, text(x, top + 8, shown, weight=600, anchor="middle", **halo)]
