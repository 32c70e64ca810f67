"""Counting along an axis and reversing it, as ONNX nodes that a target has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.dims import Size
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.types import DType

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

_LONGEST_CONSTANT = 1 << 16  # numbers that are stored for a runtime that cannot count


def lower_positions(emit: Emit, count: Size) -> str:
    """The numbers from 0 to `count - 1`, as an i64 vector."""
    if emit.target.has_range:
        return emit("Range", np.array(0), emit("Squeeze", emit.sizes((count,)), np.array([0])), np.array(1))
    if isinstance(count, int) and count <= _LONGEST_CONSTANT:
        return emit.sizes(range(count))
    ones = emit("Expand", np.array([1]), emit.sizes((count,)))
    return emit("Sub", emit("CumSum", ones, np.array(0), exclusive=0, reverse=0), np.array([1]))


def lower_range(emit: Emit, start: Size, stop: Size, step: int) -> str:
    """The numbers from `start` to below `stop`, as a vector of indices."""
    if emit.target.has_range:
        bounds = (emit("Squeeze", emit.sizes((bound,)), np.array([0])) for bound in (start, stop))
        return emit("Cast", emit("Range", *bounds, np.array(step)), to=DType.I32.onnx)
    counted = lower_positions(emit, (stop - start + step - 1) // step)
    return emit("Add", emit("Mul", counted, np.array([step])), emit.sizes((start,)))


def lower_backwards(emit: Emit, x: str, axis: int, count: Size) -> str:
    """`x` with the order along an axis of length `count` reversed, by indices."""
    if isinstance(count, int) and count <= _LONGEST_CONSTANT:
        return emit("Gather", x, emit.sizes(range(count - 1, -1, -1)), axis=axis)
    last = emit("Sub", emit.sizes((count,)), np.array([1]))
    return emit("Gather", x, emit("Sub", last, lower_positions(emit, count)), axis=axis)


def lower_flip(emit: Emit, x: str, axes: tuple[int, ...]) -> str:
    """`x` with the order along axes reversed, which are counted from the front."""
    if not emit.target.reverses_by_slices:
        shape = emit.type(x).shape
        for axis in axes:
            x = lower_backwards(emit, x, axis, shape[axis])
        return x
    back, front = np.full(len(axes), -1, np.int64), np.full(len(axes), -emit.target.largest_index - 1, np.int64)
    return emit("Slice", x, back, front, np.array(axes, np.int64), back)
