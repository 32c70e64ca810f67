"""Max pools of a training step: less work around them, and one in the place of two. Keeps the bits."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.activations import Relu
from compiler.operators.pooling import MaxPool, MaxPoolPlaces
from compiler.rewrite import rebuild, rewrite, with_ends


def pool_first(graph: Graph) -> Graph:
    """`graph` with `max_pool(relu(x))` as `relu(max_pool(x))`, to be differentiated.

    What is rectified, and masked on the way back, is a window's result in the place of all its items. The gradient is
    the same to the bit: a window without a positive item passes none either way.
    """
    return rewrite(graph, _exchanged)


def pool_once(graph: Graph) -> Graph:
    """`graph` with the results of a max pool taken from the one that finds their places, where there is one."""
    finders = {(*node.op.attributes, *node.operands): node for node in graph if isinstance(node.op, MaxPoolPlaces)}
    if not finders:
        return graph
    new: dict[Value, Value] = {}
    for node in graph:
        finder = finders.get((*node.op.attributes, *node.operands)) if isinstance(node.op, MaxPool) else None
        if finder is not None:
            rebuild(finder, new)
            new[node.result] = new[finder.results[0]]
        elif node.results[0] not in new:
            rebuild(node, new)
    return with_ends(graph, new)


def _exchanged(node: Node) -> Sequence[Value] | None:
    if not isinstance(node.op, MaxPool) or not isinstance(node.operands[0].node.op, Relu):
        return None
    (x,) = node.operands[0].node.operands
    return [Relu()(node.op(x))]
