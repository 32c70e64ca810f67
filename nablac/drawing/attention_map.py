"""Attention as heat maps: which tokens each token attends to, averaged over the heads and for each head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from nablac.drawing.svg import FONT

if TYPE_CHECKING:
    from compiler.types import Array

CELL, SMALL, GAP, MARGIN = 26, 9, 22, 24  # pixels; CELL is the size of a cell in the mean map, SMALL in those of heads
LETTER = 7.2  # pixels, the approximate width of a letter at font size 12
_INK, _GREY, _BLUE = "#0f172a", "#64748b", (37, 99, 235)


def attention_svg(weights: Array, rows: Sequence[str], columns: Sequence[str], title: str) -> str:
    """Attention weights `[heads, rows, columns]`, of which each row adds up to 1, as SVG."""
    heads = len(weights)
    left = MARGIN + max(len(row) for row in rows) * LETTER + 10
    top = 64 + max(len(column) for column in columns) * LETTER * 0.75
    across, down = CELL * len(columns), CELL * len(rows)
    parts = [
        _text(MARGIN, 32, title, size=16, weight=600),
        _text(MARGIN, 50, f"rows attend to columns; the mean of {heads} heads, then each head", fill=_GREY),
    ]
    for index, column in enumerate(columns):
        x, y = left + CELL * (index + 0.5), top - 8
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" transform="rotate(-45 {x:.0f} {y:.0f})">{escape(column)}</text>')
    for index, row in enumerate(rows):
        parts.append(_text(left - 8, top + CELL * (index + 0.5) + 4, row, anchor="end"))
    parts.append(_cells(weights.mean(axis=0), left, top, CELL, rows, columns))
    wide, high = SMALL * len(columns) + GAP, SMALL * len(rows) + GAP + 8
    right = left + across + 2 * MARGIN + 60
    fits = max(1, int((max(right, 640.0) - 2 * MARGIN) // wide))
    begin = top + down + 2 * GAP
    for head in range(heads):
        x, y = MARGIN + head % fits * wide, begin + head // fits * high
        parts.append(_text(x, y, f"head {head}", size=11, fill=_GREY))
        parts.append(_cells(weights[head], x, y + 6, SMALL, rows, columns))
    width = max(right, MARGIN * 2 + max(min(heads, fits) * wide, 9.5 * len(title)))
    height = begin + -(-heads // fits) * high + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{FONT}" font-size="12" fill="{_INK}">'
        f'<title>{escape(title)}</title><rect width="100%" height="100%" rx="10" fill="#ffffff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def _cells(weights: Array, left: float, top: float, size: int, rows: Sequence[str], columns: Sequence[str]) -> str:
    """One heat map; each cell shows its weight as a tooltip."""
    parts = []
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            weight = float(weights[y, x])
            tooltip = f"{escape(row)} \u2192 {escape(column)}: {weight:.2f}"
            parts.append(
                f'<rect x="{left + x * size:.0f}" y="{top + y * size:.0f}" width="{size - 1}" height="{size - 1}" '
                f'fill="{_color(weight)}"><title>{tooltip}</title></rect>'
            )
    return "".join(parts)


def _color(weight: float) -> str:
    """The colour of a weight: nearly white for 0, blue for 1."""
    channels = (round(241 + (blue - 241) * min(1.0, weight) ** 0.7) for blue in _BLUE)
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _text(
    x: float, y: float, text: str, size: int = 12, weight: int = 400, fill: str = _INK, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
