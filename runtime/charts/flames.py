"""Flame graphs: a tree of amounts as rows of slices, whose widths are the amounts; the root is at the top."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
    depth = _depth(root)
    panel = Panel.begin(title, width, 0, note=note)
    panel = Panel.begin(title, width, panel.top + depth * _ROW + EDGE, note=note)
    if not is_drawable(root.amount) or root.amount <= 0:
        panel = Panel.begin(title, width, panel.top + 40, note=note)
        panel.say("nothing to show")
        return panel.chart(title, "Nothing to show.")
    largest = max((leaf.amount for leaf in _leaves(root)), default=root.amount)
    _draw(panel, root, EDGE, width - EDGE, 0, (width - 2 * EDGE) / root.amount, largest)
    slowest = sorted(_leaves(root), key=lambda leaf: -leaf.amount)[:_SPOKEN]
    return panel.chart(title, f"{root.tip}. The largest: " + "; ".join(leaf.tip for leaf in slowest) + ".")


def _draw(panel: Panel, flame: Flame, left: float, right: float, row: int, scale: float, largest: float) -> None:
    """Draw a slice, and its parts below it from the left."""
    _slice(panel, flame, left, right, row, largest)
    x, narrow = left, list[Flame]()
    for part in sorted(flame.parts, key=lambda part: -part.amount):
        wide = max(part.amount, 0.0) * scale
        if wide < _LEAST:
            narrow.append(part)
            continue
        _draw(panel, part, x, min(x + wide, right), row + 1, scale, largest)
        x += wide
    if narrow:
        rest = sum(max(part.amount, 0.0) for part in narrow)
        if rest * scale >= _GAP + 0.5:
            tip = narrow[0].tip if len(narrow) == 1 else f"{len(narrow)} smaller: {rest / flame.amount:.1%} of {flame.name}"
            _slice(panel, Flame(f"{len(narrow)} smaller", rest, tip), x, min(x + rest * scale, right), row + 1, largest)


def _slice(panel: Panel, flame: Flame, left: float, right: float, row: int, largest: float) -> None:
    y, wide = panel.top + row * _ROW, max(right - left - _GAP, 0.5)
    fill, ink = shade(flame.amount / largest) if flame.leaf else (FAINT, INK if flame.parts else MUTED)
    edge = {} if flame.leaf else {"stroke": GRID}
    panel.parts.append(rectangle(left, y, wide, _ROW - 2, fill, flame.tip, rx=min(3.0, wide / 4), **edge))
    if wide >= _LEAST_TEXT:
        shown = fit(flame.name, wide - 10, _SIZE)
        if len(shown) > 2 or shown == flame.name:
            panel.parts.append(text(left + 5, y + _ROW / 2 + 3, shown, fill=ink, size=_SIZE, pointer_events="none"))


def _depth(flame: Flame) -> int:
    return 1 + max((_depth(part) for part in flame.parts), default=0)


def _leaves(flame: Flame) -> Iterable[Flame]:
    if flame.leaf:
        yield flame
    for part in flame.parts:
        yield from _leaves(part)
