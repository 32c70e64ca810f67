"""Matrix products in NumPy; large ones in parts, which threads share.

The parts depend on the shapes of the operands alone: a product has the same bits on any number of threads.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.shared_work import do_parts

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

_LEAST_FLOPS = 1 << 25  # of a part: about half a millisecond on one thread
_MOST_PARTS = 16


def matmul(x: Array, y: Array, out: Array | None = None) -> Array:
    """`np.matmul(x, y)`, written to `out` if there is one."""
    if x.size * y.size < _LEAST_FLOPS or x.ndim < 2 or y.ndim < 2:  # most products, which need no count
        return np.asarray(np.matmul(x, y, out))
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2]) if x.ndim > 2 or y.ndim > 2 else ()
    shape = (*lead, x.shape[-2], y.shape[-1])
    parts = min(2 * prod(shape) * x.shape[-1] // _LEAST_FLOPS, _MOST_PARTS)
    if parts < 2:
        return np.asarray(np.matmul(x, y, out))
    if out is None:
        out = np.empty(shape, np.result_type(x, y))
    _write_parts(x, y, out, parts)
    return out


def _write_parts(x: Array, y: Array, out: Array, parts: int) -> None:
    """Write the product, by parts of the first axis before matrices, of rows and of columns."""
    while out.ndim > 2 and len(out) == 1:
        x, y, out = x[0] if x.ndim == out.ndim else x, y[0] if y.ndim == out.ndim else y, out[0]
    examples = min(len(out), parts) if out.ndim > 2 else 1
    rows = columns = 1
    while 2 * examples * rows * columns <= parts:  # near squares, which read the least of both operands
        if out.shape[-2] // rows >= out.shape[-1] // columns:
            rows *= 2
        else:
            columns *= 2
    cuts = list(product(_cuts(len(out), examples), _cuts(out.shape[-2], rows), _cuts(out.shape[-1], columns)))

    def write(part: int) -> None:
        some, of_rows, of_columns = cuts[part]
        left = x[some] if x.ndim == out.ndim > 2 and len(x) > 1 else x
        right = y[some] if y.ndim == out.ndim > 2 and len(y) > 1 else y
        result = out[some] if out.ndim > 2 else out
        np.matmul(left[..., of_rows, :], right[..., of_columns], out=result[..., of_rows, of_columns])

    do_parts(write, len(cuts))


def _cuts(length: int, count: int) -> list[slice]:
    """A length in a number of like parts."""
    return [slice(length * part // count, length * (part + 1) // count) for part in range(count)]
