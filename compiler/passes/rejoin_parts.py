"""A concatenation of all parts into which a value was split, in order, is that value again. Keeps the bits."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.shaping import Concat, Split
from compiler.rewrite import rewrite


def rejoin_parts(graph: Graph) -> Graph:
    """`graph` without splits that concatenations undo."""
    return rewrite(graph, _whole) if graph.has(Split) else graph


def _whole(node: Node) -> Sequence[Value] | None:
    if not isinstance(node.op, Concat):
        return None
    source = node.operands[0].node
    if not isinstance(source.op, Split) or node.operands != source.results:
        return None
    whole = source.operands[0]
    return (whole,) if whole.type.axis(node.op.axis) == whole.type.axis(source.op.axis) else None
