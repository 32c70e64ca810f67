"""A graph as one HTML file: layers open and close where they stand, nothing is loaded from elsewhere.

Rows, orders and texts are made here; the script in `page.html` only puts what is open in its place.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from nablac.drawing.layout import BOX_GAP, HEADER, LINE, PAD, POINT, ROW_GAP, Point, closed_size, header_width, rows_of
from nablac.drawing.outline import Box, Group
from nablac.drawing.svg import COLORS, GIVEN, OPEN

_PAGE = Path(__file__).with_name("page.html")


def html(group: Group, title: str, depth: int) -> str:
    """The page, its layers open down to `depth`."""
    data = {
        "title": title,
        "group": _group(group),
        "boxes": _boxes(group),
        "open": _open(group, depth),
        "colors": COLORS,
        "opened": OPEN,
        "given": GIVEN,
        "sizes": {"row": ROW_GAP, "gap": BOX_GAP, "point": POINT, "header": HEADER, "pad": PAD, "line": LINE},
    }
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    return _PAGE.read_text("utf-8").replace("{{title}}", escape(title)).replace("{{data}}", text)


def _group(group: Group) -> dict[str, Any]:
    """Rows of box numbers, points as texts; edges as the items that they visit, null for the border."""
    routed = rows_of(group)

    def name(item: Box | Point | None) -> int | str | None:
        return None if item is None else item.number if isinstance(item, Box) else f"{item.edge}/{item.row}"

    return {
        "rows": [[name(item) for item in row] for row in routed.rows],
        "edges": [[name(item) for item in path] for path in routed.paths],
    }


def _boxes(group: Group) -> dict[int, dict[str, Any]]:
    """Every box by its number: what it says, how large it is closed, and how wide its header is when open."""
    gives = group.gives()
    boxes: dict[int, dict[str, Any]] = {}
    for box in group.boxes:
        boxes[box.number] = {
            "kind": box.kind,
            "title": box.title,
            "lines": box.lines,
            "gives": gives[box.number],
            "size": closed_size(box, gives[box.number]),
            "header": header_width(box),
            "inside": _group(box.inside) if box.inside is not None else None,
        }
        if box.inside is not None:
            boxes.update(_boxes(box.inside))
    return boxes


def _open(group: Group, depth: int) -> list[int]:
    if depth <= 0:
        return []
    layers = [box for box in group.boxes if box.inside is not None]
    return [number for box in layers for number in [box.number, *_open(box.inside or Group(), depth - 1)]]
