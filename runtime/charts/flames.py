"""Flame graphs: a tree of amounts as rows of slices, whose widths are the amounts; the root is at the top."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.charts.elements import fit, rectangle, text
from runtime.charts.palette import FAINT, GRID, INK, MUTED, shade
from runtime.charts.panel import EDGE, Chart, Panel
from runtime.charts.readable_numbers import is_drawable

_ROW = 24.0
_GAP = 1.0  # between slices
_LEAST = 2.0  # pixels of a slice; narrower neighbours are drawn as one
_LEAST_TEXT = 28.0  # pixels of a slice with a name
_SIZE = 11.0
_WIDTH = 1040.0
_SPOKEN = 12  # slices in the alternative text


@dataclass(frozen=True)
class Flame:
    """A part of a whole with its own parts; what they do not fill is left empty. `tip` shows when it is pointed at.

    A `leaf` is coloured by its amount.
    """

    name: str
    amount: float
    tip: str
    parts: tuple[Flame, ...] = ()
    leaf: bool = False


def flame_graph(title: str, root: Flame, *, note: str = "", width: float = _WIDTH) -> Chart:
    """The tree under `root`, the largest parts first; leaves are the darker, the larger they are."""
    if not is_drawable(root.amount) or root.amount < width * sys.float_info.min:  # of less, the scale overflows
        panel = Panel.begin(title, width, 100, note=note)
        panel.say("nothing to show")
        return panel.chart(title, "Nothing to show.")
    largest = max((leaf.amount for leaf in _leaves(root)), default=root.amount)
    drawing = _Drawing(Panel.begin(title, width, 0, note=note).top, (width - 2 * EDGE) / root.amount, largest)
    drawing.draw(root, EDGE, width - EDGE, 0)
    panel = Panel.begin(title, width, drawing.top + drawing.rows * _ROW + EDGE - 2, note=note)
    panel.parts += drawing.parts
    slowest = sorted(_leaves(root), key=lambda leaf: -leaf.amount)[:_SPOKEN]
    return panel.chart(title, f"{root.tip}. The largest: " + "; ".join(leaf.tip for leaf in slowest) + ".")


@dataclass
class _Drawing:
    """Slices from `top` on, with so many pixels for an amount of 1; the darkest leaf is one of the amount `largest`."""

    top: float
    scale: float
    largest: float
    rows: int = 0
    parts: list[str] = field(default_factory=list)

    def draw(self, flame: Flame, left: float, right: float, row: int) -> None:
        """Draw a slice, and its parts below it from the left."""
        self._slice(flame, left, right, row)
        x, narrow = left, list[Flame]()
        for part in sorted(flame.parts, key=lambda part: -part.amount):
            wide = max(part.amount, 0.0) * self.scale
            if wide < _LEAST:
                narrow.append(part)
                continue
            self.draw(part, x, min(x + wide, right), row + 1)
            x += wide
        rest = sum(max(part.amount, 0.0) for part in narrow)
        if rest * self.scale < _LEAST:
            return
        tip = f"{len(narrow)} smaller: {rest / flame.amount:.1%} of {flame.name}"
        self._slice(Flame("", rest, tip), x, min(x + rest * self.scale, right), row + 1)

    def _slice(self, flame: Flame, left: float, right: float, row: int) -> None:
        self.rows = max(self.rows, row + 1)
        y, wide = self.top + row * _ROW, max(right - left - _GAP, 0.5)
        fill, ink = shade(flame.amount / self.largest) if flame.leaf else (FAINT, INK if flame.parts else MUTED)
        edge = {} if flame.leaf else {"stroke": GRID}
        self.parts.append(rectangle(left, y, wide, _ROW - 2, fill, flame.tip, rx=min(3.0, wide / 4), **edge))
        shown = fit(flame.name, wide - 12, _SIZE) if wide >= _LEAST_TEXT else ""
        if len(shown) > 2 or (shown and shown == flame.name):
            self.parts.append(text(left + 5, y + _ROW / 2 + 3, shown, fill=ink, size=_SIZE, pointer_events="none"))


def _leaves(flame: Flame) -> Iterable[Flame]:
    if flame.leaf:
        yield flame
    for part in flame.parts:
        yield from _leaves(part)
