"""A graph as SVG."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from nablac.drawing.box_layout import (
    HEADER,
    LINE,
    LINE_SIZE,
    PAD,
    Line,
    Picture,
    PositionedBox,
    lay_out,
    text_width,
)
from nablac.drawing.edge_names import edge_names
from nablac.drawing.outline import Group
from runtime.charts.elements import FONT
from runtime.charts.palette import DARK

COLORS = {  # fill, stroke, text
    "input": ("#dcfce7", "#16a34a", "#14532d"),
    "output": ("#fee2e2", "#dc2626", "#7f1d1d"),
    "state": ("#fef9c3", "#ca8a04", "#713f12"),
    "operator": ("#f8fafc", "#94a3b8", "#0f172a"),
    "layer": ("#dbeafe", "#2563eb", "#1e3a8a"),
    "scan": ("#f3e8ff", "#9333ea", "#581c87"),
}
DARK_COLORS = {
    "input": ("#052e16", "#22c55e", "#bbf7d0"),
    "output": ("#450a0a", "#ef4444", "#fecaca"),
    "state": ("#422006", "#eab308", "#fef08a"),
    "operator": ("#1e293b", "#64748b", "#f1f5f9"),
    "layer": ("#172554", "#3b82f6", "#bfdbfe"),
    "scan": ("#3b0764", "#a855f7", "#e9d5ff"),
}
DARK_OPEN = {"layer": "#10193a", "scan": "#230a3d"}
OPEN = {"layer": "#eff6ff", "scan": "#faf5ff"}  # fills of open boxes
TYPE_COLOR = "#475569"  # the text colour of output types
MARGIN = 20


def dark_style() -> str:
    """The style of a picture where the reader's browser is set to dark colours."""
    rules = [
        ".surface{fill:#0f172a}.heading{fill:#f1f5f9}.edge{stroke:#64748b}.loop{stroke:#eab308}.name{fill:#cbd5e1;stroke:#0f172a}"
    ]
    for kind, (fill, stroke, text) in DARK_COLORS.items():
        rules.append(f".{kind}>rect{{fill:{fill};stroke:{stroke}}}.{kind}>text{{fill:{text}}}")
    rules += [f".{kind}.open>rect{{fill:{fill}}}" for kind, fill in DARK_OPEN.items()]
    return f"{DARK}{{{''.join(rules)}.box>text.type{{fill:#94a3b8}}}}"


def svg(group: Group, title: str) -> str:
    """The group as an SVG picture on a white background."""
    picture = lay_out(group)
    width, height = max(picture.width, text_width(title, 17.0)) + 2 * MARGIN, picture.height + 2 * MARGIN + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family={quoteattr(FONT)} font-size="12">'
        f"<style>{dark_style()}</style>"
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>'
        f'<rect width="100%" height="100%" rx="10" fill="#ffffff" class="surface"/>'
        f'<text x="{MARGIN}" y="28" font-size="16" font-weight="600" fill="#0f172a" class="heading">'
        f"{escape(title)}</text>"
        f'<g transform="translate({MARGIN} {MARGIN + 16})">{_picture(picture)}</g></svg>\n'
    )


def _picture(picture: Picture) -> str:
    edges = map(_edge, picture.edges)
    boxes = map(_box, picture.boxes)
    return "".join([*edges, *map(_loop, picture.loops), *boxes, edge_names(picture.edges)])


def curve(points: list[tuple[float, float]]) -> str:
    """An SVG path through the points that starts and ends vertically."""
    (x, y), *rest = points
    parts = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        middle = (y + to_y) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return "".join(parts)


def _edge(line: Line) -> str:
    arrow = ' marker-end="url(#arrow)"' if line.has_arrow else ""
    x, y = line.points[0]
    start = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="#64748b"/>' if line.enters else ""
    return (
        f'{start}<path d="{curve(line.points)}" fill="none" stroke="#94a3b8" stroke-width="1.4" class="edge"{arrow}/>'
    )


def _loop(corners: list[tuple[float, float]]) -> str:
    """A dashed line from a next state around to the state."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return (
        f'<polyline points="{path}" fill="none" stroke="#ca8a04" stroke-width="1.4" stroke-dasharray="5 4" '
        'stroke-linejoin="round" class="loop" marker-end="url(#arrow)"/>'
    )


def _box(placed: PositionedBox) -> str:
    box = placed.box
    fill, stroke, text = COLORS[box.kind]
    radius = 16 if box.kind in ("input", "output", "state") else 7
    fill = OPEN.get(box.kind, fill) if placed.inside is not None else fill
    is_open = " open" if placed.inside is not None else ""
    shape = (
        f'<g transform="translate({placed.x:.1f} {placed.y:.1f})" class="box {box.kind}{is_open}">'
        f'<rect width="{placed.width:.1f}" '
        f'height="{placed.height:.1f}" rx="{radius}" fill="{fill}" stroke="{stroke}" stroke-width="1.2"/>'
    )
    if placed.inside is not None:
        head = f'<tspan font-size="13" font-weight="600">{escape(box.heading)}</tspan>'
        head += "".join(
            f'<tspan dx="10" font-size="11" fill-opacity="0.8">{escape(line)}</tspan>' for line in box.lines
        )
        left = (placed.width - placed.inside.width) / 2
        return (
            f'{shape}<text x="{PAD}" y="18" fill="{text}">{head}</text>'
            f'<g transform="translate({left:.1f} {HEADER})">{_picture(placed.inside)}</g></g>'
        )
    middle = placed.width / 2
    lines = [
        f'<text x="{middle:.1f}" y="20" text-anchor="middle" font-size="13" font-weight="600" fill="{text}">'
        f"{escape(box.heading)}</text>"
    ]
    texts = [*((line, text) for line in box.lines), *((line, TYPE_COLOR) for line in placed.types)]
    lines += [
        f'<text x="{middle:.1f}" y="{21 + LINE * index:.1f}" text-anchor="middle" font-size="{LINE_SIZE:g}" '
        f'fill="{color}" fill-opacity="0.8"{_class(color)}>{escape(line)}</text>'
        for index, (line, color) in enumerate(texts, 1)
    ]
    return f"{shape}{''.join(lines)}</g>"


def _class(color: str) -> str:
    return ' class="type"' if color == TYPE_COLOR else ""
