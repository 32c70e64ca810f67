"""Softmax, written out, becomes the operator: `e / sum(e)` of `e = exp(x - max(x))`, and `exp(log_softmax(x))`.

Keeps rounding. `exp(x) / sum(exp(x))`, from which nothing is taken away, is no softmax: it overflows, and has no value
where all of x is far below 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Div, Exp, Sub
from compiler.operators.normalization import LogSoftmax, Softmax
from compiler.operators.reductions import Max, Sum
from compiler.rewrite import rewrite


def fuse_softmax(graph: Graph) -> Graph:
    """`graph` with every softmax that is written out as the operator."""
    if not any(isinstance(node.op, Exp) for node in graph):
        return graph
    return rewrite(graph, _softmax)


def _softmax(node: Node) -> Sequence[Value] | None:
    match node:
        case Node(op=Exp(), operands=(Value(node=Node(op=LogSoftmax(axis), operands=(x,))),)):
            return [Softmax(axis)(x)]
        case Node(op=Div(), operands=(Value(node=Node(op=Exp(), operands=(below,))) as over, Value(node=total))):
            summed = _axis(total, over, Sum)
            if summed is None or not isinstance(below.node.op, Sub):
                return None
            x, largest = below.node.operands
            return [Softmax(summed)(x)] if _axis(largest.node, x, Max) == summed else None
    return None


def _axis(node: Node, of: Value, fold: type[Sum] | type[Max]) -> int | None:
    """The one axis that a node folds of a value, and keeps with length 1."""
    if not isinstance(node.op, fold) or node.operands != (of,) or not node.op.keep:
        return None
    axes = node.op.folded(of.type.rank)
    return axes[0] if len(axes) == 1 else None
