"""What depends on constants alone is a constant, where keeping it costs no more than making it.

Keeps the bits of the NumPy runtime. What an operator refuses, as an index beyond a table, it refuses in the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.graph import Graph, Node, Value, kernel_of
from compiler.operators.source import Constant, Placeholder
from compiler.rewrite import rewrite
from compiler.types import TypeMismatch

SMALL = 4096  # bytes that a folded constant may take whatever it is made of


def fold_constants(graph: Graph) -> Graph:
    """`graph` with constant subexpressions computed by their own NumPy kernels."""
    return rewrite(graph, fold)


def fold(node: Node) -> Sequence[Value] | None:
    if isinstance(node.op, (Constant, Placeholder)) or node.op.graphs or node.op.has_sizes:
        return None
    if not all(isinstance(operand.node.op, Constant) for operand in node.operands):
        return None
    sizes = [result.type.elements for result in node.results]
    if not all(isinstance(size, int) for size in sizes) or any(each.type.dtype == "bf16" for each in node.results):
        return None
    allowed = max(
        SMALL, sum(len(operand.node.op.data) for operand in node.operands if isinstance(operand.node.op, Constant))
    )
    if sum(size * result.type.dtype.bytes for size, result in zip(sizes, node.results, strict=True)) > allowed:  # type: ignore[operator]
        return None
    import numpy as np

    try:
        with np.errstate(all="ignore"):
            computed: Any = kernel_of(node, node.op)(*(operand.node.op.compute() for operand in node.operands))
    except (ArithmeticError, IndexError, ValueError, TypeMismatch):
        return None
    arrays = computed if isinstance(computed, tuple) else (computed,)
    return [Constant.of(np.asarray(array))() for array in arrays]
