"""A panel: the surface, title, legend, axes and grid around the marks of a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from runtime.charts.elements import FONT, circle, element, escape, fit, line, rectangle, text, text_width
from runtime.charts.palette import CANVAS, FAINT, GRID, INK, MUTED, SURFACE, Color, dark_rules
from runtime.charts.scales import Axis, Scale

WIDTH, HEIGHT = 480, 290  # of a panel, unless a chart says otherwise
EDGE = 16.0  # from a panel's edges to its texts
RIGHT = 26.0  # from the plot to the right edge
GAP = 16  # between panels
_LEGEND_ROW = 20.0
_MARGIN, _HEADER = 20.0, 56.0  # of a card: around its panels, and above them
_AXIS, _AXIS_NAME = 28.0, 20.0  # below a plot: the labels of its axis, and the axis's name


@dataclass(frozen=True)
class Chart:
    """A finished chart. `body` is the markup inside of its panel."""

    title: str
    description: str  # the alternative text
    width: float
    height: float
    body: str

    def inline(self) -> str:
        """The chart as a part of an HTML page, which has the rules for a dark screen."""
        return self._root(self.body)

    def svg(self) -> str:
        """The chart as an SVG file."""
        style = dark_rules(self.body)
        return self._root(element("style", style) + self.body if style else self.body) + "\n"

    def _root(self, body: str) -> str:
        described = element("title", escape(self.title)) + element("desc", escape(self.description))
        size: dict[str, Any] = {
            "width": self.width,
            "height": self.height,
            "viewBox": f"0 0 {self.width:g} {self.height:g}",
        }
        shape: dict[str, Any] = {"role": "img", "font_family": FONT, "font_size": 12}
        return element("svg", described, body, fill=INK, xmlns="http://www.w3.org/2000/svg", **size, **shape)


@dataclass(frozen=True)
class Entry:
    """An entry of a legend: a mark and its meaning."""

    text: str
    color: Color
    mark: Literal["line", "dashes", "dot", "square"] = "line"
    bold: bool = False

    @property
    def width(self) -> float:
        """Its width with the space after it."""
        return 20 + text_width(self.text, 12, self.bold) + 14

    def draw(self, x: float, y: float) -> str:
        """The mark and the text, whose baseline is at `y`."""
        if self.mark == "dot":
            mark = circle(x + 7, y - 4.5, 4.5, self.color)
        elif self.mark == "square":
            mark = rectangle(x + 1, y - 10, 11, 11, self.color, rx=2)
        else:
            dashes = {"stroke_dasharray": "4 3"} if self.mark == "dashes" else {}
            mark = line(x, y - 4.5, x + 14, y - 4.5, self.color, stroke_width=3, stroke_linecap="butt", **dashes)
        color, weight = (self.color, 600) if self.bold else (INK, 400)
        return mark + text(x + 20, y, self.text, fill=color, weight=weight)


@dataclass
class Panel:
    """The markup around a plot; `top` is the first free pixel below the title and the legend."""

    width: float
    height: float
    parts: list[str] = field(default_factory=list)
    top: float = 0.0

    @staticmethod
    def begin(title: str, width: float, height: float, legend: Sequence[Entry] = (), note: str = "") -> Panel:
        """The surface with the title; below it a note, and the legend.

        Rows of a legend after the first make the panel higher.
        """
        panel = Panel(width, height)
        panel.parts.append(text(EDGE, 25, fit(title, width - 2 * EDGE, 13, bold=True), size=13, weight=600))
        y = 27.0
        if note:
            y += _LEGEND_ROW
            panel.parts.append(text(EDGE, y, fit(note, width - 2 * EDGE), fill=MUTED))
        x, first = width, y + _LEGEND_ROW
        for entry in legend:
            room = width - 2 * EDGE - 20
            entry = Entry(fit(entry.text, room, 12, entry.bold), entry.color, entry.mark, entry.bold)
            if x + entry.width - 14 > width - EDGE:
                x, y = EDGE, y + _LEGEND_ROW
            panel.parts.append(entry.draw(x, y))
            x += entry.width
        panel.top = y + 17
        panel.height += max(y - first, 0.0)
        panel.parts.insert(0, rectangle(0.5, 0.5, width - 1, panel.height - 1, SURFACE, rx=8, stroke=GRID))
        return panel

    def chart(self, title: str, description: str) -> Chart:
        """The finished chart."""
        return Chart(title, description, self.width, self.height, "".join(self.parts))

    def say(self, words: str) -> None:
        """Write a text in the middle, instead of a plot."""
        middle = (self.top + self.height - EDGE) / 2 + 4
        self.parts.append(text(self.width / 2, middle, words, fill=MUTED, anchor="middle"))

    def axes(
        self, x_scale: Scale, y_scale: Scale, x_name: str, y_name: str = "", grid: Literal["rows", "both"] = "rows"
    ) -> tuple[Axis, Axis]:
        """Draw a grid with labels at the left and below, and return its axes."""
        top = self.top + (14 if y_name else 0)
        bottom = self.height - _AXIS - (_AXIS_NAME if x_name else 6)
        left = max(52.0, 26 + max((text_width(label) for _, label in y_scale.ticks), default=0.0))
        right = self.width - RIGHT
        x_axis, y_axis = Axis(x_scale, left, right), Axis(y_scale, bottom, top)
        self.parts += [line(left, y_axis.at(value), right, y_axis.at(value), FAINT) for value in y_scale.minor]
        for value, label in y_scale.ticks:
            y = y_axis.at(value)
            self.parts.append(line(left, y, right, y, GRID))
            self.parts.append(text(left - 8, y + 4, label, fill=MUTED, anchor="end"))
        for x, middle, label in _apart(x_scale.ticks, x_axis, self.width):
            if grid == "both":
                self.parts.append(line(x, top, x, bottom, GRID))
            self.parts.append(text(middle, bottom + 20, label, fill=MUTED, anchor="middle"))
        shown = fit(x_name, right - left, 11)
        self.parts.append(text((left + right) / 2, bottom + 36, shown, fill=MUTED, anchor="middle", size=11))
        if y_name:
            self.parts.append(text(EDGE, self.top + 1, fit(y_name, right - EDGE, 11), fill=MUTED, size=11))
        return x_axis, y_axis


def _apart(ticks: Sequence[tuple[float, str]], axis: Axis, width: float) -> list[tuple[float, float, str]]:
    """The ticks of a horizontal axis whose labels do not overlap the one before: pixel, middle of the label, label.

    A wide label at an end of the axis is moved inwards, so that it stays inside of the panel.
    """
    kept: list[tuple[float, float, str]] = []
    free = -float("inf")
    for value, label in ticks:
        x, half = axis.at(value), text_width(label) / 2
        middle = max(min(x, width - 4 - half), 4 + half)
        if middle - half > free:
            kept.append((x, middle, label))
            free = middle + half + 4
    return kept


def card(title: str, rows: Sequence[Sequence[Chart]], empty: str = "nothing to show") -> Chart:
    """Charts in rows under one title, as one chart; `empty` is shown if there are none."""
    width = 2 * _MARGIN + max((sum(chart.width for chart in row) + GAP * (len(row) - 1) for row in rows), default=WIDTH)
    parts, y = [], _HEADER
    for row in rows:
        x = _MARGIN
        for chart in row:
            parts.append(element("g", chart.body, css="panel", transform=f"translate({x:g} {y:g})"))
            x += chart.width + GAP
        y += max(chart.height for chart in row) + GAP
    height = y - GAP + _MARGIN if rows else _HEADER + 44
    if not rows:
        parts.append(text(_MARGIN + 4, _HEADER + 14, empty, fill=MUTED))
    head = rectangle(0, 0, width, height, CANVAS, rx=12)
    head += text(_MARGIN + 4, 36, fit(title, width - 2 * _MARGIN - 8, 17, bold=True), size=17, weight=600)
    described = [f"{chart.title}: {chart.description}" for row in rows for chart in row]
    return Chart(title, " ".join(described) or empty, width, height, head + "".join(parts))
