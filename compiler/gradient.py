"""Reverse-mode differentiation: values of a graph in, their gradients as new graph out."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, NotDifferentiable, Value, origin
from compiler.operators.casting import StopGradient
from compiler.operators.control import Scan
from compiler.rewrite import reached, rewrite


def gradients(outputs: Sequence[Value], seeds: Sequence[Value], wrt: Sequence[Value]) -> list[Value | None]:
    """The gradient of each of `wrt`, given `seeds`, the gradients of `outputs`; None where nothing flows back.

    Only what lies between `wrt` and `outputs` is differentiated: an operator without a gradient raises
    NotDifferentiable where a gradient has to pass through it, and nowhere else.
    """
    nodes = Graph({}, {str(place): output for place, output in enumerate(outputs)}).nodes
    sources = set(wrt)
    active: set[Node] = set()  # nodes with an operand that depends on one of `wrt`
    for node in nodes:
        if any(operand in sources or operand.node in active for operand in node.operands):
            active.add(node)

    found: dict[Value, Value] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        _accumulate(found, output, seed)
    for node in reversed(nodes):
        if node not in active or not any(result in found for result in node.results):
            continue
        several = len(node.results) > 1
        grads = tuple(found.get(result) for result in node.results)
        result = node.results if several else node.result
        try:
            with origin(node.origin.span, node.origin.path):  # a gradient comes from the line it differentiates
                pulled = node.op.pullback(grads if several else grads[0], *node.operands, result=result)
        except NotDifferentiable as error:
            error.node = error.node or node
            raise
        for operand, grad in zip(node.operands, pulled, strict=True):
            if grad is not None and operand.type.dtype.is_float and (operand in sources or operand.node in active):
                _accumulate(found, operand, grad)
    return [found.get(value) for value in wrt]


def stops(output: Value, source: Value) -> Node | None:
    """Where the way from `output` back to `source` ends: an operator that no gradient flows through."""
    on_the_way = reached([output], [source])
    for node in reversed(Graph({}, {"output": output}).nodes):
        if node in on_the_way and (isinstance(node.op, StopGradient) or not node.results[0].type.dtype.is_float):
            return node
    return None


def uncut(graph: Graph) -> Graph:
    """`graph` as differences see it: through `stop_gradient`, and through all of a truncated recurrence."""

    def whole(node: Node) -> Sequence[Value] | None:
        if isinstance(node.op, StopGradient):
            return node.operands
        if isinstance(node.op, Scan):
            return node.op.replace(body=uncut(node.op.body), truncate=0).apply(*node.operands).results
        return None

    return rewrite(graph, whole)


def _accumulate(found: dict[Value, Value], value: Value, grad: Value) -> None:
    assert grad.type == value.type, f"the gradient of {value} is {grad}"
    found[value] = found[value] + grad if value in found else grad
