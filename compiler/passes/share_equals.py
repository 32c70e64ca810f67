"""Equal operators on the same operands are one node: common subexpressions are computed once. Keeps the bits."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Operator, Value
from compiler.operators.source import Input
from compiler.rewrite import rewrite


def share_equals(graph: Graph) -> Graph:
    """`graph` with every repeated computation replaced by its first occurrence."""
    first: dict[tuple[Operator, tuple[Value, ...]], Node] = {}

    def share(node: Node) -> Sequence[Value]:
        if isinstance(node.op, Input):  # two inputs are fed apart, whatever they are called
            return node.results
        return first.setdefault((node.op, node.operands), node).results

    return rewrite(graph, share)
