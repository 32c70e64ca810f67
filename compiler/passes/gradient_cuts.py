"""A graph without what cuts its gradient: `stop_gradient`, and the truncation of recurrences.

For comparing gradients with finite differences only, which see through both.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.casting import StopGradient
from compiler.operators.control import Scan
from compiler.rewrite import rewrite


def remove_gradient_cuts(graph: Graph) -> Graph:
    """`graph` without `stop_gradient`, the gradients of its recurrences untruncated. Keeps the bits of the results."""

    def whole(node: Node) -> Sequence[Value] | None:
        if isinstance(node.op, StopGradient):
            return node.operands
        if not isinstance(node.op, Scan):
            return None
        body = remove_gradient_cuts(node.op.body)
        if body is node.op.body and not node.op.truncate:
            return None
        return node.op.replace(body=body, truncate=0).apply(*node.operands).results

    return rewrite(graph, whole)
