"""Softmax, written out, becomes the operator: `e / sum(e)` of `e = exp(x - max(x))` or `exp(x)`; `exp(log_softmax(x))`.

The operator takes the largest away in any case, so that what was written without cannot overflow.
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
        case Node(op=Div(), operands=(Value(node=Node(op=Exp(), operands=(x,))) as over, Value(node=total))):
            summed = _axis(total, over, Sum)
            if summed is None:
                return None
            if isinstance(x.node.op, Sub) and _axis(x.node.operands[1].node, x.node.operands[0], Max) == summed:
                x = x.node.operands[0]
            return [Softmax(summed)(x)]
    return None


def _axis(node: Node, of: Value, fold: type[Sum] | type[Max]) -> int | None:
    """The one axis that a node folds of a value, and keeps with length 1."""
    if not isinstance(node.op, fold) or node.operands != (of,) or not node.op.keep:
        return None
    axes = node.op.folded(of.type.rank)
    return axes[0] if len(axes) == 1 else None
