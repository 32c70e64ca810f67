"""A graph that reduces over workers, cut into segments without such operators, between which they reduce."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compiler.dims import symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.all_reduce import AllReduce
from compiler.operators.leaves import Input, SizeOf
from compiler.rewrite import replace
from compiler.types import TensorType
from grammar.record import Record


class Reduced(Record):
    """A value that the workers reduce: an output of one segment, and under the same name an input of later ones."""

    name: str
    by: str
    identity: float  # the part of a worker that has nothing to add
    type: TensorType
    of_examples: bool  # whether a worker without any has nothing to add


class Segment(Record):
    """What is computed before a reduction, or after the last one.

    `graph` has the batch and results of earlier segments as inputs. `alone` computes those of its outputs that depend
    on no example of the worker's own. The `reductions` are in the order in which their operands are known.
    """

    graph: Graph
    alone: Graph
    reductions: tuple[Reduced, ...]


class Segments(Record):
    """The segments of a graph in order, and the names of their results that are its outputs and updates."""

    segments: tuple[Segment, ...]
    outputs: dict[str, str]
    updates: dict[str, str]


def cut(graph: Graph, batch: set[str]) -> Segments:
    """The segments of a graph; the sizes of axes of examples are made of the dims in `batch`.

    There are as few as the longest chain of reductions allows, and every node is as late as possible: a value that only
    the last segment needs, such as the activations of a mean loss, crosses no cut.
    """
    return _Cutter(graph, batch).cut()


class _Cutter:
    def __init__(self, graph: Graph, batch: set[str]) -> None:
        self.graph, self.batch = graph, batch
        self.nodes = graph.nodes
        self.last = self._depth()
        self.late = self._schedule()
        self.of_examples = self._dependent()
        self.height = self._height()
        self.names: dict[Value, str] = {}  # of values that cross a cut or are reduced

    def cut(self) -> Segments:
        crossing = self._crossing()
        for value in [*crossing, *self.graph.ends]:
            if not isinstance(value.node.op, AllReduce):
                self.names.setdefault(value, f"cut/{len(self.names)}")
        reductions: list[list[tuple[Reduced, Value]]] = [[] for _ in range(self.last + 1)]
        for node in self.nodes:
            if isinstance(node.op, AllReduce):
                name = self.names[node.result] = f"cut/{len(self.names)}"
                (operand,) = node.operands
                reduced = Reduced(
                    name, node.op.by, node.op.identity, node.result.type, operand.node in self.of_examples
                )
                reductions[self.late[node]].append((reduced, operand))
        kept = [value for value in self.names if not isinstance(value.node.op, AllReduce)]
        segments = []
        for index, reduced_here in enumerate(reductions):
            computed = {self.names[value]: value for value in kept if self.late[value.node] == index}
            computed |= {reduced.name: operand for reduced, operand in reduced_here}
            known = {value: name for value, name in self.names.items() if self._known_before(value, index)}
            alone = {name: value for name, value in computed.items() if value.node not in self.of_examples}
            segments.append(
                Segment(
                    self._graph(computed, known),
                    self._graph(alone, known),
                    tuple(reduced for reduced, _ in sorted(reduced_here, key=lambda pair: self.height[pair[1].node])),
                )
            )
        outputs = {name: self.names[value] for name, value in self.graph.outputs.items()}
        return Segments(
            tuple(segments), outputs, {path: self.names[value] for path, value in self.graph.updates.items()}
        )

    def _depth(self) -> int:
        """The number of reductions in the longest chain of them."""
        depth: dict[Node, int] = {}
        for node in self.nodes:
            before = max((depth[operand.node] for operand in node.operands), default=0)
            depth[node] = before + isinstance(node.op, AllReduce)
        return max(depth.values(), default=0)

    def _height(self) -> dict[Node, int]:
        """The length of the longest chain of nodes that leads to each: backwards, that of a last layer is short."""
        height: dict[Node, int] = {}
        for node in self.nodes:
            height[node] = 1 + max((height[operand.node] for operand in node.operands), default=0)
        return height

    def _schedule(self) -> dict[Node, int]:
        """The segment of each node, the latest that is possible; of a reduction the one that it follows."""
        late: dict[Node, int] = dict.fromkeys(self.nodes, self.last)
        for node in reversed(self.nodes):
            if isinstance(node.op, AllReduce):
                late[node] = min(late[node], self.last - 1)
            for operand in node.operands:
                before = late[node] - (isinstance(operand.node.op, AllReduce))
                late[operand.node] = min(late[operand.node], before)
        return late

    def _dependent(self) -> set[Node]:
        """The nodes that depend on a worker's own examples, or on how many it has."""
        dependent: set[Node] = set()
        for node in self.nodes:
            if isinstance(node.op, AllReduce):
                continue
            sized = isinstance(node.op, SizeOf) and symbols(node.op.size) & self.batch
            shaped = any(symbols(size) & self.batch for result in node.results for size in result.shape)
            if sized or shaped or any(operand.node in dependent for operand in node.operands):
                dependent.add(node)
        return dependent

    def _crossing(self) -> Iterable[Value]:
        """The values that a later segment reads than the one that computes them, without leaves and reductions."""
        crossing: dict[Value, None] = {}
        for node in self.nodes:
            for operand in node.operands:
                if not operand.node.operands or isinstance(operand.node.op, AllReduce):
                    continue
                if self.late[operand.node] < self.late[node]:
                    crossing[operand] = None
        return crossing

    def _known_before(self, value: Value, index: int) -> bool:
        return self.late[value.node] < index and bool(value.node.operands)

    def _graph(self, ends: Mapping[str, Value], known: Mapping[Value, str]) -> Graph:
        """The graph of values by name, of the batch and of values that are known by name."""
        stand_ins = {value: Input(name, value.type)() for value, name in known.items()}
        outputs = dict(zip(ends, replace(list(ends.values()), stand_ins), strict=True))
        graph = Graph({}, outputs)
        read = {node.result for node in graph if isinstance(node.op, Input)}
        inputs = {name: value for name, value in self.graph.inputs.items() if value in read or self._is_sized(value)}
        inputs |= {known[value]: stand_in for value, stand_in in stand_ins.items() if stand_in in read}
        return Graph(inputs, outputs, {}, self.graph.name, self.graph.doc, self.graph.layers)

    def _is_sized(self, value: Value) -> bool:
        """Whether an input has a size that a segment may compute with, without reading the input itself."""
        return any(not isinstance(size, int) for size in value.shape)
