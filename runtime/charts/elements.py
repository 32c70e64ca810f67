"""SVG elements as text, and the widths of texts in them."""

from __future__ import annotations

import unicodedata
from html import escape as escape_markup
from typing import Any

from runtime.charts.palette import INK, Color

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def element(
    tag: str, *content: str, fill: Color | None = None, stroke: Color | None = None, css: str = "", **attributes: Any
) -> str:
    """An element; `content` is markup. `stroke_width` is written `stroke-width`; `hollow` elements have no fill."""
    head = f"<{tag}"
    if fill is not None or stroke is not None or css:
        named = {"fill": fill, "stroke": stroke}
        colors = {kind: color for kind, color in named.items() if color is not None}
        classes = [*([css] if css else []), *(f"{kind}-{color.name}" for kind, color in colors.items())]
        head += "".join(f' {kind}="{color.light}"' for kind, color in colors.items()) + f' class="{" ".join(classes)}"'
    if attributes.pop("hollow", False):
        head += ' fill="none"'
    for name, value in attributes.items():
        head += f' {name.replace("_", "-")}="{_attribute(value)}"'
    return f"{head}>{''.join(content)}</{tag}>" if content else f"{head}/>"


def text(
    x: float,
    y: float,
    content: str,
    *,
    fill: Color = INK,
    size: float = 12,
    weight: int = 400,
    anchor: str = "start",
    **attributes: Any,
) -> str:
    """A line of text; `y` is its baseline. `content` is plain text."""
    shape: dict[str, Any] = {"font_size": size}
    if weight != 400:
        shape["font_weight"] = weight
    if anchor != "start":
        shape["text_anchor"] = anchor
    return element("text", escape(content), fill=fill, x=x, y=y, **shape, **attributes)


def line(x: float, y: float, to_x: float, to_y: float, stroke: Color, **attributes: Any) -> str:
    """A straight line."""
    return element("line", stroke=stroke, x1=x, y1=y, x2=to_x, y2=to_y, **attributes)


def circle(x: float, y: float, radius: float, fill: Color, tip: str = "", **attributes: Any) -> str:
    """A filled circle; `tip` shows when it is pointed at."""
    return element("circle", *_tip(tip), fill=fill, cx=x, cy=y, r=radius, **attributes)


def rectangle(x: float, y: float, width: float, height: float, fill: Color, tip: str = "", **attributes: Any) -> str:
    """A filled rectangle; `tip` shows when it is pointed at."""
    return element("rect", *_tip(tip), fill=fill, x=x, y=y, width=width, height=height, **attributes)


def polyline(points: list[tuple[float, float]], stroke: Color, tip: str = "", **attributes: Any) -> str:
    """A line through points, with round joins."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    shape: dict[str, Any] = {"stroke_width": 2, "stroke_linejoin": "round", "stroke_linecap": "round"}
    return element("polyline", *_tip(tip), stroke=stroke, points=joined, hollow=True, **shape | attributes)


def _tip(tip: str) -> list[str]:
    return [element("title", escape(tip))] if tip else []


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return f"{round(value, 2):.9g}"
    return escape_markup(value) if isinstance(value, str) else str(value)


def escape(content: str) -> str:
    """Plain text as markup. XML has no control characters: they become spaces."""
    if not content.isprintable():
        content = "".join(letter if letter.isprintable() else " " for letter in content)
    return escape_markup(content, quote=False)


def text_width(content: str, size: float = 12, bold: bool = False) -> float:
    """The approximate width of a text in the widest of the fonts."""
    ems = sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.7 if bold else 0.63 for letter in content)
    return ems * size


def fit(content: str, room: float, size: float = 12, bold: bool = False) -> str:
    """The text, shortened to the room that there is."""
    if text_width(content, size, bold) <= room:
        return content
    while content and text_width(content + "…", size, bold) > room:
        content = content[:-1]
    return content.rstrip() + "…"
