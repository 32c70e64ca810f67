"""Common-subexpression elimination: equal operators on the same operands become one node. Keeps the bits."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Operator, Value
from compiler.operators.leaves import Input
from compiler.rewrite import rewrite


def eliminate_common_subexpressions(graph: Graph) -> Graph:
    """`graph` with every repeated computation replaced by its first occurrence."""
    first: dict[tuple[Operator, tuple[Value, ...]], Node] = {}

    def first_occurrence(node: Node) -> Sequence[Value]:
        if isinstance(node.op, Input):  # two inputs are different values, whatever their labels
            return node.results
        return first.setdefault((node.op, node.operands), node).results

    return rewrite(graph, first_occurrence)
