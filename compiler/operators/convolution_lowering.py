"""Convolutions and their gradients as ONNX nodes, each in several forms of which a table of costs decides."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from compiler.costs import cheapest
from compiler.dims import Size, product
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.orders import lower_backwards
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


# What is asked of the operators in compiler/operators/convolution.py


class Windows(Protocol):
    """An operator on windows that slide over images."""

    @property
    def strides(self) -> tuple[int, ...]: ...

    @property
    def groups(self) -> int: ...

    def settings(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The strides, the pads and the dilations of so many axes."""


class Convolution(Windows, Protocol):
    """A convolution."""

    def output_sizes(self, x: TensorType, kernel: tuple[Size, ...]) -> tuple[Size, ...]: ...


class WeightGradient(Windows, Protocol):
    """The gradient of a convolution's weights, which are of the `kernel`'s sizes."""

    @property
    def kernel(self) -> tuple[Size, ...]: ...


class Transposed(Windows, Protocol):
    """The transpose of a convolution."""

    def extra(self, rank: int) -> tuple[Size, ...]:
        """What is added to the sizes of the result."""

    def infer(self, x: TensorType, w: TensorType) -> TensorType: ...


# The convolution itself


def lower_convolution(op: Convolution, emit: Emit, x: str, w: str, *bias: str) -> str:
    """A form of `conv`; there is a choice for f32, if the weights change from run to run, as in training."""
    x_type, w_type = emit.type(x), emit.type(w)
    kernel = w_type.shape[2:]
    known = all(isinstance(size, int) for size in kernel)
    if emit.is_stored(w) or op.groups > 1 or not known or x_type.dtype != DType.F32:
        return _as_convolution(op, emit, x, w, *bias)
    form = cheapest(
        emit.target,
        "convolution",
        "convolution",
        batch=x_type.shape[0],
        channels=x_type.shape[1],
        filters=w_type.shape[0],
        taps=product(kernel),
        positions=product(op.output_sizes(x_type, kernel)),
    )
    return CONVOLUTIONS[form](op, emit, x, w, *bias)


def _as_convolution(op: Convolution, emit: Emit, x: str, w: str, *bias: str) -> str:
    """ONNX's own operator."""
    strides, pads, dilations = op.settings(emit.type(x).rank - 2)
    return emit("Conv", x, w, *bias, strides=strides, pads=pads, dilations=dilations, group=op.groups)


def _as_one_product(op: Convolution, emit: Emit, x: str, w: str, *bias: str) -> str:
    """One product over the examples and positions: onnxruntime's kernel reads the weights once for each example."""
    x_type, w_type = emit.type(x), emit.type(w)
    batch, (filters, channels, *kernel) = x_type.shape[0], w_type.shape
    sizes = op.output_sizes(x_type, tuple(kernel))
    order = [1, 0, *range(2, x_type.rank)]
    columns = _joined_windows(_windows(op, emit, emit("Transpose", x, perm=order), tuple(kernel), sizes), emit)
    width = channels * product(kernel)
    columns = emit("Reshape", columns, emit.sizes((width, batch * product(sizes))))
    total = emit("MatMul", emit("Reshape", w, emit.sizes((filters, width))), columns)
    for vector in bias:
        total = emit("Add", total, emit("Reshape", vector, emit.sizes((filters, 1))))
    return emit("Transpose", emit("Reshape", total, emit.sizes((filters, batch, *sizes))), perm=order)


CONVOLUTIONS: Mapping[str, Callable[..., str]] = {"convolution": _as_convolution, "product": _as_one_product}


def _joined_windows(windows: list[str], emit: Emit) -> str:
    """Windows [channels, batch, ...] as [channels, taps, batch, ...]."""
    windows = [emit("Unsqueeze", window, np.array([1])) for window in windows]
    return windows[0] if len(windows) == 1 else emit("Concat", *windows, axis=1)


def _grouped_sizes(
    groups: int, x: TensorType, filters: Size, kernel: Sequence[Size], positions: Sequence[Size]
) -> Mapping[str, Size]:
    """The sizes by which a table of costs knows a gradient; channels and filters are those of a group."""
    return {
        "batch": x.shape[0],
        "channels": x.shape[1] // groups,
        "filters": filters,
        "taps": product(kernel),
        "positions": product(positions),
        "groups": groups,
    }


# The gradient of the weights


def lower_weight_gradient(op: WeightGradient, emit: Emit, x: str, grad: str) -> str:
    """A form of `conv_weight_gradient`: products of the windows that the taps read with the gradient."""
    if not all(isinstance(size, int) for size in op.kernel):
        raise TypeMismatch("the gradient of this convolution needs the kernel's sizes as numbers in ONNX")
    x_type, grad_type = emit.type(x), emit.type(grad)
    filters = grad_type.shape[1] // op.groups
    sizes = _grouped_sizes(op.groups, x_type, filters, op.kernel, grad_type.shape[2:])
    form = cheapest(emit.target, "convolution weight gradient", "joined", **sizes)
    return WEIGHT_GRADIENTS[form](op, emit, x, grad)


def _by_examples(op: WeightGradient, emit: Emit, x: str, grad: str) -> str:
    """A product for each example, and the sum of these: without a transpose, where positions are many."""
    batch, channels, filters, positions = _sizes(op, emit, x, grad)
    windows = [
        emit("Unsqueeze", window, np.array([2]))
        for window in _windows(op, emit, x, op.kernel, emit.type(grad).shape[2:])
    ]
    taps = len(windows)
    columns = windows[0] if taps == 1 else emit("Concat", *windows, axis=2)  # [batch, channels, taps, ...]
    columns = emit("Reshape", columns, emit.sizes((batch, op.groups, channels * taps, positions)))
    rows = emit("Reshape", grad, emit.sizes((batch, op.groups, filters, positions)))
    products = emit("MatMul", rows, emit("Transpose", columns, perm=[0, 1, 3, 2]))
    total = emit("ReduceSum", products, np.array([0]), keepdims=0)
    return emit("Reshape", total, emit.sizes((filters * op.groups, channels, *op.kernel)))


def _joined(op: WeightGradient, emit: Emit, x: str, grad: str) -> str:
    """One product over the examples and positions."""
    batch, channels, filters, positions = _sizes(op, emit, x, grad)
    rows, windows = _with_batch_inside(op, emit, x, grad)
    columns = _joined_windows(windows, emit)
    groups = (op.groups,) if op.groups > 1 else ()
    rank = len(groups)
    columns = emit("Reshape", columns, emit.sizes((*groups, channels * len(windows), batch * positions)))
    turned = emit("Transpose", columns, perm=[*range(rank), rank + 1, rank])
    total = emit("MatMul", rows, turned)
    return emit("Reshape", total, emit.sizes((filters * op.groups, channels, *op.kernel)))


def _by_taps(op: WeightGradient, emit: Emit, x: str, grad: str) -> str:
    """A product over the examples and positions for each tap: without a copy of all windows side by side."""
    batch, channels, filters, positions = _sizes(op, emit, x, grad)
    rows, windows = _with_batch_inside(op, emit, x, grad)
    groups = (op.groups,) if op.groups > 1 else ()
    rank = len(groups)
    products = []
    for window in windows:
        columns = emit("Reshape", window, emit.sizes((*groups, channels, batch * positions)))
        turned = emit("Transpose", columns, perm=[*range(rank), rank + 1, rank])
        products.append(emit("Unsqueeze", emit("MatMul", rows, turned), np.array([rank + 2])))
    total = products[0] if len(products) == 1 else emit("Concat", *products, axis=rank + 2)
    return emit("Reshape", total, emit.sizes((filters * op.groups, channels, *op.kernel)))


WEIGHT_GRADIENTS: Mapping[str, Callable[[WeightGradient, Emit, str, str], str]] = {
    "examples": _by_examples,
    "joined": _joined,
    "taps": _by_taps,
}


def _sizes(op: WeightGradient, emit: Emit, x: str, grad: str) -> tuple[Size, Size, Size, Size]:
    """The batch, the channels and filters of a group, and the positions of the result."""
    x_shape, grad_shape = emit.type(x).shape, emit.type(grad).shape
    return grad_shape[0], x_shape[1] // op.groups, grad_shape[1] // op.groups, product(grad_shape[2:])


def _with_batch_inside(op: WeightGradient, emit: Emit, x: str, grad: str) -> tuple[str, list[str]]:
    """The gradient as [groups, filters, batch * positions], and the windows as [channels, batch, ...].

    The first axis of the gradient is left out where there is one group.
    """
    batch, _, filters, positions = _sizes(op, emit, x, grad)
    order = [1, 0, *range(2, emit.type(x).rank)]
    groups = (op.groups,) if op.groups > 1 else ()
    rows = emit("Reshape", emit("Transpose", grad, perm=order), emit.sizes((*groups, filters, batch * positions)))
    turned = emit("Transpose", x, perm=order)
    return rows, _windows(op, emit, turned, op.kernel, emit.type(grad).shape[2:])


def _windows(op: Windows, emit: Emit, x: str, kernel: tuple[Size, ...], sizes: tuple[Size, ...]) -> list[str]:
    """The items that each tap of the kernel reads, one for each position of the result."""
    rank = len(kernel)
    strides, pads, dilations = op.settings(rank)
    if set(kernel) == set(strides) == {1} and not any(pads):
        return [x]
    if any(pads):
        x = emit("Pad", x, np.array([0, 0, *pads[:rank], 0, 0, *pads[rank:]], np.int64))
    axes, windows = np.arange(2, 2 + rank), []
    for tap in itertools.product(*map(range, kernel)):  # type: ignore[arg-type]  # known sizes
        starts = np.array([index * dilation for index, dilation in zip(tap, dilations, strict=True)], np.int64)
        stops: list[Size] = [
            index * dilation + (size - 1) * stride + 1
            for index, dilation, size, stride in zip(tap, dilations, sizes, strides, strict=True)
        ]
        windows.append(emit("Slice", x, starts, emit.sizes(stops), axes, np.array(strides, np.int64)))
    return windows


# The transpose of a convolution, which the gradient of its input is


def lower_transpose(op: Transposed, emit: Emit, x: str, w: str) -> str:
    """A form of `conv_transpose`."""
    x_type, w_type = emit.type(x), emit.type(w)
    if not emit.target.shares_kernels and emit.is_stored(w) and _has_flipped_form(op, emit, x_type, w_type):
        return _as_flipped(op, emit, x, w)
    sizes = _grouped_sizes(op.groups, x_type, w_type.shape[1], w_type.shape[2:], x_type.shape[2:])
    stride = max(op.strides, default=1)
    form = cheapest(emit.target, "transpose of a convolution", "transpose", **sizes, stride=stride)
    applies, lower = TRANSPOSES[form]
    return lower(op, emit, x, w) if applies(op, emit, x_type, w_type) else _as_transpose(op, emit, x, w)


def _as_transpose(op: Transposed, emit: Emit, x: str, w: str) -> str:
    """ONNX's own operator, within what onnxruntime accepts of its attributes."""
    type, kernel = emit.type(x), emit.type(w)
    rank = type.rank - 2
    strides, pads, dilations = op.settings(rank)
    extra, ends = op.extra(rank), list(pads)
    sizes = op.infer(type, kernel).shape[2:]
    cut, first, most, beyond = False, [0] * rank, [0] * rank, [0] * rank
    for axis, (size, stride) in enumerate(zip(extra, strides, strict=True)):
        reach = dilations[axis] * (kernel.shape[2 + axis] - 1) + 1
        if isinstance(reach, int) and reach <= pads[axis] + pads[rank + axis]:
            # onnxruntime refuses pads that cut away all that one item contributes: those are cut afterwards.
            cut, first[axis], ends[axis], ends[rank + axis] = True, pads[axis], 0, 0
        if not isinstance(size, int):
            # As in a convolution's gradient, and below the stride: add the most, then cut.
            most[axis] = stride - 1
            continue
        # onnxruntime refuses a padding of the stride or more: the far pads cut less instead, the rest is zeros.
        spared = min(size, ends[rank + axis]) if size >= stride else 0
        ends[rank + axis] -= spared
        most[axis] = min(size - spared, stride - 1)
        beyond[axis] = size - spared - most[axis]
    settings = {"strides": strides, "pads": ends, "dilations": dilations, "group": op.groups}
    result = emit("ConvTranspose", x, w, output_padding=most, **settings)
    if any(beyond):
        result = emit("Pad", result, np.array([0] * (rank + 4) + beyond, np.int64))
    if not cut and all(isinstance(size, int) for size in extra):
        return result
    stops = [start + size for start, size in zip(first, sizes, strict=True)]
    return emit("Slice", result, np.array(first, np.int64), emit.sizes(stops), np.arange(2, 2 + rank))


def _has_flipped_form(op: Transposed, emit: Emit, x: TensorType, w: TensorType) -> bool:
    """Whether the strides are 1, and no pad is wider than what one item contributes to."""
    if set(op.strides) - {1} or not all(isinstance(size, int) for size in w.shape):
        return False
    pads = _flipped_pads(op, w)
    return pads is not None and min(pads) >= 0


def _flipped_pads(op: Transposed, w: TensorType) -> list[int] | None:
    """The pads of the convolution with the flipped kernel; None where a size that they depend on is not known."""
    rank = w.rank - 2
    _, pads, dilations = op.settings(rank)
    kernel = [size for size in w.shape[2:] if isinstance(size, int)]
    extra = [size for size in op.extra(rank) if isinstance(size, int)]
    if len(kernel) < rank or len(extra) < rank:
        return None
    reaches = [dilation * (size - 1) for dilation, size in zip(dilations, kernel, strict=True)]
    ends = [reach - pad + more for reach, pad, more in zip(reaches, pads[rank:], extra, strict=True)]
    return [reach - pad for reach, pad in zip(reaches, pads[:rank], strict=True)] + ends


def _as_flipped(op: Transposed, emit: Emit, x: str, w: str) -> str:
    """A convolution with the kernel flipped, and its channels and filters exchanged."""
    type = emit.type(w)
    channels, filters, *kernel = type.shape
    dilations = op.settings(len(kernel))[2]
    pads = _flipped_pads(op, type)
    taps = product(kernel)
    order = [1, 0, 2] if op.groups == 1 else [0, 2, 1, 3]
    shape: tuple[Size, ...] = (channels // op.groups, filters, taps)
    shape = shape if op.groups == 1 else (op.groups, *shape)
    w = emit("Transpose", emit("Reshape", w, emit.sizes(shape)), perm=order)
    if taps != 1 and not emit.target.reverses_by_slices:
        w = lower_backwards(emit, w, len(order) - 1, taps)
    elif taps != 1:
        w = emit("Slice", w, np.array([-1]), np.array([-taps - 1]), np.array([len(order) - 1]), np.array([-1]))
    w = emit("Reshape", w, emit.sizes((filters * op.groups, channels // op.groups, *kernel)))
    return emit("Conv", x, w, pads=pads, dilations=dilations, group=op.groups)


def _has_product_form(op: Transposed, emit: Emit, x: TensorType, w: TensorType) -> bool:
    """Whether the runtime has `Col2Im` for these types, and each position of the operand has a window in the result."""
    rank = x.rank - 2
    strides, _, _ = op.settings(rank)
    known = all(isinstance(size, int) for size in w.shape[2:])
    below = all(isinstance(size, int) and size < stride for size, stride in zip(op.extra(rank), strides, strict=True))
    return emit.opset >= 18 and op.groups == 1 and known and below and x.dtype == DType.F32


def _as_product(op: Transposed, emit: Emit, x: str, w: str) -> str:
    """One product over the examples and positions, whose results are added where their taps overlap."""
    x_type, w_type = emit.type(x), emit.type(w)
    batch, channels, *sizes = x_type.shape
    rank, positions = len(sizes), product(sizes)
    kernel = w_type.shape[2:]
    width = product(w_type.shape[1:])
    strides, pads, dilations = op.settings(rank)
    items = emit("Reshape", x, emit.sizes((batch, channels, positions)))
    rows = emit("Reshape", emit("Transpose", items, perm=[0, 2, 1]), emit.sizes((batch * positions, channels)))
    products = emit("MatMul", rows, emit("Reshape", w, emit.sizes((channels, width))))
    columns = emit("Transpose", emit("Reshape", products, emit.sizes((batch, positions, width))), perm=[0, 2, 1])
    image, block = emit.sizes(op.infer(x_type, w_type).shape[2:]), emit.sizes(kernel)
    return emit("Col2Im", columns, image, block, strides=strides, pads=pads, dilations=dilations)


TRANSPOSES: Mapping[str, tuple[Callable[..., bool], Callable[[Transposed, Emit, str, str], str]]] = {
    "transpose": (lambda *_: True, _as_transpose),
    "flipped": (_has_flipped_form, _as_flipped),
    "product": (_has_product_form, _as_product),
}
