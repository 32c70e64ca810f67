"""Heat maps: a table of shares as colours; confusion matrices among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.charts.elements import fit, rectangle, text, text_width
from runtime.charts.palette import MUTED, RAMP, shade
from runtime.charts.panel import EDGE, WIDTH, Chart, Panel
from runtime.charts.readable_numbers import is_drawable

_WIDEST, _HIGHEST, _SMALLEST = 110.0, 52.0, 22.0  # of a cell
_LONGEST_NAME = 140.0
_SLOPE = 0.71  # of names that are written at 45 degrees, both across and up
_SWATCH = 9.0
_MOST_CLASSES = 40


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Sequence[Sequence[float]],
    *,
    texts: Sequence[Sequence[str]] | None = None,
    tips: Sequence[Sequence[str]] | None = None,
    note: str = "",
) -> Chart:
    """A cell for each of `shares[row][column]`, from 0 to 1, coloured by it; NaN leaves the cell empty.

    `texts` are written into the cells where there is room for all of them, `tips` shown when they are pointed at.
    """
    grid = _lay_out(rows, columns, 44 + (20 if note else 0))
    panel = Panel.begin(title, grid.width, grid.top + grid.high * len(rows) + EDGE, note=note)
    panel.parts.append(_key(grid.width))
    panel.parts += grid.names(rows, columns)
    size = _text_size(texts, grid)
    for row_index, row in enumerate(rows):
        for column_index, column in enumerate(columns):
            share = shares[row_index][column_index]
            if not is_drawable(share):
                continue
            x, y = grid.left + grid.wide * column_index, grid.top + grid.high * row_index
            color, on_color = shade(share)
            tip = tips[row_index][column_index] if tips is not None else f"{row}, {column}: {share:.1%}"
            panel.parts.append(rectangle(x, y, grid.wide - 2, grid.high - 2, color, tip, rx=3))
            if texts is not None and size:
                middle, baseline = x + grid.wide / 2 - 1, y + grid.high / 2 - 1 + size * 0.36
                shape: dict[str, Any] = {"size": size, "anchor": "middle", "pointer_events": "none"}
                written = texts[row_index][column_index]
                panel.parts.append(text(middle, baseline, written, fill=on_color, **shape))
    return panel.chart(title, f"A table of {len(rows)} rows and {len(columns)} columns.")


@dataclass(frozen=True)
class _Grid:
    """The layout of cells: the first is at `left` and `top`; `wide` and `high` include the space after a cell."""

    width: float  # of the whole chart
    left: float
    top: float
    wide: float
    high: float
    is_sloping: bool  # whether the names of columns are

    def names(self, rows: Sequence[str], columns: Sequence[str]) -> list[str]:
        parts = []
        for index, column in enumerate(columns):
            x, y = self.left + self.wide * (index + 0.5) - 1, self.top - 8
            label = fit(column, _LONGEST_NAME)
            if self.is_sloping:
                parts.append(text(x + 4, y, label, transform=f"rotate(-45 {x + 4:.1f} {y:.1f})"))
            else:
                parts.append(text(x, y, label, anchor="middle"))
        for index, row in enumerate(rows):
            y = self.top + self.high * (index + 0.5) + 3
            parts.append(text(self.left - 8, y, fit(row, _LONGEST_NAME), anchor="end"))
        return parts


def _lay_out(rows: Sequence[str], columns: Sequence[str], top: float) -> _Grid:
    left = EDGE + min(max(map(text_width, rows), default=0.0), _LONGEST_NAME) + 8
    longest = min(max(map(text_width, columns), default=0.0), _LONGEST_NAME)
    count = max(len(columns), 1)
    wide = min((WIDTH - left - EDGE) / count, _WIDEST)
    is_sloping = longest > wide - 6
    right = longest * _SLOPE if is_sloping else EDGE
    wide = min(max((WIDTH - left - right) / count, _SMALLEST), _WIDEST)
    above = longest * _SLOPE + 16 if is_sloping else 22.0
    return _Grid(max(left + wide * count + right, WIDTH), left, top + above, wide, min(wide, _HIGHEST), is_sloping)


def confusion_matrix(title: str, names: Sequence[str], counts: Sequence[Sequence[int]], *, note: str = "") -> Chart:
    """The counts of predictions by class, `counts[actual][predicted]`; colours are shares of the actual class.

    Of very many classes those with the most mistakes are drawn; that is said.
    """
    mistakes = [
        sum(counts[index]) + sum(row[index] for row in counts) - 2 * counts[index][index] for index in range(len(names))
    ]
    kept = list(range(len(names)))
    notes = ["rows: actual, columns: predicted"]
    if len(names) > _MOST_CLASSES:
        kept = sorted(sorted(kept, key=lambda index: -mistakes[index])[:_MOST_CLASSES])
        notes.append(f"the {_MOST_CLASSES} of {len(names):,} classes with the most mistakes")
    note = "; ".join([*notes, note] if note else notes)
    totals = [sum(counts[actual]) for actual in kept]
    chosen = [[counts[actual][predicted] for predicted in kept] for actual in kept]
    shares = [[count / total if total else 0.0 for count in row] for row, total in zip(chosen, totals, strict=True)]
    labels = [names[index] for index in kept]
    tips = [
        [
            f"{actual} taken for {predicted}: {count:,} of {total:,}"
            for predicted, count in zip(labels, row, strict=True)
        ]
        for actual, row, total in zip(labels, chosen, totals, strict=True)
    ]
    texts = [[f"{count:,}" if count else "" for count in row] for row in chosen]
    right = sum(counts[index][index] for index in range(len(names)))
    total = sum(map(sum, counts))
    chart = heat_map(title, labels, labels, shares, texts=texts, tips=tips, note=note)
    words = [f"{right:,} of {total:,} are right."]
    mistaken = [
        (count, tips[actual][predicted])
        for actual, row in enumerate(chosen)
        for predicted, count in enumerate(row)
        if count and actual != predicted
    ]
    words += [f"{tip}." for _, tip in sorted(mistaken, key=lambda mistake: -mistake[0])[:5]]
    return Chart(chart.title, " ".join(words), chart.width, chart.height, chart.body)


def _text_size(texts: Sequence[Sequence[str]] | None, grid: _Grid) -> float:
    """The font size in cells; 0 if the texts would not fit or not be readable."""
    longest = max((text_width(written, 1) for row in texts or () for written in row), default=0.0)
    if not longest:
        return 0.0
    size = min(13.0, (grid.wide - 6) / longest, grid.high * 0.6)
    return size if size >= 8 else 0.0


def _key(width: float) -> str:
    """What the colours mean, in the corner."""
    end = width - EDGE - text_width("100%", 11) - 4
    start = end - _SWATCH * len(RAMP)
    parts = [text(start - 5, 25, "0", fill=MUTED, size=11, anchor="end")]
    parts += [rectangle(start + _SWATCH * step, 17, _SWATCH, _SWATCH, color) for step, color in enumerate(RAMP)]
    return "".join([*parts, text(end + 5, 25, "100%", fill=MUTED, size=11)])
