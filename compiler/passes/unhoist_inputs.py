"""A projection of the inputs that the user computed for all steps at once, back in the step: `x @ W + b`, then a Scan.

This is only for recognising a step: the operator has the product's weights among its own.
"""

from __future__ import annotations

from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Add, Sub
from compiler.operators.control import Scan
from compiler.operators.leaves import Input
from compiler.operators.linear import MatMul
from compiler.operators.shaping import Transpose
from compiler.rewrite import replace
from compiler.types import TensorType


def with_projection(node: Node, scan: Scan) -> Node:
    """A Scan of one sequence, which is a projection [time, batch, n] of another, as one over the other sequence."""
    projected = _Projection.of(node.operands[scan.states])
    if projected is None:
        return node
    inputs = dict(scan.body.inputs)
    label, item = list(inputs.items())[scan.states]
    whole = list(dict.fromkeys(projected.captured))
    formal = {value: Input(f"projection_{index}", value.type)() for index, value in enumerate(whole)}
    source = projected.sequence
    source_item = Input(label, TensorType(source.type.dtype, source.shape[1:]))()
    step = projected.of_step(source_item, formal)
    ends = replace(list(scan.body.outputs.values()), {item: step})
    inputs[label] = source_item
    inputs.update((f"projection_{index}", value) for index, value in enumerate(formal.values()))
    body = Graph(inputs, dict(zip(scan.body.outputs, ends, strict=True)), name=scan.body.name)
    operands = list(node.operands)
    operands[scan.states] = source
    return scan.replace(body=body).apply(*operands, *whole)


class _Projection:
    """A sequence as a product of another with a matrix, plus vectors that are the same at all steps."""

    def __init__(self, sequence: Value, matrix: Value, added: list[tuple[type[Add | Sub], Value]]) -> None:
        self.sequence, self.matrix, self.added = sequence, matrix, added

    @property
    def captured(self) -> list[Value]:
        """What each step needs besides the sequence."""
        return [self.matrix, *(vector for _, vector in self.added)]

    @classmethod
    def of(cls, value: Value) -> _Projection | None:
        """The projection that computes a value [time, batch, n]; None for any other value."""
        added: list[tuple[type[Add | Sub], Value]] = []
        turned = False
        while True:
            op, operands = value.node.op, value.node.operands
            if isinstance(op, Transpose) and op.permutation == (1, 0, 2):
                turned, value = not turned, operands[0]
            elif isinstance(op, (Add, Sub)) and operands[1].type.rank <= 1:
                added.append((type(op), operands[1]))
                value = operands[0]
            elif isinstance(op, Add) and operands[0].type.rank <= 1:
                added.append((Add, operands[0]))
                value = operands[1]
            elif isinstance(op, MatMul) and operands[0].type.rank == 3 and operands[1].type.rank == 2:
                sequence = Transpose((1, 0, 2))(operands[0]) if turned else operands[0]
                return cls(sequence, operands[1], added)
            else:
                return None

    def of_step(self, item: Value, formal: dict[Value, Value]) -> Value:
        """The projection of one item."""
        value = item @ formal[self.matrix]
        for operator, vector in reversed(self.added):
            value = operator()(value, formal[vector])
        return value
