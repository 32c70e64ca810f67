"""Constant folding: what depends on constants alone becomes one, if it is not larger than them.

Keeps the bits of the NumPy runtime. An operator that fails, for example on an index out of range, fails at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.graph import Graph, Node, Value
from compiler.numpy_kernels import kernel_of
from compiler.operators.leaves import Constant, Placeholder
from compiler.rewrite import rewrite
from compiler.types import TypeMismatch

SMALL = 4096  # bytes that a folded constant may take whatever its operands take


def fold_constants(graph: Graph) -> Graph:
    """`graph` with constant subexpressions computed by their own NumPy kernels."""
    return rewrite(graph, _fold)


def _fold(node: Node) -> Sequence[Value] | None:
    """A node's results as constants; None where they depend on an input, or would be too large."""
    if isinstance(node.op, (Constant, Placeholder)) or node.op.graphs or node.op.has_sizes:
        return None
    operands = [operand.node.op for operand in node.operands if isinstance(operand.node.op, Constant)]
    if len(operands) < len(node.operands):
        return None
    needed = 0
    for result in node.results:
        size, dtype = result.type.elements, result.type.dtype
        if not isinstance(size, int) or dtype == "bf16":
            return None
        needed += size * dtype.bytes
    if needed > max(SMALL, sum(len(operand.data) for operand in operands)):
        return None
    import numpy as np

    try:
        with np.errstate(all="ignore"):
            computed: Any = kernel_of(node, node.op)(*(operand.compute() for operand in operands))
    except (ArithmeticError, IndexError, ValueError, TypeMismatch):
        return None
    arrays = computed if isinstance(computed, tuple) else (computed,)
    return [Constant.of(np.asarray(array))() for array in arrays]
