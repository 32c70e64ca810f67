"""Convolutions over any number of spatial axes, channels before them: [batch, channels, ...]."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from compiler.attribute_kinds import Extents, Integer, Integers
from compiler.dims import Size, product
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.convolution_columns import Columns
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

    def columns(
        self, x: Array, kernel: tuple[int, ...], groups: int, sizes: tuple[int, ...] = ()
    ) -> tuple[Array, Columns]:
        """`x`, padded, and what a kernel reads of it for a result of these sizes, by default all that fit."""
        rank = x.ndim - 2
        strides, pads, dilations = self.settings(rank)
        if any(pads):
            spatial = x.shape[2:]
            inside = x
            padded = (size + pads[axis] + pads[rank + axis] for axis, size in enumerate(spatial))
            x = np.zeros((*x.shape[:2], *padded), x.dtype)
            middle = (slice(pads[axis], pads[axis] + size) for axis, size in enumerate(spatial))
            x[(slice(None), slice(None), *middle)] = inside
        sizes = sizes or tuple(
            (size - dilation * (taps - 1) - 1) // stride + 1
            for size, dilation, taps, stride in zip(x.shape[2:], dilations, kernel, strides, strict=True)
        )
        return x, Columns(kernel, sizes, strides, dilations, groups)


class Conv(SlidingWindow, Operator):
    """The cross-correlation of `x` [batch, channels, ...] with `w` [filters, channels / groups, ...].

    `pads` are all the paddings before, then all after; `groups` splits channels and filters into independent parts. A
    bias [filters], where one is given, is added to each channel of the result.
    """

    name = "conv"
    mixed = "short"
    wide = True
    allocates = True
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
        x, columns = self.columns(x, w.shape[2:], self.groups)
        y = columns.convolve(x, w)
        for vector in bias:
            y += vector.reshape(-1, *(1 for _ in columns.sizes))
        return y

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
    mixed = "short"
    wide = True
    allocates = True
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
        sizes, kernel = x.shape[2:], w.shape[2:]
        rank = len(sizes)
        strides, pads, dilations = self.settings(rank)
        full = [
            (size - 1) * stride + dilation * (taps - 1) + 1 + int(extra)  # type: ignore[arg-type]
            for size, stride, dilation, taps, extra in zip(
                sizes, strides, dilations, kernel, self.extra(rank), strict=True
            )
        ]
        y = Columns(kernel, sizes, strides, dilations, self.groups).convolve_transposed(x, w, full)
        kept = [slice(pads[axis], full[axis] - pads[rank + axis]) for axis in range(rank)]
        return np.ascontiguousarray(y[(slice(None), slice(None), *kept)])

    def pullback(self, grad: Value, x: Value, w: Value, *, result: Value) -> tuple[Value, Value]:
        to_x = _crop_to(Conv(self.strides, self.pads, self.dilations, self.groups)(grad, w), x.type)
        to_w = ConvWeightGradient(w.shape[2:], self.strides, self.pads, self.dilations, self.groups)(grad, x)
        return to_x, to_w

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
    allocates = True
    public = False
    kernel: Extents
    strides: Integers = ()
    pads: Integers = ()
    dilations: Integers = ()
    groups: Integer = 1

    def infer(self, x: TensorType, grad: TensorType) -> TensorType:
        return TensorType(_check_operands(x, grad), (grad.shape[1], x.shape[1] // self.groups, *self.kernel))

    def compute(self, x: Array, grad: Array) -> Array:
        kernel = tuple(int(size) for size in self.kernel)  # type: ignore[arg-type]
        x, columns = self.columns(x, kernel, self.groups, grad.shape[2:])
        channels = x.shape[1] // self.groups
        return columns.weight_gradient(x, grad).reshape(grad.shape[1], channels, *kernel)

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
