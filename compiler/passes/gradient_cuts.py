"""A graph as differences see it: through `stop_gradient`, and through all of a truncated recurrence.

For comparing gradients with differences alone: what the text says of its gradient is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.casting import StopGradient
from compiler.operators.control import Scan
from compiler.rewrite import rewrite


def remove_gradient_cuts(graph: Graph) -> Graph:
    """`graph` without `stop_gradient`, its recurrences' gradients untruncated. Keeps the bits of what it computes."""

    def whole(node: Node) -> Sequence[Value] | None:
        if isinstance(node.op, StopGradient):
            return node.operands
        if isinstance(node.op, Scan):
            body = remove_gradient_cuts(node.op.body)
            return node.op.replace(body=body, truncate=0).apply(*node.operands).results
        return None

    return rewrite(graph, whole)
