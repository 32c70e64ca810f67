"""The names of what flows along the edges of a picture, beside their lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from nablac.drawing.box_layout import NAME_GAP, NAME_SIZE, Line, text_width

_SAMPLES = 24  # points of each part of a curve
_HEIGHTS = (2 / 3, 1 / 2, 5 / 6, 1 / 3)  # of a name along the last part of its line; the first one that is free


@dataclass(frozen=True)
class EdgeName:
    """The rectangle of a name: its baseline is the lower side."""

    left: float
    width: float
    baseline: float
    ends: bool  # whether it ends beside the line, rather than begins there

    def covers(self, x: float, y: float) -> bool:
        """Whether a point is in the rectangle."""
        return self.left < x < self.left + self.width and self.baseline - NAME_SIZE < y < self.baseline

    def overlaps(self, other: EdgeName) -> bool:
        """Whether the rectangles have a part in common."""
        beside = self.left >= other.left + other.width or other.left >= self.left + self.width
        return not beside and abs(self.baseline - other.baseline) < NAME_SIZE


def edge_names(lines: Sequence[Line]) -> str:
    """The names as SVG: near their targets, on the side that each comes from, where no other line crosses them."""
    return "".join(
        f'<text x="{name.left + name.width if name.ends else name.left:.1f}" y="{name.baseline:.1f}" '
        f'text-anchor="{"end" if name.ends else "start"}" font-size="{NAME_SIZE:g}" '
        'fill="#334155" stroke="#ffffff" stroke-width="3" stroke-linejoin="round" paint-order="stroke" '
        f'class="name">{escape(text)}</text>'
        for text, name in positioned_names(lines)
    )


def positioned_names(lines: Sequence[Line]) -> list[tuple[str, EdgeName]]:
    """Where the name of each line that has one is written."""
    curves = [list(points_of(line)) for line in lines]
    names: list[tuple[str, EdgeName]] = []
    for index, line in enumerate(lines):
        if not line.name:
            continue
        others = [point for other, points in enumerate(curves) if other != index for point in points]
        taken = [name for _, name in names]

        def faults(name: EdgeName, taken: list[EdgeName] = taken, others: list[tuple[float, float]] = others) -> int:
            crossed = sum(name.covers(x, y) for x, y in others)
            return crossed + sum(len(others) for other in taken if name.overlaps(other))

        name = min(_positions(line), key=faults)  # the first of the best
        while any(map(name.overlaps, taken)):
            name = EdgeName(name.left, name.width, name.baseline - NAME_SIZE, name.ends)
        names.append((line.name, name))
    return names


def _positions(line: Line) -> Iterator[EdgeName]:
    (x, y), (to_x, to_y) = line.points[-2:]
    width = text_width(line.name, NAME_SIZE)
    for height in _HEIGHTS:
        edge, baseline = x + height * (to_x - x), y + height * (to_y - y)
        for ends in (x < to_x, x >= to_x):
            yield EdgeName(edge - NAME_GAP - width if ends else edge + NAME_GAP, width, baseline, ends)


def points_of(line: Line) -> Iterator[tuple[float, float]]:
    """Points along a line as `curve` draws it: parts with vertical ends."""
    for (x, y), (to_x, to_y) in pairwise(line.points):
        for step in range(_SAMPLES + 1):
            t = step / _SAMPLES
            across = t * t * (3 - 2 * t)
            down = t**3 + 1.5 * t * (1 - t)
            yield x + across * (to_x - x), y + down * (to_y - y)
