"""Products of integers of 8 bits, which add up in 32: what quantised layers compute."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compiler.attribute_kinds import Integer, Integers
from compiler.dims import Size, product
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.convolution import Conv, SlidingWindow
from compiler.operators.divided_products import matmul
from compiler.operators.linear import MatMul
from compiler.operators.quantization import is_byte
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


def _check(x: TensorType, w: TensorType, zero: TensorType, w_zero: TensorType) -> None:
    if not is_byte(x.dtype) or not is_byte(w.dtype):
        raise TypeMismatch(f"expected integers of 8 bits, got {x} and {w}")
    for integers, point in ((x, zero), (w, w_zero)):
        if point != TensorType(integers.dtype):
            raise TypeMismatch(f"the zero point of {integers} must be {TensorType(integers.dtype)}, not {point}")


def _centred(integers: Array, zero: Array) -> Array:
    """`integers - zero` as floats of f64, in which sums of products of such numbers are exact."""
    centred = integers.astype(np.float64)
    centred -= zero
    return centred


def whole_product(x: Array, zero: Array, w: Array, w_zero: Array) -> Array:
    """`(x - zero) @ (w - w_zero)` of integers of 8 bits, as floats of f64, in which it is exact."""
    centred = _centred(x, zero)
    rows = centred.reshape(math.prod(centred.shape[:-1]), centred.shape[-1])
    flat = matmul(rows, _centred(w, w_zero))
    return flat.reshape(*centred.shape[:-1], w.shape[-1])


class MatMulInteger(Operator):
    """`(x - zero) @ (w - w_zero)` of i8 or u8 in i32, for weights `w` [in, out]; zero points are scalars.

    On x86 processors without VNNI onnxruntime saturates products of u8 and i8, if weights use more than 7 bits: the
    compiler writes other weights (see `ByteForm`).
    """

    name = "matmul_integer"
    public = False
    allocates = True

    def infer(self, x: TensorType, w: TensorType, zero: TensorType, w_zero: TensorType) -> TensorType:
        _check(x, w, zero, w_zero)
        if x.rank < 2 or w.rank != 2:
            raise TypeMismatch(f"expected x [..., rows, in] and w [in, out], got {x} and {w}")
        return MatMul().infer(x.with_dtype(DType.I32), w.with_dtype(DType.I32))

    def compute(self, x: Array, w: Array, zero: Array, w_zero: Array) -> Array:
        return whole_product(x, zero, w, w_zero).astype(np.int32)

    def lower(self, emit: Emit, x: str, w: str, zero: str, w_zero: str) -> str:
        return emit("MatMulInteger", x, w, zero, w_zero)

    def flops(self, x: TensorType, w: TensorType, zero: TensorType, w_zero: TensorType) -> Size:
        return self.infer(x, w, zero, w_zero).elements * x.shape[-1] * 2


class ConvInteger(SlidingWindow, Operator):
    """The convolution of `x - zero` with `w - w_zero` [filters, channels / groups, ...], of i8 or u8 in i32.

    The attributes are those of `conv`, the operands those of `matmul_integer`. Padding has the value of the zero point,
    so that it stands for 0.
    """

    name = "conv_integer"
    public = False
    allocates = True
    strides: Integers = ()
    pads: Integers = ()
    dilations: Integers = ()
    groups: Integer = 1

    @property
    def convolution(self) -> Conv:
        """The convolution of floats with these attributes."""
        return Conv(self.strides, self.pads, self.dilations, self.groups)

    def infer(self, x: TensorType, w: TensorType, zero: TensorType, w_zero: TensorType) -> TensorType:
        _check(x, w, zero, w_zero)
        wide = (operand.with_dtype(DType.F64) for operand in (x, w))
        return self.convolution.infer(*wide).with_dtype(DType.I32)

    def compute(self, x: Array, w: Array, zero: Array, w_zero: Array) -> Array:
        return self.convolution.compute(_centred(x, zero), _centred(w, w_zero)).astype(np.int32)

    def lower(self, emit: Emit, x: str, w: str, zero: str, w_zero: str) -> str:
        strides, pads, dilations = self.settings(emit.type(x).rank - 2)
        kernel = list(emit.type(w).shape[2:])
        return emit(
            "ConvInteger",
            x,
            w,
            zero,
            w_zero,
            strides=list(strides),
            pads=list(pads),
            dilations=list(dilations),
            group=self.groups,
            kernel_shape=kernel,
        )

    def flops(self, x: TensorType, w: TensorType, zero: TensorType, w_zero: TensorType) -> Size:
        return 2 * self.infer(x, w, zero, w_zero).elements * product(w.shape[1:])
