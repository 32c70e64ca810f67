"""Layered layout (Sugiyama, Tagawa and Toda 1981): rows by longest path, orders by barycentres, rows centred.

Each open layer is laid out by itself and is then one box of its surroundings. An edge that passes rows goes through
a point in each of them, which has a place in the row like a box.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from nablac.drawing.outline import BORDER, Box, Group

LINE, TITLE, PAD = 15.0, 18.0, 10.0  # heights of text, and the space around it
TITLE_SIZE, LINE_SIZE = 13.8, 11.0  # of letters; a title's are bold
ROW_GAP, BOX_GAP, POINT = 34.0, 26.0, 14.0
HEADER = 26.0  # of an open layer, above its boxes
_SWEEPS = 4
_NARROW, _WIDE = set("iljtfr.,:;'|![]() "), set("mwMW@")


@dataclass(frozen=True)
class Point:
    """Where an edge passes a row."""

    edge: int
    row: int


Item = Box | Point


@dataclass
class Rows:
    """A group's boxes and points in rows, and each edge as the items that it visits; None is the border."""

    rows: list[list[Item]]
    paths: list[list[Item | None]]


@dataclass
class Placed:
    """A box with its place in the group around it, the types of what it gives, and what it holds."""

    box: Box
    gives: list[str]
    x: float
    y: float
    width: float
    height: float
    inside: Picture | None = None


@dataclass(frozen=True)
class Line:
    """An edge as points from its source to its target; it goes on outside where it ends at the border."""

    points: list[tuple[float, float]]
    ends: bool


@dataclass
class Picture:
    """A laid-out group: boxes, and the edges between them."""

    width: float
    height: float
    boxes: list[Placed] = field(default_factory=list)
    edges: list[Line] = field(default_factory=list)


def text_width(text: str, size: float = 12.0) -> float:
    """About how wide a text is drawn."""
    units = 0.0
    for each in text:
        units += 0.36 if each in _NARROW else 0.95 if each in _WIDE else 0.72 if each.isupper() else 0.62
    return units * size


def rows_of(group: Group) -> Rows:
    """Ranks, points and orders; independent of what is open."""
    boxes = {box.number: box for box in group.boxes}
    ranks = _ranks(group)
    last = max(ranks.values(), default=0)
    rows: list[list[Item]] = [[] for _ in range(last + 1)]
    for box in group.boxes:
        rows[ranks[box.number]].append(box)
    paths: list[list[Item | None]] = []
    for number, (source, target) in enumerate(group.edges):
        start = ranks[source] if source != BORDER else -1
        end = ranks[target] if target != BORDER else last + 1
        path: list[Item | None] = [boxes[source] if source != BORDER else None]
        if end > start:
            for row in range(start + 1, end):
                point = Point(number, row)
                rows[row].append(point)
                path.append(point)
        path.append(boxes[target] if target != BORDER else None)
        paths.append(path)
    _order(rows, paths)
    return Rows(rows, paths)


def lay_out(group: Group) -> Picture:
    """Sizes and places, innermost groups first."""
    routed = rows_of(group)
    gives = group.gives()
    sizes: dict[int, tuple[float, float, Picture | None]] = {}
    for box in group.boxes:
        inside = lay_out(box.inside) if box.inside is not None else None
        sizes[box.number] = (*_size(box, gives[box.number], inside), inside)
    widths = [
        sum(sizes[item.number][0] if isinstance(item, Box) else POINT for item in row) + BOX_GAP * (len(row) - 1)
        for row in routed.rows
    ]
    width = max([*widths, 60.0]) + 2 * PAD
    picture = Picture(width, 0.0)
    at: dict[int | Point, tuple[float, float, float]] = {}  # the middle, the top and the bottom
    y = ROW_GAP * 0.6
    for row, row_width in zip(routed.rows, widths, strict=True):
        height = max(sizes[item.number][1] if isinstance(item, Box) else 0.0 for item in row)
        x = (width - row_width) / 2
        for item in row:
            if isinstance(item, Point):
                at[item] = (x + POINT / 2, y, y + height)
                x += POINT + BOX_GAP
                continue
            box_width, box_height, inside = sizes[item.number]
            top = y + (height - box_height) / 2
            picture.boxes.append(Placed(item, gives[item.number], x, top, box_width, box_height, inside))
            at[item.number] = (x + box_width / 2, top, top + box_height)
            x += box_width + BOX_GAP
        y += height + ROW_GAP
    picture.height = y - ROW_GAP * 0.4
    picture.edges = [Line(_points(path, at, picture), path[-1] is not None) for path in routed.paths]
    return picture


def _points(
    path: list[Item | None], at: dict[int | Point, tuple[float, float, float]], picture: Picture
) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for index, item in enumerate(path):
        if item is None:
            points.append((picture.width / 2, 0.0 if index == 0 else picture.height))
            continue
        middle, top, bottom = at[item.number if isinstance(item, Box) else item]
        if isinstance(item, Point):
            points += [(middle, top), (middle, bottom)]
        else:
            points.append((middle, bottom if index == 0 else top))
    return points


def closed_size(box: Box, gives: list[str]) -> tuple[float, float]:
    """A box with its title, its lines, and below them what it gives."""
    texts = [text_width(box.title, TITLE_SIZE), *(text_width(line, LINE_SIZE) for line in (*box.lines, *gives))]
    return max(max(texts) + 2 * PAD + 4, 64.0), TITLE + LINE * (len(box.lines) + len(gives)) + 2 * PAD - 4


def header_width(box: Box) -> float:
    """An open box's title and lines, side by side."""
    lines = sum(text_width(line, LINE_SIZE) + 12 for line in box.lines)
    return text_width(box.title, TITLE_SIZE) + lines + 2 * PAD


def _size(box: Box, gives: list[str], inside: Picture | None) -> tuple[float, float]:
    if inside is None:
        return closed_size(box, gives)
    return max(header_width(box), inside.width), inside.height + HEADER


def _ranks(group: Group) -> dict[int, int]:
    """The longest path to each box. Where layers depend on each other (one is used twice) the first goes first."""
    order = [box.number for box in group.boxes]
    following: dict[int, list[int]] = {number: [] for number in order}
    waiting = dict.fromkeys(order, 0)
    for source, target in group.edges:
        if source != BORDER and target != BORDER:
            following[source].append(target)
            waiting[target] += 1
    ranks = dict.fromkeys(order, 0)
    ready = [number for number in reversed(order) if not waiting[number]]
    left = dict.fromkeys(order)
    while left:
        number = ready.pop() if ready else next(iter(left))
        if number not in left:
            continue
        del left[number]
        for target in following[number]:
            if target in left:
                ranks[target] = max(ranks[target], ranks[number] + 1)
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
    return ranks


def _order(rows: list[list[Item]], paths: list[list[Item | None]]) -> None:
    """Sort each row by the middle of the neighbours in the row before, then after, a few times."""
    above: dict[int | Point, list[int | Point]] = {}
    below: dict[int | Point, list[int | Point]] = {}
    for path in paths:
        for first, second in pairwise(path):
            if first is not None and second is not None:
                above.setdefault(_name(second), []).append(_name(first))
                below.setdefault(_name(first), []).append(_name(second))
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        neighbours = above if forward else below
        previous: dict[int | Point, float] = {}
        for row in rows if forward else reversed(rows):
            middle = {}
            for index, item in enumerate(row):
                near = [previous[each] for each in neighbours.get(_name(item), ()) if each in previous]
                middle[_name(item)] = sum(near) / len(near) if near else (index + 0.5) / len(row)
            row.sort(key=lambda item: middle[_name(item)])
            previous = {_name(item): (index + 0.5) / len(row) for index, item in enumerate(row)}


def _name(item: Item) -> int | Point:
    return item.number if isinstance(item, Box) else item
