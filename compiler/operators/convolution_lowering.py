"""The gradient of a convolution's weights as plain ONNX operators."""

from __future__ import annotations

from itertools import product as every
from typing import TYPE_CHECKING, Any

from compiler.dims import Size, product
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.types import TypeMismatch

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


def lower_weight_gradient(op: Any, emit: Emit, x: str, grad: str) -> str:
    """The windows of all taps concatenated, and one matrix product with the gradient for each group."""
    if not all(isinstance(size, int) for size in op.kernel):
        raise TypeMismatch("the gradient of this convolution needs the kernel's sizes as numbers in ONNX")
    x_type, grad_type = emit.type(x), emit.type(grad)
    rank = x_type.rank - 2
    strides, pads, dilations = op.settings(rank)
    channels, filters = x_type.shape[1] // op.groups, grad_type.shape[1] // op.groups
    if any(pads):
        widths = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
        x = emit("Pad", x, np.array(widths, np.int64))
    batch, sizes = grad_type.shape[0], grad_type.shape[2:]
    axes = np.arange(2, 2 + rank)
    windows = []
    for tap in every(*(range(size) for size in op.kernel)):
        starts = np.array([index * dilation for index, dilation in zip(tap, dilations, strict=True)], np.int64)
        stops: list[Size] = [
            index * dilation + (size - 1) * stride + 1
            for index, dilation, size, stride in zip(tap, dilations, sizes, strides, strict=True)
        ]
        window = emit("Slice", x, starts, emit.sizes(stops), axes, np.array(strides, np.int64))
        windows.append(emit("Unsqueeze", window, np.array([2])))
    taps = len(windows)
    columns = windows[0] if taps == 1 else emit("Concat", *windows, axis=2)  # [batch, channels, taps, ...]
    items = product(sizes)
    # A product for each example, then their sum: one product over all would have to copy every window first.
    columns = emit("Reshape", columns, emit.sizes((batch, op.groups, channels * taps, items)))
    rows = emit("Reshape", grad, emit.sizes((batch, op.groups, filters, items)))
    products = emit("MatMul", rows, emit("Transpose", columns, perm=[0, 1, 3, 2]))
    total = emit("ReduceSum", products, np.array([0]), keepdims=0)
    return emit("Reshape", total, emit.sizes((filters * op.groups, channels, *op.kernel)))
