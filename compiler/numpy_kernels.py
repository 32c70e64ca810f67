"""The NumPy kernel of a node: its operator's `compute`, with the rounding of 16-bit floats that belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from compiler.graph import Node, Operator
from compiler.lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


def kernel_of(node: Node, op: Operator, used: Sequence[bool] = ()) -> Callable[..., Any]:
    """The NumPy kernel of a node, whose operator is `op` with sizes bound; a `wide` one rounds 16-bit floats once.

    Where it is known which results are `used`, the others may be None.
    """
    kernel = op.kernel_for(used) if used else op.compute
    halves = [value.type.dtype.is_half for value in node.operands]
    if not op.wide or not any(halves):
        return kernel

    def rounded(*operands: Array) -> Array | tuple[Array, ...]:
        wide = (operand.astype(np.float32) if half else operand for operand, half in zip(operands, halves, strict=True))
        computed = kernel(*wide)
        several = computed if isinstance(computed, tuple) else (computed,)
        narrow = tuple(
            np.asarray(array, value.type.dtype.numpy) if value.type.dtype.is_half and array is not None else array
            for array, value in zip(several, node.results, strict=True)
        )
        return narrow if isinstance(computed, tuple) else narrow[0]

    return rounded
