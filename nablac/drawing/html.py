"""A graph as one HTML file: layers open and close where they stand, nothing is loaded from elsewhere.

Rows, orders and texts are made here; the script in `page.html` only puts what is open in its place.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from nablac.drawing.layout import BOX_GAP, HEADER, LINE, PAD, POINT, ROW_GAP, Point, _size, rows_of
from nablac.drawing.outline import Box, Group, every_box
from nablac.drawing.svg import COLORS, OPEN

_PAGE = Path(__file__).with_name("page.html")


def html(group: Group, title: str, depth: int) -> str:
    """The page, its layers open down to `depth`."""
    data = {
        "title": title,
        "group": _group(group),
        "boxes": {box.number: _box(box) for box in every_box(group)},
        "open": _open(group, depth),
        "colors": COLORS,
        "opened": OPEN,
        "sizes": {"row": ROW_GAP, "gap": BOX_GAP, "point": POINT, "header": HEADER, "pad": PAD, "line": LINE},
    }
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    return _PAGE.read_text("utf-8").replace("{{title}}", escape(title)).replace("{{data}}", text)


def _group(group: Group) -> dict[str, Any]:
    """Rows of box numbers, points as texts; edges as the items that they visit, null for the border."""
    found = rows_of(group)

    def name(item: Box | Point | None) -> int | str | None:
        return None if item is None else item.number if isinstance(item, Box) else f"{item.edge}/{item.row}"

    return {
        "rows": [[name(item) for item in row] for row in found.rows],
        "edges": [[[name(item) for item in path], labels] for path, labels in found.paths],
    }


def _box(box: Box) -> dict[str, Any]:
    width, height = _size(box, None)
    inside = _group(box.inside) if box.inside is not None else None
    return {"kind": box.kind, "title": box.title, "lines": box.lines, "size": [width, height], "inside": inside}


def _open(group: Group, depth: int) -> list[int]:
    if depth <= 0:
        return []
    layers = [box for box in group.boxes if box.inside is not None]
    return [number for box in layers for number in [box.number, *_open(box.inside or Group(), depth - 1)]]
