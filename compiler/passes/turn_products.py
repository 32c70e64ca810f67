"""Gradients of tables: products in the orientation in which they are used, and rows added to where the rest is.

A table that is looked up at the input and multiplied by, transposed, at the output gets a gradient from both: the
transpose of a product of its own size, and rows added to zeros of its own size. Keeps results to within rounding.
"""

from __future__ import annotations

from compiler.operators.arithmetic import Add
from compiler.operators.indexing import ScatterElements, ScatterNd
from compiler.operators.linear import MatMul
from compiler.operators.shaping import Transpose
from compiler.passes.rules import Rules, pattern_of, rule, variables

x, y, indices, rows = variables("x y indices rows")
transpose, matmul = pattern_of(Transpose), pattern_of(MatMul)
swapped = {"permutation": (1, 0)}

TABLES: Rules = (
    rule(
        "transpose of x^T @ y",
        transpose(matmul(transpose(x, **swapped), y).only_use, **swapped),
        lambda x, y: Transpose((1, 0))(y) @ x,
        keeps="rounding",
    ),
    rule(
        "transpose of x @ y^T",
        transpose(matmul(x, transpose(y, **swapped)).only_use, **swapped),
        lambda x, y: y @ Transpose((1, 0))(x),
        keeps="rounding",
    ),
    rule(
        "rows added to zeros, and these to x",
        pattern_of(Add)(pattern_of(ScatterNd, ScatterElements)(0, indices, rows).named("added").only_use, x),
        lambda added, x, indices, rows: added.node.op(x, indices, rows),
        when=lambda added, x: added.node.op.reduction == "add" and added.type == x.type,
        keeps="rounding",
    ),
)
