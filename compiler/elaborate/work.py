"""How much one compilation may do, counted where it is done, in steps of about a microsecond.

Limits of single things, of a list's items or of a loop's rounds, do not bound their products. All that one `check` or
one compilation elaborates shares one `Work`, so that any file comes to an end soon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compiler.dims import Size
from compiler.graph import Node

MOST_WORK = 8_000_000

# Steps for one of each.
EXPRESSION = 1  # or a round of a loop, or an argument
CALL = 30
NODE = 25
DERIVED = 5 * NODE  # a node that a gradient flows through
OUTPUT = 1_600  # of a model: what computes, writes and compares it
PIECE = 200  # of a message: its text is read as the language is
REFUSED = 20_000  # a piece of a message that is none: near names are sought for an error that nobody sees
ITEM = 1 / 8  # of a list that is looked at, a tensor's axis, a character that is read
COPIED = 1 / 32  # an item of a list that is made, or a character of a text


@dataclass
class Work:
    left: float = MOST_WORK


def of_shape(shape: Sequence[Size]) -> float:
    """The steps of working out a shape."""
    steps = len(shape) * ITEM
    for size in shape:
        if not isinstance(size, int) and size.names > 1:
            steps += size.names**2
    return steps


def of_sizes(*sizes: Size) -> int:
    """The steps of a sum or a product of sizes, whose terms are multiplied out."""
    names = sum(size.names for size in sizes if not isinstance(size, int))
    return names**2 // 2


def of_graph(nodes: Iterable[Node]) -> int:
    """How many nodes there are, those of nested graphs among them."""
    return sum(1 + sum(map(of_graph, node.op.graphs)) for node in nodes)
