"""Which rewrites run, and in which order."""

from __future__ import annotations

from collections.abc import Callable

from compiler.graph import Graph
from compiler.passes.fold_constants import fold_constants
from compiler.passes.share_equals import share_equals
from compiler.passes.simplify import simplify

Pass = Callable[[Graph], Graph]

PASSES: tuple[Pass, ...] = (
    simplify,
    fold_constants,
    share_equals,
)


def optimize(graph: Graph) -> Graph:
    """A graph of the same inputs and outputs that computes the same, sooner.

    What no output needs is gone by construction: a graph is what its ends reach.
    """
    for each in PASSES:
        graph = each(graph)
    return graph
