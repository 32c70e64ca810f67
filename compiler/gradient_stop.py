"""Why a gradient does not arrive: the operator that ends the way back to a value."""

from __future__ import annotations

from compiler.graph import Graph, Node, Value
from compiler.operators.casting import StopGradient
from compiler.rewrite import reached


def find_gradient_stop(output: Value, source: Value) -> Node | None:
    """The last node on the way from `output` back to `source` that no gradient flows through; None where none ends it.

    That is `stop_gradient`, or an operator whose results are not floats.
    """
    on_the_way = reached([output], [source])
    for node in reversed(Graph({}, {"output": output}).nodes):
        if node in on_the_way and (isinstance(node.op, StopGradient) or not node.results[0].type.dtype.is_float):
            return node
    return None
