"""Several tensors one after the other in one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array

LINE = 64  # bytes: tensors begin at cache lines


def starts_of(counts: Sequence[int], unit: int) -> list[int]:
    """Where tensors of so many elements begin, at multiples of `unit`, and the end of the last."""
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + -(-count // unit) * unit)
    return starts


def aligned(count: int, dtype: np.dtype[np.generic]) -> Array:
    """Zeros that begin at a cache line, in pages that the system has handed out already."""
    raw = np.empty(count * dtype.itemsize + LINE, np.uint8)
    raw[...] = 0  # `np.zeros` would hand them out at the first use
    start = -raw.ctypes.data % LINE
    return raw[start : start + count * dtype.itemsize].view(dtype)
