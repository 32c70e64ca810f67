"""Why a gradient does not reach a value: the operator that blocks it."""

from __future__ import annotations

from compiler.graph import Graph, Node, Value
from compiler.operators.casting import StopGradient
from compiler.rewrite import reached


def find_gradient_stop(output: Value, source: Value) -> Node | None:
    """The node nearest to `output` that blocks its gradient with respect to `source`; None where none does.

    That is `stop_gradient`, or an operator whose results are not floats.
    """
    on_the_way = reached([output], [source])
    for node in reversed(Graph({}, {"output": output}).nodes):
        if node in on_the_way and (isinstance(node.op, StopGradient) or not node.results[0].type.dtype.is_float):
            return node
    return None
