"""The work budget of a compilation: steps of about a microsecond, charged where the work is done, and nodes.

Nodes, of some 20 microseconds, are counted by themselves, since they are what a large model is for: a text that builds
fewer ends after as many steps as ever.

Separate limits, such as the length of a list or the number of iterations, do not bound their product. Everything that
one `check` or one compilation elaborates shares one `Work`, so that the time for any file is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compiler.dims import Size
from compiler.graph import Node

MOST_WORK = 8_000_000
MOST_NODES = 1_600_000  # a million operators, and the numbers that they use

# The steps that one of these costs
EXPRESSION = 1  # or an iteration of a loop, or an argument
CALL = 30
NODE = 25  # that is not counted among the nodes, such as one of the rearrangement of a tensor
COPY = 8  # a node, parameter or layer that is copied with the layer around it
DERIVED = 5 * NODE  # a node that a gradient flows through
OUTPUT = 1_600  # of a model: computing, writing and comparing it
PIECE = 200  # an expression in the braces of a message, which is parsed
REFUSED = 20_000  # such an expression with an error: similar names are searched for a hint that nobody sees
ITEM = 1 / 8  # a list item or a tensor's axis that is visited, or a character that is parsed
COPIED = 1 / 32  # a list item or a character that is copied


@dataclass
class Work:
    """The steps that a compilation may still take, and the nodes that it may still add to graphs."""

    left: float = MOST_WORK
    nodes: int = MOST_NODES

    @property
    def used_up(self) -> bool:
        """Whether nothing may be done any more."""
        return self.left < 0 or self.nodes < 0


def of_shape(shape: Sequence[Size]) -> float:
    """The cost of computing a shape."""
    steps = len(shape) * ITEM
    for size in shape:
        if not isinstance(size, int) and size.names > 1:
            steps += size.names**2
    return steps


def of_sizes(*sizes: Size) -> int:
    """The cost of a sum or product of sizes, whose terms are multiplied out."""
    names = sum(size.names for size in sizes if not isinstance(size, int))
    return names**2 // 2


def of_graph(nodes: Iterable[Node]) -> int:
    """The number of nodes, including those of nested graphs."""
    return sum(1 + sum(map(of_graph, node.op.graphs)) for node in nodes)
