"""Products with the transpose of a stored square matrix that is also read as it is, from the other side.

Run on export, for targets that keep one packed copy of a stored matrix and cannot tell its two orientations apart where
its sides are equal: `x @ W^T` is written as the transpose of `W @ x^T`. Gradients have such pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.leaves import Stored
from compiler.operators.linear import MatMul
from compiler.operators.making import matmul, swapped
from compiler.operators.shaping import Transpose
from compiler.rewrite import rewrite


def turn_square_products(graph: Graph) -> Graph:
    """`graph` in which no product has the transpose of a square matrix on its right that another has as it is."""
    factors = [node.operands[1] for node in graph if isinstance(node.op, MatMul)]
    read = {factor for factor in factors if isinstance(factor.node.op, Stored) and _is_square(factor)}
    if not any(_turned(factor) in read for factor in factors):
        return graph

    def turned(node: Node) -> Sequence[Value] | None:
        matrix = _turned(node.operands[1]) if isinstance(node.op, MatMul) else None
        if matrix is None or matrix not in read:
            return None
        x = node.operands[0]
        return (matmul(matrix, x) if x.type.rank == 1 else swapped(matmul(matrix, swapped(x))),)

    return rewrite(graph, turned)


def _is_square(matrix: Value) -> bool:
    return matrix.type.rank == 2 and matrix.shape[0] == matrix.shape[1]


def _turned(factor: Value) -> Value | None:
    """The matrix that a factor is the transpose of."""
    op = factor.node.op
    return factor.node.operands[0] if isinstance(op, Transpose) and op.permutation == (1, 0) else None
