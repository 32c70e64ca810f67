"""How much memory the values of a graph take at one set of sizes, node for node in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from compiler.dims import substitute
from compiler.graph import Graph, Node, Value
from compiler.operators.leaves import Constant, Placeholder

NEVER = 2**62


class Liveness:
    """Which values are alive at which node, with all named dims replaced by `sizes`.

    `nodes` are those that compute something, in order. Constants and what is fed are not counted, and neither is a
    view; it keeps alive what it is a view of.
    """

    def __init__(self, graph: Graph, sizes: Mapping[str, int]) -> None:
        self.graph, self.sizes = graph, sizes
        self._bytes: dict[Value, int] = {}
        self.nodes = tuple(node for node in graph if not isinstance(node.op, (Constant, Placeholder)))
        self.index: dict[Node, int] = {node: index for index, node in enumerate(self.nodes)}
        self.owner: dict[Value, Value] = {}  # of a view: what it is a view of
        self.last: dict[Value, int] = {}  # the node that reads a value last, of a view counted for its owner
        for index, node in enumerate(self.nodes):
            for operand in node.operands:
                self.last[self.owner.get(operand, operand)] = index
            for result in node.results:
                if node.op.views_operand:
                    self.owner[result] = self.owner.get(node.operands[0], node.operands[0])
                else:
                    self.last[result] = index
        for end in graph.ends:
            self.last[self.owner.get(end, end)] = NEVER

    def bytes(self, value: Value) -> int:
        """The size of a value."""
        if value not in self._bytes:
            count = 1
            for size in value.shape:
                number = size if isinstance(size, int) else substitute(size, self.sizes)
                count *= number if isinstance(number, int) else 0
            self._bytes[value] = count * value.type.dtype.bytes
        return self._bytes[value]

    @cached_property
    def input_bytes(self) -> int:
        """The size of all that is fed: inputs, parameters and states."""
        return sum(self.bytes(node.result) for node in self.graph if isinstance(node.op, Placeholder))

    @cached_property
    def alive(self) -> tuple[int, ...]:
        """The bytes of the values that are alive while each node runs.

        An elementwise operator takes over the memory of an operand of the same size that is not read again.
        """
        dying: dict[int, list[Value]] = {}
        for value, last in self.last.items():
            if value.node in self.index:
                dying.setdefault(last, []).append(value)
        total, alive = 0, list[int]()
        for index, node in enumerate(self.nodes):
            created = sum(self.bytes(result) for result in node.results if result not in self.owner)
            freed = dying.get(index, [])
            takes_over = node.op.universal_function is not None and any(
                value.node is not node and self.bytes(value) == created for value in freed
            )
            alive.append(total + (0 if takes_over else created))
            total += created - sum(map(self.bytes, freed))
        return tuple(alive)

    @cached_property
    def peak(self) -> int:
        """The index of the node at which the most is alive."""
        return max(range(len(self.nodes)), key=self.alive.__getitem__, default=0)

    @cached_property
    def most(self) -> int:
        """The most bytes that are needed at once, with all that is fed."""
        return self.input_bytes + max(self.alive, default=0)
