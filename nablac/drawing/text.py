"""A graph as Mermaid and as DOT text."""

from __future__ import annotations

from collections.abc import Iterator

from nablac.drawing.outline import BORDER, Box, Group
from nablac.drawing.svg import COLORS


def mermaid(group: Group) -> str:
    """A Mermaid flowchart, layers as subgraphs."""
    lines = ["flowchart TB"]
    for kind, (fill, stroke, text) in COLORS.items():
        lines.append(f"  classDef {kind} fill:{fill},stroke:{stroke},color:{text}")
    lines += _mermaid_boxes(group, "  ")
    lines += [f'  n{source} -->|"{_quoted(label)}"| n{target}' for source, target, label in edges(group)]
    return "\n".join(lines) + "\n"


def _mermaid_boxes(group: Group, indent: str) -> Iterator[str]:
    for box in group.boxes:
        if box.inside is not None:
            yield f'{indent}subgraph n{box.number}["{_quoted(box.title)}"]'
            yield from _mermaid_boxes(box.inside, indent + "  ")
            yield f"{indent}end"
            continue
        left, right = ("([", "])") if box.kind in ("input", "output", "state") else ("[", "]")
        text = "<br/>".join(map(_quoted, [box.title, *box.lines]))
        yield f'{indent}n{box.number}{left}"{text}"{right}:::{box.kind}'


def _quoted(text: str) -> str:
    return (
        text.replace("&", "#amp;")
        .replace('"', "#quot;")
        .replace("<", "#lt;")
        .replace(">", "#gt;")
        .replace("\n", "<br/>")
    )


def dot(group: Group, title: str) -> str:
    """Graphviz text, layers as clusters."""
    lines = [
        f"digraph {_escaped(title)} {{",
        '  graph [fontname="sans-serif"]',
        '  node [fontname="sans-serif" style=filled]',
    ]
    lines.append('  edge [fontname="sans-serif" fontsize=9 color="#94a3b8"]')
    lines += _dot_boxes(group, "  ")
    lines += [f"  n{source} -> n{target} [label={_escaped(label)}]" for source, target, label in edges(group)]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_boxes(group: Group, indent: str) -> Iterator[str]:
    for box in group.boxes:
        fill, stroke, text = COLORS[box.kind]
        if box.inside is not None:
            yield f"{indent}subgraph cluster_{box.number} {{"
            yield f'{indent}  label={_escaped(box.title)} style="rounded" color="{stroke}" fontcolor="{text}"'
            yield from _dot_boxes(box.inside, indent + "  ")
            yield f"{indent}}}"
            continue
        shape = "oval" if box.kind in ("input", "output", "state") else "box"
        label = _escaped("\n".join([box.title, *box.lines]))
        colors = f'fillcolor="{fill}" color="{stroke}" fontcolor="{text}"'
        yield f"{indent}n{box.number} [label={label} shape={shape} {colors}]"


def _escaped(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def edges(group: Group) -> list[tuple[int, int, str]]:
    """Edges between the innermost boxes drawn, joined again where they cross borders."""
    return [(source.number, target.number, "\n".join(labels)) for source, target, labels in _edges(group)]


def _edges(group: Group) -> Iterator[tuple[Box, Box, list[str]]]:
    boxes = {box.number: box for box in group.boxes}
    for box in group.boxes:
        if box.inside is not None:
            yield from _edges(box.inside)
    for (source, target), labels in group.edges.items():
        if source == BORDER or target == BORDER:
            continue
        for start in _ends(boxes[source], labels, out=True):
            for end in _ends(boxes[target], labels, out=False):
                yield start, end, labels


def _ends(box: Box, labels: list[str], out: bool) -> list[Box]:
    """The innermost boxes that an edge at a box's border leads to."""
    if box.inside is None:
        return [box]
    boxes = {each.number: each for each in box.inside.boxes}
    found: dict[int, Box] = {}
    for (source, target), inner in box.inside.edges.items():
        here, border = (source, target) if out else (target, source)
        if border == BORDER and here != BORDER and set(inner) & set(labels):
            found.update((each.number, each) for each in _ends(boxes[here], labels, out))
    return list(found.values()) or [box]
