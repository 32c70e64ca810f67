"""A graph as one self-contained HTML file, in which layers open and close on a click.

Rows, orders and texts are computed here; the script in `page.html` only positions the boxes that are visible.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from nablac.drawing.box_layout import (
    BOX_GAP,
    HEADER,
    LINE,
    LOOP_ABOVE,
    LOOP_GAP,
    PAD,
    POINT,
    ROW_GAP,
    Point,
    closed_size,
    header_width,
    rows_of,
)
from nablac.drawing.outline import Box, Group
from nablac.drawing.svg import COLORS, OPEN, TYPE_COLOR, dark_style

_PAGE = Path(__file__).with_name("page.html")


def html(group: Group, title: str, depth: int) -> str:
    """The page, with layers open to `depth`."""
    data = {
        "title": title,
        "group": _group(group),
        "boxes": _boxes(group),
        "open": _open_boxes(group, depth),
        "colors": COLORS,
        "opened": OPEN,
        "type_color": TYPE_COLOR,
        "sizes": {
            "row": ROW_GAP,
            "gap": BOX_GAP,
            "point": POINT,
            "header": HEADER,
            "pad": PAD,
            "line": LINE,
            "loop": LOOP_GAP,
            "above": LOOP_ABOVE,
        },
    }
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    return (
        _PAGE.read_text("utf-8")
        .replace("{{title}}", escape(title))
        .replace("{{style}}", dark_style())
        .replace("{{data}}", text)
    )


def _group(group: Group) -> dict[str, Any]:
    """Rows of box numbers, with points as strings; edges as the items that they pass, null for the border."""
    layout, names = rows_of(group), group.edge_names()

    def name(item: Box | Point | None) -> int | str | None:
        return None if item is None else item.number if isinstance(item, Box) else f"{item.edge}/{item.row}"

    return {
        "rows": [[name(item) for item in row] for row in layout.rows],
        "edges": [[name(item) for item in path] for path in layout.paths],
        "names": [names.get(edge, "") for edge in group.edges],
        "loops": group.loops,
    }


def _boxes(group: Group) -> dict[int, dict[str, Any]]:
    """All boxes by number: their texts, their size when closed, and the width of their header when open."""
    types = group.output_types()
    boxes: dict[int, dict[str, Any]] = {}
    for box in group.boxes:
        boxes[box.number] = {
            "kind": box.kind,
            "title": box.heading,
            "lines": box.lines,
            "types": types[box.number],
            "size": closed_size(box, types[box.number]),
            "header": header_width(box),
            "inside": _group(box.inside) if box.inside is not None else None,
        }
        if box.inside is not None:
            boxes.update(_boxes(box.inside))
    return boxes


def _open_boxes(group: Group, depth: int) -> list[int]:
    """The numbers of the layers that are open to `depth`."""
    if depth <= 0:
        return []
    layers = [box for box in group.boxes if box.inside is not None]
    return [number for box in layers for number in [box.number, *_open_boxes(box.inside or Group(), depth - 1)]]
