"""The history of a run as a picture: one panel for each quantity, training beside validation, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 420, 260  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 44, 38  # around a panel's plot
TRAINING, VALIDATION, BEST = "#2563eb", "#ea580c", "#16a34a"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def curves(history: Mapping[str, Sequence[float]], title: str) -> str:
    """An SVG of Keras-style history: `loss` and `val_loss` share a panel; x is the epoch."""
    quantities = [name for name in history if name != "epoch" and not name.startswith("val_")]
    quantities += [name[4:] for name in history if name.startswith("val_") and name[4:] not in quantities]
    columns = min(2, max(1, len(quantities)))
    rows = max(1, math.ceil(len(quantities) / columns))
    width, height = columns * WIDTH + 20, rows * HEIGHT + 52
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{_FONT}" font-size="12" fill="#111827">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="24" y="30" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    if not quantities:
        parts.append('<text x="24" y="60" fill="#6b7280">no epoch is finished yet</text>')
    for place, name in enumerate(quantities):
        x, y = 10 + place % columns * WIDTH, 44 + place // columns * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{_panel(name, history)}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(name: str, history: Mapping[str, Sequence[float]]) -> str:
    lines = [
        (label, color, list(history.get(key, ())))
        for label, color, key in (
            ("training", TRAINING, name),
            ("validation", VALIDATION, f"val_{name}"),
        )
    ]
    lines = [each for each in lines if each[2]]
    numbers = [value for _, _, values in lines for value in values if math.isfinite(value)]
    count = max(len(values) for _, _, values in lines)
    logarithmic = bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) > 100
    low, high = _range(numbers, logarithmic)

    def across(epoch: float) -> float:
        return (
            LEFT + (epoch - 1) / max(count - 1, 1) * (WIDTH - LEFT - RIGHT) if count > 1 else (LEFT + WIDTH - RIGHT) / 2
        )

    def up(value: float) -> float:
        value = math.log10(value) if logarithmic else value
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="20" font-weight="600">{escape(name)}</text>']
    legend = WIDTH - RIGHT
    for label, color, _ in reversed(lines):
        legend -= 7 * len(label) + 26
        parts.append(f'<rect x="{legend}" y="11" width="14" height="4" rx="2" fill="{color}"/>')
        parts.append(f'<text x="{legend + 19}" y="19" fill="#4b5563">{label}</text>')
    for tick in ticks(low, high):
        y = TOP + (high - tick) / (high - low) * (HEIGHT - TOP - BOTTOM)
        shown = _short(10**tick if logarithmic else tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#6b7280">{shown}</text>')
    for tick in sorted({round(each) for each in ticks(1, count)} if count > 1 else {1}):
        if 1 <= tick <= count:
            parts.append(
                f'<text x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#6b7280">'
                f"{tick}</text>"
            )
    for _, color, values in lines:
        for run in _runs(values):
            points = [(across(epoch), up(values[epoch - 1])) for epoch in run]
            if len(points) == 1:
                parts.append(f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" fill="{color}"/>')
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2" stroke-linejoin="round"/>'
            )
    parts.append(_best(name, lines[-1][2], across, up))
    return "".join(parts)


def _best(name: str, values: list[float], across, up) -> str:  # type: ignore[no-untyped-def]
    """A dot where the last line of a loss is lowest (of an accuracy: highest), with its value."""
    finite = [(value, epoch) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    rising = "accuracy" in name or "r_squared" in name
    value, epoch = max(finite, key=lambda each: each[0]) if rising else min(finite, key=lambda each: each[0])
    x, y = across(epoch), up(value)
    bold = f'font-weight="600" fill="{BEST}"'
    anchor = "end" if x > WIDTH / 2 else "start"
    below = y + 18 if y + 22 < HEIGHT - BOTTOM and rising else y - 9
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{BEST}" stroke="#ffffff" stroke-width="1.5"/>'
        f'<text x="{x:.1f}" y="{below:.1f}" text-anchor="{anchor}" {bold}>{_short(value)}</text>'
    )


def _range(numbers: list[float], logarithmic: bool) -> tuple[float, float]:
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`: 1, 2 or 5 times a power of ten apart, five or so."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def _runs(values: list[float]) -> list[list[int]]:
    """Epochs, from 1, in stretches without a gap."""
    found: list[list[int]] = [[]]
    for epoch, value in enumerate(values, 1):
        if math.isfinite(value):
            found[-1].append(epoch)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


def _short(number: float) -> str:
    return f"{number:.3g}" if abs(number) < 1000 or abs(number) >= 1e6 else f"{number:,.0f}"
