"""Attention as heat maps: which tokens each token attends to, averaged over the heads and for each head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.charts.elements import rectangle, text, text_width
from runtime.charts.palette import MUTED, SURFACE, shade
from runtime.charts.panel import Chart

if TYPE_CHECKING:
    from compiler.types import Array

CELL, SMALL, GAP, MARGIN = 26, 9, 22, 24  # pixels; CELL is the size of a cell in the mean map, SMALL in those of heads


def attention_svg(weights: Array, rows: Sequence[str], columns: Sequence[str], title: str) -> str:
    """Attention weights `[heads, rows, columns]`, of which each row adds up to 1, as SVG."""
    heads = len(weights)
    left = MARGIN + max(map(text_width, rows)) + 10
    top = 64 + max(map(text_width, columns)) * 0.75
    across, down = CELL * len(columns), CELL * len(rows)
    about = f"rows attend to columns; the mean of {heads} heads, then each head"
    parts = [text(MARGIN, 32, title, size=16, weight=600), text(MARGIN, 50, about, fill=MUTED)]
    for index, column in enumerate(columns):
        x, y = left + CELL * (index + 0.5), top - 8
        parts.append(text(x, y, column, transform=f"rotate(-45 {x:.0f} {y:.0f})"))
    for index, row in enumerate(rows):
        parts.append(text(left - 8, top + CELL * (index + 0.5) + 4, row, anchor="end"))
    parts += _cells(weights.mean(axis=0), left, top, CELL, rows, columns)
    wide, high = SMALL * len(columns) + GAP, SMALL * len(rows) + GAP + 8
    right = left + across + 2 * MARGIN + 60
    fits = max(1, int((max(right, 640.0) - 2 * MARGIN) // wide))
    begin = top + down + 2 * GAP
    for head in range(heads):
        x, y = MARGIN + head % fits * wide, begin + head // fits * high
        parts.append(text(x, y, f"head {head}", size=11, fill=MUTED))
        parts += _cells(weights[head], x, y + 6, SMALL, rows, columns)
    width = max(right, MARGIN * 2 + max(min(heads, fits) * wide, text_width(title, 16, bold=True)))
    height = begin + -(-heads // fits) * high + MARGIN
    surface = rectangle(0, 0, width, height, SURFACE, rx=10)
    return Chart(title, about, round(width), round(height), surface + "".join(parts)).svg()


def _cells(
    weights: Array, left: float, top: float, size: int, rows: Sequence[str], columns: Sequence[str]
) -> list[str]:
    """One heat map; each cell shows its weight as a tooltip."""
    cells = []
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            weight = float(weights[y, x])
            tooltip = f"{row} \u2192 {column}: {weight:.2f}"
            color = shade(weight)[0]
            cells.append(rectangle(left + x * size, top + y * size, size - 1, size - 1, color, tooltip))
    return cells
