"""A graph as Mermaid and as DOT text."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from nablac.drawing.outline import BORDER, Box, Group
from nablac.drawing.svg import COLORS


def mermaid(group: Group) -> str:
    """A Mermaid flowchart, layers as subgraphs."""
    lines = ["flowchart TB"]
    for kind, (fill, stroke, text) in COLORS.items():
        lines.append(f"  classDef {kind} fill:{fill},stroke:{stroke},color:{text}")
    lines += _mermaid_boxes(group, "  ")
    lines += [f'  n{source} -->|"{_quoted(label)}"| n{target}' for source, target, label in edges(group)]
    lines += [f"  n{source} -. next step .-> n{target}" for source, target in _loops(group)]
    return "\n".join(lines) + "\n"


def _loops(group: Group) -> Iterator[tuple[int, int]]:
    """The loops of all recurrences that are open."""
    yield from group.loops
    for box in group.boxes:
        if box.inside is not None:
            yield from _loops(box.inside)


def _mermaid_boxes(group: Group, indent: str) -> Iterator[str]:
    for box in group.boxes:
        if box.inside is not None:
            yield f'{indent}subgraph n{box.number}["{_quoted(box.heading)}"]'
            yield from _mermaid_boxes(box.inside, indent + "  ")
            yield f"{indent}end"
            continue
        left, right = ("([", "])") if box.kind in ("input", "output", "state") else ("[", "]")
        text = "<br/>".join(map(_quoted, [box.heading, *box.lines]))
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
    lines += [
        f'  n{source} -> n{target} [label="next step" style=dashed constraint=false]'
        for source, target in _loops(group)
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_boxes(group: Group, indent: str) -> Iterator[str]:
    for box in group.boxes:
        fill, stroke, text = COLORS[box.kind]
        if box.inside is not None:
            yield f"{indent}subgraph cluster_{box.number} {{"
            yield f'{indent}  label={_escaped(box.heading)} style="rounded" color="{stroke}" fontcolor="{text}"'
            yield from _dot_boxes(box.inside, indent + "  ")
            yield f"{indent}}}"
            continue
        shape = "oval" if box.kind in ("input", "output", "state") else "box"
        label = _escaped("\n".join([box.heading, *box.lines]))
        colors = f'fillcolor="{fill}" color="{stroke}" fontcolor="{text}"'
        yield f"{indent}n{box.number} [label={label} shape={shape} {colors}]"


def _escaped(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def edges(group: Group) -> list[tuple[int, int, str]]:
    """Edges between the innermost visible boxes, joined where they cross borders."""
    labels_by_edge: dict[tuple[int, int], dict[str, None]] = {}
    for source, target, label in _edges(group):
        labels_by_edge.setdefault((source, target), {}).setdefault(label)
    return [(source, target, "\n".join(labels)) for (source, target), labels in labels_by_edge.items()]


def _edges(group: Group) -> Iterator[tuple[int, int, str]]:
    boxes = {box.number: box for box in group.boxes}
    for box in group.boxes:
        if box.inside is not None:
            yield from _edges(box.inside)
    for (source, target), values in group.edges.items():
        if source == BORDER or target == BORDER:
            continue
        for value, label in values.items():
            for start in _ends(boxes[source], value, out=True):
                for end in _ends(boxes[target], value, out=False):
                    yield start, end, label


def _ends(box: Box, value: Hashable, out: bool) -> list[int]:
    """The innermost boxes inside a box that send a value to its border, or with `out` false receive it from there."""
    if box.inside is None:
        return [box.number]
    boxes = {inner.number: inner for inner in box.inside.boxes}
    numbers: list[int] = []
    for (source, target), values in box.inside.edges.items():
        near, far = (source, target) if out else (target, source)
        if far == BORDER and near != BORDER and value in values:
            numbers += _ends(boxes[near], value, out)
    return numbers
