"""A graph as nested boxes: an operator is a box, a layer a box with boxes inside, a recurrence a box with its step.

Every edge is local to one group: where it crosses a layer's border it becomes an edge to the border outside, and one
from the border (`BORDER`) inside, so that a layer can be opened and closed without touching what surrounds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.source import Parameter

BORDER = -1  # the group's own border, as a source above its boxes and as a target below them


@dataclass(eq=False)
class Box:
    """`kind` is input, output, state, operator, layer or scan; `lines` stand below the title."""

    number: int
    kind: str
    title: str
    lines: list[str] = field(default_factory=list)
    inside: Group | None = None


@dataclass(eq=False)
class Group:
    """Boxes in the order of their first use, and what flows between them: labels by source and target."""

    boxes: list[Box] = field(default_factory=list)
    edges: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    def connect(self, source: int, target: int, label: str) -> None:
        if source == target:
            return
        labels = self.edges.setdefault((source, target), [])
        if label not in labels:
            labels.append(label)


def outline(graph: Graph) -> Group:
    """The boxes of a graph; what depends on no input (weights, and what is made of them) stays inside of its users."""
    return _Outline().of(graph, graph.inputs, graph.outputs)


def every_box(group: Group) -> Iterator[Box]:
    """All boxes of a group, those inside of others after them."""
    for box in group.boxes:
        yield box
        if box.inside is not None:
            yield from every_box(box.inside)


def close_below(group: Group, depth: int) -> Group:
    """The group with layers nested deeper than `depth` closed."""
    boxes = [
        Box(
            box.number,
            box.kind,
            box.title,
            box.lines,
            close_below(box.inside, depth - 1) if box.inside is not None and depth > 0 else None,
        )
        for box in group.boxes
    ]
    return Group(boxes, group.edges)


def readable_depth(group: Group, most: int = 40) -> int:
    """How deep layers may be open for a picture of about `most` boxes."""
    depth = 0
    while depth < 8:
        deeper = close_below(group, depth + 1)
        count = sum(1 for _ in every_box(deeper))
        if count > most or count == sum(1 for _ in every_box(close_below(group, depth))):
            return depth
        depth += 1
    return depth


class _Outline:
    def __init__(self) -> None:
        self.count = 0

    def of(self, graph: Graph, inputs: dict[str, Value], outputs: dict[str, Value], prefix: str = "") -> Group:
        root = Group()
        chains: dict[Node, list[tuple[Group, Box]]] = {}
        layers: dict[tuple[str, ...], list[tuple[Group, Box]]] = {}
        live = {value.node for value in inputs.values()}
        for name, value in inputs.items():
            chains[value.node] = [(root, self._box(root, "state" if prefix else "input", name, [str(value.type)]))]
        for node in graph:
            if node in chains or not any(operand.node in live for operand in node.operands):
                continue
            live.add(node)
            chain = self._layers(root, node, layers, prefix)
            group = chain[-1][1].inside if chain else root
            assert group is not None
            chains[node] = [*chain, (group, self._operator(group, node))]
            for operand in node.operands:
                if operand.node in chains:
                    _connect(chains[operand.node], chains[node], _label(operand))
                elif isinstance(operand.node.op, Parameter) and not isinstance(node.op, Scan):
                    _mention(chains[node][-1][1], operand)
        for name, value in outputs.items():
            if value.node in chains:
                target = [(root, self._box(root, "state" if prefix else "output", name, [str(value.type)]))]
                _connect(chains[value.node], target, _label(value))
        for key, chain in layers.items():
            chain[-1][1].lines = _parameters(graph, ".".join(key))
        return root

    def _box(self, group: Group, kind: str, title: str, lines: list[str]) -> Box:
        box = Box(self.count, kind, title, lines)
        self.count += 1
        group.boxes.append(box)
        return box

    def _layers(
        self, root: Group, node: Node, layers: dict[tuple[str, ...], list[tuple[Group, Box]]], prefix: str
    ) -> list[tuple[Group, Box]]:
        """The boxes of the layers that a node belongs to, the outermost first."""
        path = node.origin.path.removeprefix(prefix).strip(".")
        parts = tuple(path.split(".")) if path else ()
        chain: list[tuple[Group, Box]] = []
        for end in range(1, len(parts) + 1):
            key = parts[:end]
            if key not in layers:
                group = chain[-1][1].inside if chain else root
                assert group is not None
                box = self._box(group, "layer", parts[end - 1], [])
                box.inside = Group()
                layers[key] = [*chain, (group, box)]
            chain = layers[key]
        return list(chain)

    def _operator(self, group: Group, node: Node) -> Box:
        if not isinstance(node.op, Scan):
            return self._box(group, "operator", node.op.name, [])
        scan = node.op
        count = sum(isinstance(operand.node.op, Parameter) for operand in node.operands)
        lines = ["backward" if scan.reverse else "forward", *([f"{count} parameters"] if count else [])]
        box = self._box(group, "scan", "scan", lines)
        named = list(scan.body.inputs.items())[: scan.states + scan.slices]
        ends = list(scan.body.outputs.items())
        states = [name for name, _ in named[: scan.states]]
        outputs = {
            f"{states[place]}'" if place < scan.states else f"output {place - scan.states}": value
            for place, (_, value) in enumerate(ends)
        }
        box.inside = self.of(scan.body, dict(named), outputs, node.origin.path or "-")
        return box


def _connect(source: list[tuple[Group, Box]], target: list[tuple[Group, Box]], label: str) -> None:
    """An edge between two boxes, in every group that it passes through."""
    common = 0
    while common < min(len(source), len(target)) - 1 and source[common][1] is target[common][1]:
        common += 1
    source[common][0].connect(source[common][1].number, target[common][1].number, label)
    for group, box in source[common + 1 :]:
        group.connect(box.number, BORDER, label)
    for group, box in target[common + 1 :]:
        group.connect(BORDER, box.number, label)


def _label(value: Value) -> str:
    return str(value.type)


def _mention(box: Box, operand: Value) -> None:
    op = operand.node.op
    assert isinstance(op, Parameter)
    box.lines.append(f"{op.path.rpartition('.')[2]} [{', '.join(map(str, op.type.shape))}]")


def _parameters(graph: Graph, path: str) -> list[str]:
    """A layer's own parameters, or how many it has inside."""
    found = [node.op for node in graph if isinstance(node.op, Parameter) and node.op.path.startswith(f"{path}.")]
    own = [op for op in found if "." not in op.path.removeprefix(f"{path}.")]
    if own == found and len(own) <= 4:
        return [f"{op.path.rpartition('.')[2]} [{', '.join(map(str, op.type.shape))}]" for op in own]
    total = sum(op.type.elements for op in found if isinstance(op.type.elements, int))
    return [f"{total:,} parameters"]
