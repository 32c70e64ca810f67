"""Layered layout (Sugiyama, Tagawa and Toda 1981): rows by longest path, orders by barycentres, rows centred.

Each open layer is laid out by itself and is then one box of the group around it. An edge that passes rows goes through
a point in each of them, which takes up space in the row like a box.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from nablac.drawing.outline import BORDER, Box, Group

LINE, TITLE, PAD = 15.0, 18.0, 10.0  # heights of a line and a title, and the padding
TITLE_SIZE, LINE_SIZE, NAME_SIZE = 14.4, 11.0, 10.0  # font sizes; titles are of 13, and wider since they are bold
NAME_GAP = 4.0  # between an edge and its name
ROW_GAP, BOX_GAP, POINT, LOOP_GAP = 34.0, 26.0, 14.0, 18.0
LOOP_ABOVE = 4.0  # between two lines above the first row
HEADER = 26.0  # height above the boxes of an open layer
_SWEEPS = 4
_NARROW, _WIDE = set("iljtfr.,:;'|![]() "), set("mwMW@")


@dataclass(frozen=True)
class Point:
    """The point where an edge passes a row."""

    edge: int
    row: int


Item = Box | Point


@dataclass
class Rows:
    """A group's boxes and points in rows, and each edge as the items that it passes; None is the border."""

    rows: list[list[Item]]
    paths: list[list[Item | None]]


@dataclass
class PositionedBox:
    """A box with its position in the group around it, the types of its outputs, and its contents if it is open."""

    box: Box
    types: list[str]
    x: float
    y: float
    width: float
    height: float
    inside: Picture | None = None


@dataclass(frozen=True)
class Line:
    """An edge as points from its source to its target, or to the border if it continues outside."""

    points: list[tuple[float, float]]
    has_arrow: bool
    name: str = ""  # of what flows along it, where that could be confused
    enters: bool = False  # from the border


@dataclass
class Picture:
    """The layout of a group: its boxes, and the edges between them."""

    width: float
    height: float
    boxes: list[PositionedBox] = field(default_factory=list)
    edges: list[Line] = field(default_factory=list)
    loops: list[list[tuple[float, float]]] = field(default_factory=list)  # corners, from a next state to the state


def text_width(text: str, size: float = 12.0) -> float:
    """The approximate width of a text."""
    width = 0.0
    for letter in text:
        width += 0.36 if letter in _NARROW else 0.95 if letter in _WIDE else 0.72 if letter.isupper() else 0.62
    return width * size


def rows_of(group: Group) -> Rows:
    """The rows of a group; they do not depend on which boxes are open."""
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
    next_states = {source for source, _ in group.loops}
    for items in rows:  # what loops around the right side is at the right
        items.sort(key=lambda item: isinstance(item, Box) and item.number in next_states)
    return Rows(rows, paths)


def lay_out(group: Group) -> Picture:
    """Compute sizes and positions, innermost groups first."""
    layout = rows_of(group)
    types = group.output_types()
    sizes: dict[int, tuple[float, float, Picture | None]] = {}
    for box in group.boxes:
        inside = lay_out(box.inside) if box.inside is not None else None
        sizes[box.number] = (*_size(box, types[box.number], inside), inside)
    widths = [
        sum(sizes[item.number][0] if isinstance(item, Box) else POINT for item in row) + BOX_GAP * (len(row) - 1)
        for row in layout.rows
    ]
    names = group.edge_names()
    named = (2 * (text_width(name, NAME_SIZE) + 2 * NAME_GAP) for name in names.values())  # to one side of the middle
    width = max([*widths, *named, 60.0]) + 2 * PAD
    picture = Picture(width, 0.0)
    positions: dict[int | Point, tuple[float, float, float]] = {}  # the middle, the top and the bottom
    y = ROW_GAP * 0.6
    for row, row_width in zip(layout.rows, widths, strict=True):
        height = max(sizes[item.number][1] if isinstance(item, Box) else 0.0 for item in row)
        x = (width - row_width) / 2
        for item in row:
            if isinstance(item, Point):
                positions[item] = (x + POINT / 2, y, y + height)
                x += POINT + BOX_GAP
                continue
            box_width, box_height, inside = sizes[item.number]
            top = y + (height - box_height) / 2
            picture.boxes.append(PositionedBox(item, types[item.number], x, top, box_width, box_height, inside))
            positions[item.number] = (x + box_width / 2, top, top + box_height)
            x += box_width + BOX_GAP
        y += height + ROW_GAP
    picture.height = y - ROW_GAP * 0.4
    several = sum(source == BORDER for source, _ in names) > 1
    picture.edges = [
        Line(_points(path, positions, picture, several), path[-1] is not None, names.get(edge, ""), path[0] is None)
        for edge, path in zip(group.edges, layout.paths, strict=True)
    ]
    _lay_out_loops(group, picture)
    return picture


def _lay_out_loops(group: Group, picture: Picture) -> None:
    """Lines from next states to states, around the right side of the picture and down from the top.

    They pass below the boxes to the right of a next state.
    """
    placed = {positioned.box.number: positioned for positioned in picture.boxes}
    for number, (source, target) in enumerate(group.loops):
        start, end = placed[source], placed[target]
        picture.width += LOOP_GAP
        x, aside = picture.width - LOOP_GAP, LOOP_ABOVE * (number % 3 + 1)
        middle, bottom = start.y + start.height / 2, start.y + start.height
        row = [box for box in picture.boxes if box.y < bottom and start.y < box.y + box.height]
        if any(box.x > start.x for box in row):
            below, left = max(box.y + box.height for box in row) + aside, start.x + start.width / 2
            begin = [(left, bottom), (left, below), (x, below)]
        else:
            begin = [(start.x + start.width, middle), (x, middle)]
        down = end.x + end.width / 2 + LOOP_ABOVE
        picture.loops.append([*begin, (x, aside), (down, aside), (down, end.y)])


def _points(
    path: list[Item | None],
    positions: dict[int | Point, tuple[float, float, float]],
    picture: Picture,
    several: bool,
) -> list[tuple[float, float]]:
    """The points of an edge; if `several` values enter, each does so above where it goes."""
    points: list[tuple[float, float]] = []
    for index, item in enumerate(path):
        if item is None and index == 0 and several:
            (first, *_) = (other for other in path if other is not None)
            points.append((positions[first.number if isinstance(first, Box) else first][0], 0.0))
        elif item is None:
            points.append((picture.width / 2, 0.0 if index == 0 else picture.height))
        if item is None:
            continue
        middle, top, bottom = positions[item.number if isinstance(item, Box) else item]
        if isinstance(item, Point):
            points += [(middle, top), (middle, bottom)]
        else:
            points.append((middle, bottom if index == 0 else top))
    return points


def closed_size(box: Box, types: list[str]) -> tuple[float, float]:
    """The width and height of a box with its title, its lines, and the types of its outputs."""
    texts = [text_width(box.heading, TITLE_SIZE), *(text_width(line, LINE_SIZE) for line in (*box.lines, *types))]
    return max(max(texts) + 2 * PAD + 4, 64.0), TITLE + LINE * (len(box.lines) + len(types)) + 2 * PAD - 4


def header_width(box: Box) -> float:
    """The width of an open box's title and lines, side by side."""
    lines = sum(text_width(line, LINE_SIZE) + 12 for line in box.lines)
    return text_width(box.heading, TITLE_SIZE) + lines + 2 * PAD


def _size(box: Box, types: list[str], inside: Picture | None) -> tuple[float, float]:
    if inside is None:
        return closed_size(box, types)
    return max(header_width(box), inside.width), inside.height + HEADER


def _ranks(group: Group) -> dict[int, int]:
    """The length of the longest path to each box. In a cycle (a layer is used twice) the first box comes first."""
    order = [box.number for box in group.boxes]
    following: dict[int, list[int]] = {number: [] for number in order}
    unranked_sources = dict.fromkeys(order, 0)
    for source, target in group.edges:
        if source != BORDER and target != BORDER:
            following[source].append(target)
            unranked_sources[target] += 1
    ranks = dict.fromkeys(order, 0)
    ready = [number for number in reversed(order) if not unranked_sources[number]]
    unranked = dict.fromkeys(order)
    while unranked:
        number = ready.pop() if ready else next(iter(unranked))
        if number not in unranked:
            continue
        del unranked[number]
        for target in following[number]:
            if target in unranked:
                ranks[target] = max(ranks[target], ranks[number] + 1)
                unranked_sources[target] -= 1
                if not unranked_sources[target]:
                    ready.append(target)
    return ranks


def _order(rows: list[list[Item]], paths: list[list[Item | None]]) -> None:
    """Sort each row by the mean position of its neighbours in the row above, then below, a few times."""
    above: dict[int | Point, list[int | Point]] = {}
    below: dict[int | Point, list[int | Point]] = {}
    for path in paths:
        for first, second in pairwise(path):
            if first is not None and second is not None:
                above.setdefault(_key(second), []).append(_key(first))
                below.setdefault(_key(first), []).append(_key(second))
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        neighbours = above if forward else below
        previous: dict[int | Point, float] = {}
        for row in rows if forward else reversed(rows):
            middle = {}
            for index, item in enumerate(row):
                near = [previous[key] for key in neighbours.get(_key(item), ()) if key in previous]
                middle[_key(item)] = sum(near) / len(near) if near else (index + 0.5) / len(row)
            row.sort(key=lambda item: middle[_key(item)])
            previous = {_key(item): (index + 0.5) / len(row) for index, item in enumerate(row)}


def _key(item: Item) -> int | Point:
    return item.number if isinstance(item, Box) else item
