"""Convolutions over any number of spatial axes, channels before them: [batch, channels, ...]."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product as every
from typing import TYPE_CHECKING, Any

from compiler.attribute_kinds import Extents, Integer, Integers
from compiler.dims import Size, product
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.memory_layout import laid_out
from compiler.operators.making import padded_part, slice_, sum_
from compiler.types import DType, TensorType, TypeMismatch, same_dtype
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class SlidingWindow:
    """A window over spatial axes: strides, pads (all before, then all after) and dilations; empty for 1, 0 and 1."""

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        """The spatial axes of the first operand (see `Operator.related_axes`)."""
        return ((0, axis) for axis in range(2, operands[0].rank))

    def settings(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Strides, pads and dilations for `rank` spatial axes, checked."""
        strides = self.strides or (1,) * rank
        pads = self.pads or (0,) * (2 * rank)
        dilations = self.dilations or (1,) * rank
        for name, setting, count in (
            ("strides", strides, rank),
            ("pads", pads, 2 * rank),
            ("dilations", dilations, rank),
        ):
            if len(setting) != count:
                raise TypeMismatch(f"{rank} spatial axes need {count} {name}, not {len(setting)}")
        if min(strides) < 1 or min(dilations) < 1:
            raise TypeMismatch("strides and dilations must be at least 1")
        if min(pads) < 0:
            raise TypeMismatch("pads must be at least 0")
        return strides, pads, dilations

    def output_sizes(self, x: TensorType, kernel: tuple[Size, ...]) -> tuple[Size, ...]:
        """The spatial sizes of the result of sliding `kernel` over `x`; TypeMismatch where it does not fit."""
        rank = x.rank - 2
        strides, pads, dilations = self.settings(rank)
        sizes: list[Size] = []
        for axis in range(rank):
            padded = x.shape[2 + axis] + pads[axis] + pads[rank + axis]
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            if isinstance(padded, int) and isinstance(reach, int) and padded < reach:
                raise TypeMismatch(
                    f"a kernel that spans {reach} does not fit in axis {2 + axis} of {x}, padded to {padded}"
                )
            sizes.append((padded - reach) // strides[axis] + 1)
        return tuple(sizes)


class Conv(SlidingWindow, Operator):
    """The cross-correlation of `x` [batch, channels, ...] with `w` [filters, channels / groups, ...].

    `pads` are all the paddings before, then all after; `groups` splits channels and filters into independent parts. A
    bias [filters], where one is given, is added to each channel of the result.
    """

    name = "conv"
    wide = True
    operand_names = ("x", "w")  # in the language a bias is added; the pass `fuse-bias` makes it an operand
    strides: Integers = ()
    pads: Integers = ()
    dilations: Integers = ()
    groups: Integer = 1

    def infer(self, x: TensorType, w: TensorType, *bias: TensorType) -> TensorType:
        dtype = _check_operands(x, w)
        _refuse_empty(w)
        if any(vector != TensorType(dtype, (w.shape[0],)) for vector in bias):
            raise TypeMismatch(f"the bias of {w} must be {TensorType(dtype, (w.shape[0],))}, not {bias[0]}")
        if self.groups < 1 or x.shape[1] != w.shape[1] * self.groups:
            raise TypeMismatch(
                f"{x} has {x.shape[1]} channels, but {w} takes {w.shape[1] * self.groups} in {self.groups} groups"
            )
        if w.shape[0] % self.groups != 0:
            raise TypeMismatch(f"{w.shape[0]} filters cannot be split into {self.groups} groups")
        return TensorType(dtype, (x.shape[0], w.shape[0], *self.output_sizes(x, w.shape[2:])))

    def compute(self, x: Array, w: Array, *bias: Array) -> Array:
        rank = x.ndim - 2
        strides, pads, dilations = self.settings(rank)
        x = _channels_last(_pad_spatial(x, pads, rank))
        sizes = [
            (x.shape[1 + axis] - dilations[axis] * (w.shape[2 + axis] - 1) - 1) // strides[axis] + 1
            for axis in range(rank)
        ]
        channels, filters = w.shape[1], w.shape[0] // self.groups
        w = laid_out(w, _taps_first(rank, 1, 0))
        y = np.zeros((x.shape[0], *sizes, w.shape[0]), x.dtype)
        for tap in every(*(range(size) for size in w.shape[2:])):
            window = x[_tap_window(tap, sizes, strides, dilations)]
            if channels == 1 and filters == 1:  # depthwise: a product of elements
                y += window * _tap(w, tap, slice(None), 0)
                continue
            for group in range(self.groups):
                inner = slice(group * channels, (group + 1) * channels)
                outer = slice(group * filters, (group + 1) * filters)
                y[..., outer] += window[..., inner] @ _tap(w, tap, outer, slice(None)).T
        for vector in bias:
            y += vector
        return np.ascontiguousarray(_channels_first(y))

    def pullback(self, grad: Value, x: Value, w: Value, *bias: Value, result: Value) -> tuple[Value, ...]:
        rank = x.type.rank - 2
        strides, pads, dilations = self.settings(rank)
        missing = []
        for axis in range(rank):
            reach = dilations[axis] * (w.shape[2 + axis] - 1) + 1
            covered = (grad.shape[2 + axis] - 1) * strides[axis] + reach - pads[axis] - pads[rank + axis]
            missing.append(x.shape[2 + axis] - covered)
        to_x = ConvTranspose(strides, pads, dilations, self.groups, tuple(missing))(grad, w)
        kernel = w.shape[2:]
        to_w = ConvWeightGradient(kernel, strides, pads, dilations, self.groups)(x, grad)
        return to_x, to_w, *(sum_(grad, (0, *range(2, 2 + rank))) for _ in bias)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        x, w, *bias = operands
        rank, spatial = x.type.rank - 2, axis - 2
        strides, pads, dilations = self.settings(rank)
        kernel = w.shape[axis]
        if spatial < 0 or strides[spatial] != 1 or not isinstance(kernel, int):
            return None
        seen = window.extended(dilations[spatial] * (kernel - 1))
        if not seen.within(pads[spatial] + x.shape[axis]):
            return None
        items = padded_part(seen, axis, x, pads[spatial], 0)
        if items is None:
            return None
        others = tuple(0 if index % rank == spatial else pad for index, pad in enumerate(pads))
        return self.replace(pads=others)(items, *(window.whole(operand) for operand in (w, *bias)))

    def memory_order(self, operand: int, rank: int) -> tuple[int, ...] | None:
        return _taps_first(rank - 2, 1, 0) if operand == 1 else None

    def lower(self, emit: Emit, x: str, w: str, *bias: str) -> str:
        from compiler.operators.convolution_lowering import lower_convolution

        return lower_convolution(self, emit, x, w, *bias)

    def flops(self, x: TensorType, w: TensorType, *bias: TensorType) -> Size:
        return 2 * self.infer(x, w).elements * product(w.shape[1:])


class ConvTranspose(SlidingWindow, Operator):
    """The transpose of a convolution: `x` [batch, channels, ...] with `w` [channels, filters / groups, ...].

    Each item of `x` adds its multiple of the kernel to the result; `output_padding` adds to the far end of each axis.
    """

    name = "conv_transpose"
    wide = True
    strides: Integers = ()
    pads: Integers = ()
    dilations: Integers = ()
    groups: Integer = 1
    output_padding: Extents = ()

    def infer(self, x: TensorType, w: TensorType) -> TensorType:
        dtype = _check_operands(x, w)
        _refuse_empty(w)
        rank = x.rank - 2
        strides, pads, dilations = self.settings(rank)
        extra = self.extra(rank)
        if self.groups < 1 or x.shape[1] != w.shape[0] or w.shape[0] % self.groups != 0:
            raise TypeMismatch(f"{x} has {x.shape[1]} channels, but {w} takes {w.shape[0]} in {self.groups} groups")
        sizes = []
        for axis in range(rank):
            reach = dilations[axis] * (w.shape[2 + axis] - 1) + 1
            size = (x.shape[2 + axis] - 1) * strides[axis] + reach - pads[axis] - pads[rank + axis] + extra[axis]
            if isinstance(size, int) and size < 1:
                raise TypeMismatch(f"the pads cut away all of axis {2 + axis} of {x}")
            sizes.append(size)
        return TensorType(dtype, (x.shape[0], w.shape[1] * self.groups, *sizes))

    def extra(self, rank: int) -> tuple[Size, ...]:
        """The output padding of each spatial axis."""
        extra = self.output_padding or (0,) * rank
        if len(extra) != rank:
            raise TypeMismatch(f"{rank} spatial axes need {rank} output paddings, not {len(extra)}")
        strides, _, dilations = self.settings(rank)
        for size, *reaches in zip(extra, strides, dilations, strict=True):
            if isinstance(size, int) and not 0 <= size < max(reaches):
                most = f"the stride or dilation, {max(reaches)}"
                raise TypeMismatch(f"an output padding must be at least 0 and below {most}, not {size}")
        return extra

    def compute(self, x: Array, w: Array) -> Array:
        rank = x.ndim - 2
        strides, pads, dilations = self.settings(rank)
        extra = self.extra(rank)
        sizes = x.shape[2:]
        full = [
            (sizes[axis] - 1) * strides[axis] + dilations[axis] * (w.shape[2 + axis] - 1) + 1 + int(extra[axis])  # type: ignore[arg-type]
            for axis in range(rank)
        ]
        channels, filters = w.shape[0] // self.groups, w.shape[1]
        w = laid_out(w, _taps_first(rank, 0, 1))
        y = np.zeros((x.shape[0], *full, filters * self.groups), x.dtype)
        x = _channels_last(x)
        for tap in every(*(range(size) for size in w.shape[2:])):
            window = y[_tap_window(tap, list(sizes), strides, dilations)]
            for group in range(self.groups):
                inner = slice(group * channels, (group + 1) * channels)
                outer = slice(group * filters, (group + 1) * filters)
                window[..., outer] += x[..., inner] @ _tap(w, tap, inner, slice(None))
        kept = [slice(pads[axis], full[axis] - pads[rank + axis]) for axis in range(rank)]
        return np.ascontiguousarray(_channels_first(y[(slice(None), *kept)]))

    def pullback(self, grad: Value, x: Value, w: Value, *, result: Value) -> tuple[Value, Value]:
        to_x = _crop_to(Conv(self.strides, self.pads, self.dilations, self.groups)(grad, w), x.type)
        to_w = ConvWeightGradient(w.shape[2:], self.strides, self.pads, self.dilations, self.groups)(grad, x)
        return to_x, to_w

    def memory_order(self, operand: int, rank: int) -> tuple[int, ...] | None:
        return _taps_first(rank - 2, 0, 1) if operand == 1 else None

    def lower(self, emit: Emit, x: str, w: str) -> str:
        from compiler.operators.convolution_lowering import lower_transpose

        return lower_transpose(self, emit, x, w)

    def flops(self, x: TensorType, w: TensorType) -> Size:
        return 2 * x.elements * product(w.shape[1:])


class ConvWeightGradient(SlidingWindow, Operator):
    """The gradient of a convolution's `w`, from its `x` and the gradient of its result.

    Each tap of the kernel is one matrix product of a shifted view of `x` with the gradient.
    """

    name = "conv_weight_gradient"
    wide = True
    public = False
    kernel: Extents
    strides: Integers = ()
    pads: Integers = ()
    dilations: Integers = ()
    groups: Integer = 1

    def infer(self, x: TensorType, grad: TensorType) -> TensorType:
        return TensorType(_check_operands(x, grad), (grad.shape[1], x.shape[1] // self.groups, *self.kernel))

    def compute(self, x: Array, grad: Array) -> Array:
        rank = x.ndim - 2
        strides, pads, dilations = self.settings(rank)
        kernel = [int(size) for size in self.kernel]  # type: ignore[arg-type]
        channels, filters = x.shape[1] // self.groups, grad.shape[1] // self.groups
        result = np.empty((grad.shape[1], channels, *kernel), x.dtype)
        x, columns = _channels_last(_pad_spatial(x, pads, rank)), _channels_last(grad)
        sizes = list(grad.shape[2:])
        for tap in every(*(range(size) for size in kernel)):
            window = x[_tap_window(tap, sizes, strides, dilations)]
            for group in range(self.groups):
                inner = slice(group * channels, (group + 1) * channels)
                outer = slice(group * filters, (group + 1) * filters)
                left = columns[..., outer].reshape(-1, filters)
                _tap(result, tap, outer, slice(None))[...] = left.T @ window[..., inner].reshape(-1, channels)
        return result

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        conv = Conv(self.strides, self.pads, self.dilations, self.groups)
        to_x, *_ = conv.pullback(y, x, grad, result=y)
        return to_x, _crop_to(conv(x, grad), y.type)

    def lower(self, emit: Emit, x: str, grad: str) -> str:
        from compiler.operators.convolution_lowering import lower_weight_gradient

        return lower_weight_gradient(self, emit, x, grad)

    def flops(self, x: TensorType, grad: TensorType) -> Size:
        return 2 * grad.elements * (x.shape[1] // self.groups) * product(self.kernel)


def _check_operands(x: TensorType, w: TensorType) -> DType:
    if not x.dtype.is_float:
        raise TypeMismatch(f"expected float tensors, got {x}", "convert it: `cast(x, f32)`")
    if x.rank < 3:
        raise TypeMismatch(f"expected [batch, channels, ...], got {x}")
    if w.rank != x.rank:
        raise TypeMismatch(f"{x} has {x.rank} axes, but its kernel {w} has {w.rank}")
    return same_dtype(x, w)


def _refuse_empty(w: TensorType) -> None:
    if 0 in w.shape:
        raise TypeMismatch(f"the kernel {w} is empty", "each of its sizes must be at least 1")


def _crop_to(value: Value, type: TensorType) -> Value:
    """`value` cropped to `type`: an output padding of a stride or more adds windows at the far end."""
    if value.type == type:
        return value
    axes = tuple(range(2, type.rank))
    return slice_(value, axes, (0,) * len(axes), type.shape[2:])


def _taps_first(rank: int, rows: int, columns: int) -> tuple[int, ...]:
    """The axes of a kernel of `rank` spatial axes such that each tap is a matrix of its own, ready for a product."""
    return (*range(2, 2 + rank), rows, columns)


def _tap(w: Array, tap: tuple[int, ...], rows: Any, columns: Any) -> Array:
    """One tap of a kernel: a view of its rows and columns."""
    view: Array = w[(rows, columns, *tap)]
    return view


def _pad_spatial(x: Array, pads: tuple[int, ...], rank: int) -> Array:
    if not any(pads):
        return x
    widths = [(0, 0), (0, 0), *((pads[axis], pads[rank + axis]) for axis in range(rank))]
    return np.pad(x, widths)


def _channels_last(x: Array) -> Array:
    """`x` with channels last, so that a shifted window is an operand of the matrix product without a copy."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _channels_first(x: Array) -> Array:
    return np.moveaxis(x, -1, 1)


def _tap_window(
    tap: tuple[int, ...], sizes: list[int], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[slice, ...]:
    """The items that one tap of the kernel reads, in an array with channels last."""
    spatial = (
        slice(index * dilation, index * dilation + (size - 1) * stride + 1, stride)
        for index, size, stride, dilation in zip(tap, sizes, strides, dilations, strict=True)
    )
    return (slice(None), *spatial)
