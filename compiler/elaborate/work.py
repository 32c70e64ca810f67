"""The work budget of a compilation, in steps of half a microsecond at most, charged where the work is done.

Separate limits, such as the length of a list or the number of iterations, do not bound their product. Everything that
one `check` or one compilation elaborates shares one `Work`, so that the time for any file is bounded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence

from compiler.dims import Size
from compiler.graph import Node
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

MOST_WORK = 32_000_000  # some ten seconds; a million nodes that are elaborated one by one
FACTOR = "NABLAC_WORK"  # the environment variable that multiplies it

# The steps that one of these costs
EXPRESSION = 1  # or an iteration of a loop, or an argument
CALL = 30
NODE = 25
COPY = 8  # a node, parameter or layer that is copied with the layer around it
DERIVED = 5 * NODE  # a node that a gradient flows through
OUTPUT = 1_600  # of a model: computing, writing and comparing it
PIECE = 200  # an expression in the braces of a message, which is parsed
REFUSED = 20_000  # such an expression with an error: similar names are searched for a hint that nobody sees
REPEATED = 50_000  # an error that was reported before: similar names are searched again
ITEM = 1 / 8  # a list item or a tensor's axis that is visited, or a character that is parsed
COPIED = 1 / 32  # a list item or a character that is copied


class Work:
    """The steps that a compilation may still take."""

    __slots__ = ("left",)

    def __init__(self, left: float | None = None) -> None:
        self.left = most_work() if left is None else left

    @property
    def used_up(self) -> bool:
        """Whether nothing may be done any more."""
        return self.left < 0


def most_work() -> int:
    """The whole budget; NablacError where the environment has no sensible factor."""
    written = os.environ.get(FACTOR, "1")
    try:
        factor = float(written)
    except ValueError:
        factor = math.nan
    if not 0 < factor < 1e9:
        message = f"the environment variable {FACTOR} multiplies the work budget: `{written}` is not a number above 0"
        raise NablacError(Diagnostic(codes.E504, message, hint=f"set it to a number, such as {FACTOR}=4"))
    return int(MOST_WORK * factor)


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
