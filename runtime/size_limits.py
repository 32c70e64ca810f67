"""Lower bounds of a graph's named dims: no axis is negative, and no window or mean is empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler.dims import PAST, Dim, Symbol, evaluate, symbols
from compiler.graph import Graph, Node
from compiler.operators.convolution import SlidingWindow

_SEARCHED = 100_000  # the largest size that is tried in search of one that is large enough


@dataclass(frozen=True)
class Limit:
    """The size of an axis at some node, and its minimum."""

    size: Dim
    least: int
    node: Node

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether the limit holds; True if some of its dims have no size."""
        return not symbols(self.size) <= sizes.keys() or evaluate(self.size, sizes) >= self.least

    def explain(self, sizes: Mapping[str, int]) -> tuple[str, str]:
        """The reason as a clause, and the name of a dim that has to be larger."""
        names = sorted(symbols(self.size))
        listed = " and ".join(f"`{name}` is {sizes[name]}" for name in names)
        for name in names:
            enough = next((n for n in range(sizes[name] + 1, _SEARCHED) if self.holds({**sizes, name: n})), None)
            if enough is not None:
                return f"{listed}, and `{self.node.op.name}` needs at least {enough}", name
        return f"{listed}, and an axis of `{self.node.op.name}` would be {evaluate(self.size, sizes)}", names[0]


def limits(graph: Graph) -> tuple[Limit, ...]:
    """A limit for each size in the graph that could become too small, at the first node that has it."""
    limits_by_size: dict[tuple[Dim, int], Limit] = {}
    for node in _nodes(graph):
        least = 1 if isinstance(node.op, SlidingWindow) else 0
        of_results = [(size, least) for result in node.results for size in result.shape]
        of_operands = node.op.least_sizes(*(operand.type for operand in node.operands))
        for size, enough in (*of_results, *of_operands):
            if isinstance(size, Dim) and not _grows(size, enough):
                limits_by_size.setdefault((size, enough), Limit(size, enough, node))
    return tuple(limits_by_size.values())


def _nodes(graph: Graph) -> Iterator[Node]:
    waiting = [graph]
    while waiting:
        for node in waiting.pop():
            yield node
            waiting.extend(node.op.graphs)


def _grows(size: Dim, least: int) -> bool:
    """Whether a size is large enough for any dims: it is a sum of products of dims with positive factors."""
    named = all(isinstance(atom, Symbol) for monomial, _ in size.terms for atom, _ in monomial)
    return named and all(factor > 0 for _, factor in size.terms) and (least == 0 or PAST not in symbols(size))
