"""Heat maps: a table of shares as colours; confusion matrices among them."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.charts.elements import fit, rectangle, text, text_width
from runtime.charts.numbers import is_drawable
from runtime.charts.palette import MUTED, ON_RAMP, RAMP, STEPS
from runtime.charts.panel import EDGE, WIDTH, Chart, Panel

_LARGEST, _SMALLEST, _SIDE = 60.0, 9.0, 420.0  # of a cell, and of all cells together
_LONGEST_NAME = 150.0
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
    row_name: str = "",
    column_name: str = "",
    note: str = "",
) -> Chart:
    """A cell for each of `shares[row][column]`, from 0 to 1, coloured by it; NaN leaves the cell empty.

    `texts` are written into the cells where there is room for all of them, `tips` shown when they are pointed at.
    """
    count = max(len(rows), len(columns))
    cell = min(max(_SIDE / max(count, 1), _SMALLEST), _LARGEST)
    name_size = min(12.0, max(cell * 0.8, 8.0))
    names = min(max((text_width(row, name_size) for row in rows), default=0.0), _LONGEST_NAME)
    longest = max((text_width(column, name_size) for column in columns), default=0.0)
    upright = longest > cell - 4
    above = min(longest, _LONGEST_NAME) * 0.71 + 16 if upright else 22.0
    left = EDGE + names + 8
    overhang = min(longest, _LONGEST_NAME) * 0.71 if upright else 0.0
    below = [each for each in (row_name, column_name) if each]
    axes_note = f"rows: {row_name}, columns: {column_name}" if len(below) == 2 else ""
    wide = max(left + cell * len(columns) + max(overhang, EDGE), WIDTH)
    top = 44 + (20 if note else 0) + (20 if axes_note else 0) + above
    panel = Panel.begin(title, wide, top + cell * len(rows) + EDGE, note=note)
    if axes_note:
        panel.parts.append(text(EDGE, panel.top + 3, axes_note, fill=MUTED))
    panel.parts.append(_key(wide))
    for index, column in enumerate(columns):
        x = left + cell * (index + 0.5)
        label = fit(column, _LONGEST_NAME, name_size)
        if upright:
            x, y = x + name_size / 3, top - 7
            panel.parts.append(text(x, y, label, size=name_size, transform=f"rotate(-45 {x:.1f} {y:.1f})"))
        else:
            panel.parts.append(text(x, top - 8, label, size=name_size, anchor="middle"))
    for index, row in enumerate(rows):
        y = top + cell * (index + 0.5) + name_size * 0.36
        panel.parts.append(text(left - 8, y, fit(row, names, name_size), size=name_size, anchor="end"))
    size = _text_size(texts, cell)
    gap = 1.0 if cell < 16 else 2.0
    for row_index, row in enumerate(rows):
        for column_index, column in enumerate(columns):
            share = shares[row_index][column_index]
            if not is_drawable(share):
                continue
            x, y, step = left + cell * column_index, top + cell * row_index, _step(share)
            tip = tips[row_index][column_index] if tips is not None else f"{row}, {column}: {share:.1%}"
            panel.parts.append(rectangle(x, y, cell - gap, cell - gap, RAMP[step], tip, rx=min(3.0, cell / 6)))
            if texts is not None and size:
                middle, baseline = x + (cell - gap) / 2, y + (cell - gap) / 2 + size * 0.36
                label = texts[row_index][column_index]
                panel.parts.append(
                    text(middle, baseline, label, fill=ON_RAMP[step], size=size, anchor="middle", pointer_events="none")
                )
    return panel.chart(title, f"A table of {len(rows)} rows and {len(columns)} columns. {axes_note}".strip())


def confusion_matrix(title: str, names: Sequence[str], counts: Sequence[Sequence[int]], *, note: str = "") -> Chart:
    """How often `counts[actual][predicted]` each class was taken for each; colours are shares of the actual class.

    Of very many classes those with the most mistakes are drawn; that is said.
    """
    mistakes = [
        sum(counts[index]) + sum(row[index] for row in counts) - 2 * counts[index][index] for index in range(len(names))
    ]
    kept = list(range(len(names)))
    if len(names) > _MOST_CLASSES:
        most = sorted(kept, key=lambda index: -mistakes[index])[:_MOST_CLASSES]
        kept = sorted(most)
        note = f"{note}; " if note else ""
        note += f"the {_MOST_CLASSES} of {len(names):,} classes with the most mistakes"
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
    chart = heat_map(
        title, labels, labels, shares, texts=texts, tips=tips, row_name="actual", column_name="predicted", note=note
    )
    words = [f"{right:,} of {total:,} are right."]
    mistaken = [
        (count, tips[actual][predicted])
        for actual, row in enumerate(chosen)
        for predicted, count in enumerate(row)
        if count and actual != predicted
    ]
    words += [f"{tip}." for _, tip in sorted(mistaken, key=lambda mistake: -mistake[0])[:5]]
    return Chart(chart.title, " ".join(words), chart.width, chart.height, chart.body)


def _step(share: float) -> int:
    """The colour of a share; what is more than nothing looks so."""
    if share <= 0:
        return 0
    return max(1, round(float(min(share, 1.0) ** 0.7) * STEPS))


def _text_size(texts: Sequence[Sequence[str]] | None, cell: float) -> float:
    """Of the letters in cells; 0 where they would not fit or could not be read."""
    longest = max((text_width(label, 1) for row in texts or () for label in row), default=0.0)
    if not longest:
        return 0.0
    size = min(13.0, (cell - 6) / longest, cell * 0.6)
    return size if size >= 8 else 0.0


def _key(width: float) -> str:
    """What the colours mean, in the corner."""
    start = width - EDGE - text_width("100%", 11) - 6 - _SWATCH * len(RAMP)
    parts = [text(start - 6, 25, "0", fill=MUTED, size=11, anchor="end")]
    parts += [rectangle(start + _SWATCH * step, 17, _SWATCH, _SWATCH, color) for step, color in enumerate(RAMP)]
    parts.append(text(width - EDGE, 25, "100%", fill=MUTED, size=11, anchor="end"))
    return "".join(parts)
