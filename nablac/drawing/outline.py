"""A graph as nested boxes: an operator is a box, a layer a box with boxes inside, a recurrence a box with its step.

Every edge belongs to one group: where it crosses the border of a layer, it becomes an edge to the layer's box outside
and one from the border (`BORDER`) inside, so that a layer can be opened and closed without changing what surrounds it.
An edge lists the values that flow along it, so that its parts can be joined again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from compiler.formulas.symbols import name_of_result
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Input, Parameter
from compiler.origins import Layer

BORDER = -1  # the group's own border, as a source above its boxes and as a target below them


@dataclass(eq=False)
class Box:
    """`kind` is input, output, state, operator, layer or scan; `lines` are the texts below the title.

    `name` is that of the equation whose last operator this is; `definition` is what a layer is an instance of.
    """

    number: int
    kind: str
    title: str
    lines: list[str] = field(default_factory=list)
    inside: Group | None = None
    name: str = ""
    definition: str = ""
    applications: int = 1  # of a layer

    @property
    def heading(self) -> str:
        """The title with the name of the equation, or the kind of the layer: `f = sigmoid`, `encoder: LSTM`.

        A layer that is used more than once is one box, and its heading counts the uses: `tower: Dense, used 2 times`.
        """
        if self.name:
            return f"{self.name} = {self.title}"
        used = f", used {self.applications} times" if self.applications > 1 else ""
        return (f"{self.title}: {self.definition}" if self.definition else self.title) + used


@dataclass(eq=False)
class Group:
    """Boxes in the order of their first use, and edges by source and target, with the label of each value on them.

    `names` are those of values on edges; `loops` lead from the next value of a state, after a step, to its value before
    the next one.
    """

    boxes: list[Box] = field(default_factory=list)
    edges: dict[tuple[int, int], dict[Hashable, str]] = field(default_factory=dict)
    names: dict[Hashable, str] = field(default_factory=dict)
    loops: list[tuple[int, int]] = field(default_factory=list)

    def connect(self, source: int, target: int, value: Value, name: str) -> None:
        """Add an edge, unless both ends are one box: what flows inside a box is drawn inside it."""
        if source != target:
            self.edges.setdefault((source, target), {})[value] = str(value.type)
            self.names[value] = name

    def edge_names(self) -> dict[tuple[int, int], str]:
        """The names of what flows along edges that could be confused: of several into, out of, or inside a layer."""
        layers = {box.number for box in self.boxes if box.kind == "layer"}
        entering: dict[int, set[Hashable]] = {}
        leaving: dict[int, set[Hashable]] = {}
        for (source, target), values in self.edges.items():
            entering.setdefault(target, set()).update(values)
            leaving.setdefault(source, set()).update(values)
        confused_sources = {number for number in (*layers, BORDER) if len(leaving.get(number, ())) > 1}
        confused_targets = {number for number in (*layers, BORDER) if len(entering.get(number, ())) > 1}
        return {
            (source, target): ", ".join(dict.fromkeys(self.names.get(value, "") for value in values)).strip(", ")
            for (source, target), values in self.edges.items()
            if source in confused_sources or target in confused_targets
        }

    def output_types(self) -> dict[int, list[str]]:
        """The types of the values that leave each box, except those that its lines state."""
        labels: dict[int, dict[str, None]] = {box.number: {} for box in self.boxes}
        for (source, _), values in self.edges.items():
            if source != BORDER:
                labels[source].update(dict.fromkeys(values.values()))
        return {box.number: [label for label in labels[box.number] if label not in box.lines] for box in self.boxes}


Chain = tuple[tuple[Group, Box], ...]  # a box and those around it, from the outermost, each with its group
Weights = dict[str, Parameter]


def outline(graph: Graph) -> Group:
    """The boxes of a graph. Values that depend on no input, such as weights, have no box: their users list them."""
    parameters = [node.op for node in graph if isinstance(node.op, Parameter)]
    drawing = _Outline(graph, Group(), (), (), parameters, count(), graph.layers)
    for name, value in graph.inputs.items():
        drawing.add_input("input", name, value)
    drawing.draw()
    for name, value in graph.outputs.items():
        drawing.add_output("output", name, value)
    return drawing.root


def every_box(group: Group) -> Iterator[Box]:
    """All boxes of a group in preorder."""
    for box in group.boxes:
        yield box
        if box.inside is not None:
            yield from every_box(box.inside)


def close_below(group: Group, depth: int) -> Group:
    """The group with layers open to `depth` and closed below it."""
    boxes = [
        Box(
            box.number,
            box.kind,
            box.title,
            box.lines,
            close_below(box.inside, depth - 1) if box.inside is not None and depth > 0 else None,
            box.name,
            box.definition,
            box.applications,
        )
        for box in group.boxes
    ]
    return Group(boxes, group.edges, group.names, group.loops)


def readable_depth(group: Group, most: int = 40) -> int:
    """The depth to which layers may be open in a picture of about `most` boxes."""
    depth = 0
    while depth < 8:
        deeper = close_below(group, depth + 1)
        boxes = sum(1 for _ in every_box(deeper))
        if boxes > most or boxes == sum(1 for _ in every_box(close_below(group, depth))):
            return depth
        depth += 1
    return depth


class _Outline:
    """Draws a graph into a group; the step of a recurrence is a graph of its own, in the group of the scan's box."""

    def __init__(
        self,
        graph: Graph,
        root: Group,
        around: Chain,
        prefix: tuple[str, ...],
        parameters: Sequence[Parameter],
        numbers: Iterator[int],
        definitions: Mapping[str, Layer],
    ) -> None:
        self.graph, self.root, self.around, self.prefix = graph, root, around, prefix
        self.parameters, self.numbers = parameters, numbers
        self.definitions = definitions
        self.drawn: dict[Value, Chain] = {}  # the box of a value that depends on an input
        self.weights: dict[Value, Weights] = {}  # the parameters that a value without a box depends on
        self.layers: dict[tuple[str, ...], Chain] = {}

    def add_input(self, kind: str, title: str, value: Value) -> Chain:
        """Add a box for a value that comes from outside."""
        self.drawn[value] = self._box(self.around, kind, title, [str(value.type)])
        return self.drawn[value]

    def add_output(self, kind: str, title: str, value: Value) -> Chain | None:
        """Add a box for a value that goes outside, if the value depends on an input."""
        if value not in self.drawn:
            return None
        chain = self._box(self.around, kind, title, [str(value.type)])
        _connect(self.drawn[value], chain, value)
        return chain

    def draw(self) -> None:
        """Add a box for every node that depends on an input, in the layer that it belongs to."""
        used = {operand for node in self.graph for operand in node.operands} | set(self.graph.ends)
        for node in self.graph:
            if node.results[0] in self.drawn or node.results[0] in self.weights:
                continue
            if not any(operand in self.drawn for operand in node.operands):
                self.weights.update(dict.fromkeys(node.results, self._parameters_of(node)))
            elif isinstance(node.op, Scan):
                self._scan(node, node.op, used)
            else:
                chain = self._box(self._layer(node), "operator", node.op.name, [])
                chain[-1][1].name = _equation(node)
                for operand in node.operands:
                    if operand in self.drawn:
                        _connect(self.drawn[operand], chain, operand)
                    else:
                        _add_parameters(chain[-1][1], self.weights.get(operand, {}))
                self.drawn.update(dict.fromkeys(node.results, chain))
        for path, chain in self.layers.items():
            layer = self.definitions.get(".".join(path))
            chain[-1][1].definition = layer.definition if layer is not None else ""
            chain[-1][1].applications = layer.applications if layer is not None else 1
            chain[-1][1].lines = _parameter_lines(self.parameters, ".".join(path))

    def _scan(self, node: Node, scan: Scan, used: set[Value]) -> None:
        """Draw the step: operands lead to the boxes of its inputs, and results come from those of its outputs."""
        chain = self._box(self._layer(node), "scan", "scan", ["backward" if scan.reverse else "forward"])
        box = chain[-1][1]
        box.inside = Group()
        step = _Outline(
            scan.body, box.inside, chain, _parts(node.origin.path), self.parameters, self.numbers, self.definitions
        )
        step_inputs = list(scan.body.inputs.items())
        states: dict[int, int] = {}  # the numbers of the boxes of the states before a step
        for index, ((name, value), operand) in enumerate(zip(step_inputs, node.operands, strict=True)):
            if index >= scan.states + scan.slices and operand not in self.drawn:
                step.weights[value] = self.weights.get(operand, {})
                continue
            named = name_of_result(value)
            title = name if index < scan.states else named.text if named is not None else _name(operand)
            entry = step.add_input("state" if index < scan.states else "input", title, value)
            if index < scan.states:
                states[index] = entry[-1][1].number
            if operand in self.drawn:
                _connect(self.drawn[operand], entry, operand)
        step.draw()
        stacked = len(node.results) - scan.states
        for index, (result, value) in enumerate(zip(node.results, scan.body.outputs.values(), strict=True)):
            self.drawn[result] = chain
            if index < scan.states:
                end = step.add_output("state", f"{step_inputs[index][0]}'", value)
                if end is not None:
                    box.inside.loops.append((end[-1][1].number, states[index]))
            elif result in used:
                end = step.add_output("output", "output" if stacked == 1 else f"output {index - scan.states}", value)
            else:
                continue
            self.drawn[result] = end or chain

    def _parameters_of(self, node: Node) -> Weights:
        """The parameters that a node without a box depends on, by path."""
        if isinstance(node.op, Parameter):
            return {node.op.path: node.op}
        return {path: op for operand in node.operands for path, op in self.weights.get(operand, {}).items()}

    def _box(self, around: Chain, kind: str, title: str, lines: list[str]) -> Chain:
        """Add a box inside the last box of `around`, or to the root group."""
        group = around[-1][1].inside if around else self.root
        assert group is not None
        box = Box(next(self.numbers), kind, title, lines)
        group.boxes.append(box)
        return (*around, (group, box))

    def _layer(self, node: Node) -> Chain:
        """The boxes of the layers that a node belongs to."""
        path = _parts(node.origin.path)
        if path[: len(self.prefix)] == self.prefix:
            path = path[len(self.prefix) :]
            parents = self.prefix
        else:
            parents = ()
        chain = self.around
        for end in range(1, len(path) + 1):
            key = (*parents, *path[:end])
            if key not in self.layers:
                self.layers[key] = self._box(chain, "layer", path[end - 1], [])
                self.layers[key][-1][1].inside = Group()
            chain = self.layers[key]
        return chain


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()


def _equation(node: Node) -> str:
    """The name of the equation of its own layer whose last operator a node is."""
    for name in node.origin.names:
        if name.path == node.origin.path and name.text != "out":
            return name.text + ("'" if name.primed else "")
    return ""


def _label(value: Value) -> str:
    """A name for a value on an edge."""
    named = name_of_result(value)
    if isinstance(value.node.op, Input):
        return value.node.op.label
    return named.text + ("'" if named.primed else "") if named is not None else ""


def _name(value: Value) -> str:
    """The name of a value from outside that a step uses."""
    return value.node.op.label if isinstance(value.node.op, Input) else value.node.op.name


def _connect(source: Chain, target: Chain, value: Value) -> None:
    """Add an edge between two boxes to every group that it passes through."""
    common, name = 0, _label(value) or source[-1][1].title
    while common < min(len(source), len(target)) - 1 and source[common][1] is target[common][1]:
        common += 1
    source[common][0].connect(source[common][1].number, target[common][1].number, value, name)
    for group, box in source[common + 1 :]:
        group.connect(box.number, BORDER, value, name)
    for group, box in target[common + 1 :]:
        group.connect(BORDER, box.number, value, name)


def _add_parameters(box: Box, weights: Mapping[str, Parameter]) -> None:
    """Add a line for each parameter to a box."""
    for op in weights.values():
        line = _parameter_line(op)
        if line not in box.lines:
            box.lines.append(line)


def _parameter_line(op: Parameter) -> str:
    return f"{op.path.rpartition('.')[2]} [{', '.join(map(str, op.type.shape))}]"


def _parameter_lines(parameters: Sequence[Parameter], path: str) -> list[str]:
    """A line for each of a layer's parameters, or one with their total size; none if it has no parameters."""
    inside = [op for op in parameters if op.path.startswith(f"{path}.")]
    own = [op for op in inside if "." not in op.path.removeprefix(f"{path}.")]
    if own == inside and len(own) <= 4:
        return [_parameter_line(op) for op in own]
    total = sum(op.type.elements for op in inside if isinstance(op.type.elements, int))
    return [f"{total:,} parameters"]
