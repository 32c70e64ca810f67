"""The colours of charts and pages, for a light and a dark screen.

Texts and marks have a contrast of at least 4.5 with their background (WCAG
2.2, 1.4.3), and the colours of series differ for people with any of the three colour vision deficiencies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Color:
    """A colour named for its use; `light` and `dark` are its values on screens of either kind."""

    name: str
    light: str
    dark: str


CANVAS = Color("canvas", "#f8fafc", "#0f1420")  # behind panels
SURFACE = Color("surface", "#ffffff", "#171d2b")  # behind marks
INK = Color("ink", "#0f172a", "#e6eaf2")
MUTED = Color("muted", "#5b6880", "#9aa7bd")  # labels of axes, notes
GRID = Color("grid", "#e2e8f0", "#2b3447")
FAINT = Color("faint", "#f1f5f9", "#1f2737")
BEST = Color("best", "#15803d", "#4ade80")
WORSE = Color("worse", "#b91c1c", "#f87171")
SERIES = (
    Color("blue", "#2563eb", "#60a5fa"),
    Color("orange", "#c2410c", "#fb923c"),
    Color("teal", "#155e75", "#2dd4bf"),
    Color("magenta", "#a21caf", "#ec4899"),
    Color("brown", "#7c2d12", "#fde047"),
    Color("navy", "#172554", "#f1f5f9"),
)
BLUE, ORANGE, TEAL, MAGENTA, BROWN, NAVY = SERIES
STEPS = 10  # of the ramp


def mix(start: str, end: str, share: float) -> str:
    """The interpolation between two encoded colours."""
    pairs = zip(_channels(start), _channels(end), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    """The relative luminance of an sRGB colour (WCAG 2.2)."""
    encoded = [channel / 255 for channel in _channels(color)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in encoded]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _channels(color: str) -> list[int]:
    return [int(color[index : index + 2], 16) for index in (1, 3, 5)]


def _readable_on(color: str) -> str:
    """Black or white, whichever has the higher contrast with a colour, which is above 4.5 for any colour."""
    return max("#000000", "#ffffff", key=lambda text: contrast(text, color))


def _ramp() -> tuple[Color, ...]:
    lights = [mix("#f1f5f9", "#1d4ed8", step / STEPS) for step in range(STEPS + 1)]
    darks = [mix("#1f2737", "#7db2ff", step / STEPS) for step in range(STEPS + 1)]
    return tuple(Color(f"ramp-{step}", *pair) for step, pair in enumerate(zip(lights, darks, strict=True)))


RAMP = _ramp()  # from nearly the surface to the strongest contrast
ON_RAMP = tuple(Color(f"on-{color.name}", _readable_on(color.light), _readable_on(color.dark)) for color in RAMP)


def shade(share: float) -> tuple[Color, Color]:
    """The colour of the ramp for a share from 0 to 1, and of a text on it; only a share of 0 has the first colour."""
    step = max(1, round(float(min(share, 1.0) ** 0.7) * STEPS)) if share > 0 else 0
    return RAMP[step], ON_RAMP[step]


ALL = (CANVAS, SURFACE, INK, MUTED, GRID, FAINT, BEST, WORSE, *SERIES, *RAMP, *ON_RAMP)
DARK = "@media screen and (prefers-color-scheme: dark)"


def dark_rules(drawing: str) -> str:
    """CSS that gives a drawing the colours of a dark screen. The light ones are attributes of its elements.

    So viewers without CSS, and paper, have the light ones.
    """
    used = set(re.findall(r"(?:fill|stroke)-[a-z]+(?:-[a-z0-9]+)*", drawing))
    rules = [
        f".{kind}-{color.name}{{{kind}:{color.dark}}}"
        for color in ALL
        for kind in ("fill", "stroke")
        if f"{kind}-{color.name}" in used
    ]
    return f"{DARK}{{{''.join(rules)}}}" if rules else ""
