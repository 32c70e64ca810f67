"""Reverse-mode differentiation, as a transformation of values to the values of their gradients."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.derivation import current_derivation
from compiler.graph import Graph, Node, NotDifferentiable, Value
from compiler.origins import origin


def gradients(outputs: Sequence[Value], seeds: Sequence[Value], wrt: Sequence[Value]) -> list[Value | None]:
    """The gradient of each of `wrt`, given `seeds`, the gradients of `outputs`; None where nothing flows back.

    Only what lies between `wrt` and `outputs` is differentiated: an operator without a gradient raises
    NotDifferentiable where a gradient has to pass through it, and nowhere else.
    """
    nodes = Graph({}, {str(index): output for index, output in enumerate(outputs)}).nodes
    sources = set(wrt)
    active: set[Node] = set()  # nodes with an operand that depends on one of `wrt`
    for node in nodes:
        if any(operand in sources or operand.node in active for operand in node.operands):
            active.add(node)

    derivation = current_derivation()
    gradient: dict[Value, Value] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        _accumulate(gradient, output, seed)
    for node in reversed(nodes):
        if node not in active or not any(result in gradient for result in node.results):
            continue
        several = len(node.results) > 1
        grads = tuple(gradient.get(result) for result in node.results)
        result = node.results if several else node.result
        try:
            with origin(node.origin.span, node.origin.path):  # a gradient comes from the line it differentiates
                pulled = node.op.pullback(grads if several else grads[0], *node.operands, result=result)
        except NotDifferentiable as error:
            error.node = error.node or node
            raise
        for operand, grad in zip(node.operands, pulled, strict=True):
            if grad is not None and operand.type.dtype.is_float and (operand in sources or operand.node in active):
                _accumulate(gradient, operand, grad)
        if derivation is not None and not several and grads[0] is not None:
            for index, grad in enumerate(pulled):
                if grad is not None:
                    derivation.pulled.setdefault(grad, (node, index, grads[0]))
    if derivation is not None:
        derivation.gradients.update(gradient)
    return [gradient.get(value) for value in wrt]


def _accumulate(gradient: dict[Value, Value], value: Value, grad: Value) -> None:
    assert grad.type == value.type, f"the gradient of {value} is {grad}"
    gradient[value] = gradient[value] + grad if value in gradient else grad
