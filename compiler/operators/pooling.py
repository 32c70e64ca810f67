"""Pooling over windows of the spatial axes of [batch, channels, ...]."""

from __future__ import annotations

import math
from functools import reduce
from itertools import product as every
from typing import TYPE_CHECKING, ClassVar

from compiler.attribute_kinds import Flag, Integers
from compiler.dims import Size, product
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.activations import Relu
from compiler.operators.convolution import Conv, SlidingWindow
from compiler.operators.leaves import constant
from compiler.operators.making import (
    cast,
    concat,
    equal,
    expand,
    pad,
    reshape,
    scatter_elements,
    slice_,
    unsqueeze,
    zeros,
)
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


_MOST_TAPS = 16  # of a window whose gradient is computed tap by tap


class Pool(SlidingWindow):
    """One number for each window of size `kernel`."""

    name: ClassVar[str]
    kernel: Integers

    def infer(self, x: TensorType) -> TensorType:
        if not x.dtype.is_float or x.rank < 3:
            raise TypeMismatch(f"expected floats [batch, channels, ...], got {x}")
        if len(self.kernel) != x.rank - 2 or min(self.kernel) < 1:
            raise TypeMismatch(
                f"{x.rank - 2} spatial axes need as many window sizes of at least 1, not {list(self.kernel)}"
            )
        rank = x.rank - 2
        _, pads, _ = self.settings(rank)
        if any(pad >= self.kernel[axis % rank] for axis, pad in enumerate(pads)):
            raise TypeMismatch(
                "a pad must be smaller than its window", "with a larger one, some windows would contain only padding"
            )
        return x.with_shape(*x.shape[:2], *self.output_sizes(x, self.kernel))

    def windows(self, x: Array, fill: float) -> list[Array]:
        """One view for each tap of the window, each of the result's shape."""
        rank = x.ndim - 2
        strides, _, dilations = self.settings(rank)
        x = self.padded(x, fill)
        sizes = [
            (x.shape[2 + axis] - dilations[axis] * (self.kernel[axis] - 1) - 1) // strides[axis] + 1
            for axis in range(rank)
        ]
        views = []
        for tap in every(*(range(size) for size in self.kernel)):
            spatial = (
                slice(index * dilation, index * dilation + (size - 1) * stride + 1, stride)
                for index, size, stride, dilation in zip(tap, sizes, strides, dilations, strict=True)
            )
            views.append(x[(slice(None), slice(None), *spatial)])
        return views

    def padded(self, x: Array, fill: float) -> Array:
        """`x` with its pads."""
        rank = x.ndim - 2
        _, pads, _ = self.settings(rank)
        if not any(pads):
            return x
        widths = [(0, 0), (0, 0), *((pads[axis], pads[rank + axis]) for axis in range(rank))]
        return np.pad(x, widths, constant_values=fill)

    def flops(self, x: TensorType) -> Size:
        return self.infer(x).elements * product(self.kernel)


class MaxPool(Pool, Operator):
    """The largest item of each window; NaN where the window holds one (onnxruntime's own kernel hides it)."""

    name = "max_pool"
    mixed = "operands"
    adjoint = "max_pool_gradient"
    edges = ("NaN in a window: onnxruntime may pass over it",)
    kernel: Integers
    strides: Integers = ()
    pads: Integers = ()
    dilations: Integers = ()

    def compute(self, x: Array) -> Array:
        strides, _, dilations = self.settings(x.ndim - 2)
        largest = self.padded(x, -np.inf)
        for axis, (size, stride, dilation) in enumerate(zip(self.kernel, strides, dilations, strict=True), 2):
            count = (largest.shape[axis] - dilation * (size - 1) - 1) // stride + 1
            before = (slice(None),) * axis
            starts = range(0, dilation * size, dilation)
            taps = [largest[(*before, slice(start, start + (count - 1) * stride + 1, stride))] for start in starts]
            largest = reduce(np.maximum, taps)
        return np.array(largest, order="C") if math.prod(self.kernel) == 1 else largest

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        """The gradient goes to the first of the largest items of each window.

        Where windows do not overlap, the rest of the gradient is passed from tap to tap, which is much less work than
        a scatter to the positions.
        """
        rank = len(self.kernel)
        strides, pads, dilations = self.settings(rank)
        if strides == self.kernel and not any(pads) and max(dilations) == 1 and math.prod(self.kernel) <= _MOST_TAPS:
            return (self._pull_back_disjoint(grad, x, result),)
        _, positions = MaxPoolIndices(self.kernel, self.strides, self.pads, self.dilations).apply(x).results
        flat = zeros(x.type.with_shape(x.type.elements))
        count = (grad.type.elements,)
        added = scatter_elements(flat, reshape(positions, count), reshape(grad, count), 0, "add")
        return (reshape(added, x.shape),)

    def _pull_back_disjoint(self, rest: Value, x: Value, result: Value) -> Value:
        rank, counts = len(self.kernel), result.shape[2:]
        axes = tuple(range(2, 2 + rank))
        positions = list(every(*map(range, self.kernel)))
        parts: list[Value] = []
        for tap in positions[:-1]:
            stops = tuple(
                index + (count - 1) * step + 1 for index, count, step in zip(tap, counts, self.kernel, strict=True)
            )
            items = slice_(x, axes, tap, stops, self.kernel)
            portion = cast(equal(items, result), rest.type.dtype) * rest
            parts.append(portion)
            rest = rest - portion
        parts.append(rest)
        for axis in reversed(axes):  # side by side, the last axis first
            size = self.kernel[axis - 2]
            groups = [parts[start : start + size] for start in range(0, len(parts), size)]
            shape = (*rest.shape[:axis], rest.shape[axis] * size, *groups[0][0].shape[axis + 1 :])
            parts = [
                reshape(concat([unsqueeze(part, (axis + 1,)) for part in group], axis + 1), shape) for group in groups
            ]
        (whole,) = parts
        beyond = tuple(size - done for size, done in zip(x.shape, whole.shape, strict=True))
        return pad(whole, (0,) * (2 + rank), beyond) if any(size != 0 for size in beyond) else whole

    def lower(self, emit: Emit, x: str) -> str:
        strides, pads, dilations = self.settings(len(self.kernel))
        dtype = emit.type(x).dtype
        if dtype == DType.F64 or isinstance(emit.producer(x), Relu):
            return emit("MaxPool", x, kernel_shape=self.kernel, strides=strides, pads=pads, dilations=dilations)
        # For a window of -inf, which a rectifier never gives, onnxruntime's maximum is the lowest finite number:
        # -inf when doubled.
        halved = emit("Mul", x, np.array(0.5, dtype.numpy))
        largest = emit("MaxPool", halved, kernel_shape=self.kernel, strides=strides, pads=pads, dilations=dilations)
        return emit("Mul", largest, np.array(2, dtype.numpy))


class MaxPoolIndices(Pool, Operator):
    """The result of `max_pool`, and the flat indices in `x` of these items (the first of equals) as i64."""

    name = "max_pool_indices"
    mixed = "operands"
    edges = MaxPool.edges
    public = False
    kernel: Integers
    strides: Integers = ()
    pads: Integers = ()
    dilations: Integers = ()

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:  # type: ignore[override]  # of two results
        largest = super().infer(x)
        return largest, largest.with_dtype(DType.I64)

    def compute(self, x: Array) -> tuple[Array, Array]:
        windows = np.stack(self.windows(x, -np.inf))
        positions = np.stack(self.windows(np.arange(x.size, dtype=np.float64).reshape(x.shape), -1.0))
        largest = windows == np.max(windows, axis=0)
        best = np.argmax((largest | np.isnan(windows)) & (positions >= 0), axis=0)[None]  # padding is not an item
        positions = np.take_along_axis(positions, best, axis=0)[0]
        return np.take_along_axis(windows, best, axis=0)[0], positions.astype(np.int64)

    def pullback(self, grad: tuple[Value | None, ...], x: Value, *, result: tuple[Value, ...]) -> tuple[Value | None]:
        largest, _ = grad
        if largest is None:
            return (None,)
        return MaxPool(self.kernel, self.strides, self.pads, self.dilations).pullback(largest, x, result=result[0])

    def lower(self, emit: Emit, x: str) -> tuple[str, ...]:
        if not emit.target.has_pool_indices:
            refused = f"`--target {emit.target.name}` has no indices of the largest items of overlapping windows"
            raise TypeMismatch(refused, "choose another target, such as `ort-cpu`, or windows that do not overlap")
        strides, pads, dilations = self.settings(len(self.kernel))
        return emit.many(2, "MaxPool", x, kernel_shape=self.kernel, strides=strides, pads=pads, dilations=dilations)

    def flops(self, x: TensorType) -> Size:
        return self.infer(x)[0].elements * product(self.kernel)


class AveragePool(Pool, Operator):
    """The mean of each window; padding counts as zeros with `count_include_pad`, and not at all without."""

    adjoint = "average_pool_gradient"

    name = "average_pool"
    mixed = "operands"
    wide = True
    kernel: Integers
    strides: Integers = ()
    pads: Integers = ()
    dilations: Integers = ()
    count_include_pad: Flag = False

    def infer(self, x: TensorType) -> TensorType:
        if any(dilation != 1 for dilation in self.dilations):
            raise TypeMismatch("an average pool cannot be dilated")
        return super().infer(x)

    def compute(self, x: Array) -> Array:
        total = reduce(np.add, self.windows(x, 0.0))
        return np.asarray(total / self._counts(x)).astype(x.dtype, copy=False)

    def _counts(self, x: Array) -> Array:
        if self.count_include_pad or not any(self.pads):
            return np.array(np.prod(self.kernel), x.dtype)
        return np.asarray(reduce(np.add, self.windows(np.ones((1, 1, *x.shape[2:]), x.dtype), 0.0)))

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        """The mean is a convolution of each channel with 1 / window, so its gradient is that one's transpose."""
        rank = x.type.rank - 2
        strides, pads, _ = self.settings(rank)
        channels = x.shape[0] * x.shape[1]
        if any(pads) and not self.count_include_pad:  # the fraction of each window that is not padding
            ones = expand(constant(1, x.type.dtype), (1, 1, *x.shape[2:]))
            grad = grad / AveragePool(self.kernel, self.strides, self.pads, (), True)(ones)
        weight = expand(constant(1 / math.prod(self.kernel), x.type.dtype), (1, 1, *self.kernel))
        spatial = x.type.with_shape(channels, 1, *x.shape[2:])
        back, *_ = Conv(strides, pads).pullback(
            reshape(grad, (channels, 1, *grad.shape[2:])), reshape(x, spatial.shape), weight, result=grad
        )
        return (reshape(back, x.shape),)

    def lower(self, emit: Emit, x: str) -> str:
        strides, pads, _ = self.settings(len(self.kernel))
        return emit(
            "AveragePool",
            x,
            kernel_shape=self.kernel,
            strides=strides,
            pads=pads,
            count_include_pad=int(self.count_include_pad),
        )
