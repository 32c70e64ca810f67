"""Arrays whose axes lie in memory in another order than that of their shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


def laid_out(array: Array, order: Sequence[int]) -> Array:
    """An equal array with its axes in this order in memory, the slowest first; a view of the array if they already are.

    `order` holds each axis once.
    """
    inverse = [order.index(axis) for axis in range(array.ndim)]
    return np.ascontiguousarray(array.transpose(order)).transpose(inverse)
