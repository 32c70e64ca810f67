"""Gates that are computed together and split, as in `split(x @ W + h @ U + b, 4, axis: -1)`, as separate gates.

A slice of a sum's last axis is the sum of its terms' slices, and that of a product the product with sliced columns.
This is only for recognising a step: to run it like this would compute shared operands once for each slice.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Elementwise
from compiler.operators.linear import MatMul
from compiler.operators.slicing import Slice
from compiler.rewrite import reached, rewrite


def split_gates(body: Graph, formal: int) -> Graph:
    """A step's body with slices of the last axis pushed down to its `formal` inputs and into what it captures."""
    if not any(_bounds(node) for node in body):
        return body
    splitting = _Splitting(reached(body.outputs.values(), list(body.inputs.values())[:formal]))
    return rewrite(body, splitting.rewrite)


class _Splitting:
    """The state of splitting one body: which nodes depend on the step's inputs, and the slices already created."""

    def __init__(self, stepped: set[Node]) -> None:
        self.stepped = stepped
        self.known: dict[tuple[Value, int, int], Value] = {}

    def rewrite(self, node: Node) -> Sequence[Value] | None:
        bounds = _bounds(node)
        if any(operand.node in self.stepped for operand in node.operands):
            self.stepped.add(node)
        return (self._slice(node.operands[0], *bounds),) if bounds is not None else None

    def _slice(self, value: Value, start: int, stop: int) -> Value:
        """The items from `start` to before `stop` of the last axis."""
        key = (value, start, stop)
        if key not in self.known:
            self.known[key] = part = self._make(value, start, stop)
            if value.node in self.stepped:
                self.stepped.add(part.node)
        return self.known[key]

    def _make(self, value: Value, start: int, stop: int) -> Value:
        node, operands = value.node, list(value.node.operands)
        if isinstance(node.op, Elementwise):
            whole = value.shape[-1]
            part = node.op(
                *(
                    self._slice(operand, start, stop) if operand.type.rank and operand.shape[-1] == whole else operand
                    for operand in operands
                )
            )
        elif isinstance(node.op, MatMul) and operands[1].type.rank == 2 and operands[1].node not in self.stepped:
            part = MatMul()(operands[0], Slice((1,), (start,), (stop,))(operands[1]))
        else:
            part = Slice((value.type.rank - 1,), (start,), (stop,))(value)
        return part


def _bounds(node: Node) -> tuple[int, int] | None:
    """Start and stop of a slice of the last axis alone; None for any other node."""
    if not isinstance(node.op, Slice):
        return None
    type = node.operands[0].type
    bounds = node.op.bounds(type)
    if len(bounds) != 1:
        return None
    ((axis, start, stop, step),) = bounds
    if axis != type.rank - 1 or step != 1 or not isinstance(start, int) or not isinstance(stop, int):
        return None
    return start, stop
