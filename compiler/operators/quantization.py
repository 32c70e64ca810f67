"""Floats as integers of 8 bits: `x` is about `(q - zero) * scale`, with one scale, or one for each item of an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.attribute_kinds import Axis
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

UNSPECIFIED = "NaN and infinity: which integer stands for them is not specified"


def is_byte(dtype: DType) -> bool:
    """Whether numbers are integers of 8 bits."""
    return dtype in (DType.I8, DType.U8)


def quantize(x: Array, scale: Array, zero: Array) -> Array:
    """`saturate(round(x / scale) + zero)` in the type of `zero`, ties to even; NaN becomes 0."""
    low, high = np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max
    with np.errstate(all="ignore"):
        steps = np.rint(x / scale)
        steps += zero.astype(steps.dtype)
        clipped = np.clip(np.nan_to_num(steps, copy=False, nan=0.0), low, high)
    result: Array = clipped.astype(zero.dtype)
    return result


def quantize_to_range(x: Array) -> tuple[Array, Array, Array]:
    """`x` as u8 with the scale and the zero point of its own range, which is widened to contain 0.

    ONNX's DynamicQuantizeLinear; where all numbers are 0 the scale is 1, as in onnxruntime.
    """
    number = x.dtype.type
    with np.errstate(all="ignore"):
        low = np.fmin.reduce(x, axis=None, initial=number(0))
        high = np.fmax.reduce(x, axis=None, initial=number(0))
        scale = number(1) if low == high else number((high - low) / number(255))
        start = number(0) - low / scale
    zero = np.array(255 if np.isnan(start) else np.rint(np.clip(start, 0, 255)), np.uint8)
    scales = np.asarray(scale, x.dtype)
    return quantize(x, scales, zero), scales, zero


class _Linear(Operator):
    """The common type rule: a tensor, a scale, and a zero point of the scale's shape."""

    public = False
    allocates = True
    edges = (UNSPECIFIED,)
    axis: Axis = 1

    def check(self, tensor: TensorType, scale: TensorType, zero: TensorType, *more: DType) -> None:
        """TypeMismatch for operands that do not fit; zero points may be of `more` types than those of 8 bits."""
        if not scale.dtype.is_float or not (is_byte(zero.dtype) or zero.dtype in more):
            raise TypeMismatch(f"expected a float scale and a zero point of 8 bits, got {scale} and {zero}")
        items = (tensor.shape[tensor.axis(self.axis)],) if scale.rank else ()
        if scale.shape != zero.shape or scale.shape != items:
            raise TypeMismatch(f"{tensor} has no scales {scale} with zero points {zero} along axis {self.axis}")

    def aligned(self, rank: int, *vectors: Array) -> tuple[Array, ...]:
        """Scales and zero points, which broadcast to a tensor of this rank."""
        if not vectors[0].ndim:
            return vectors
        shape = [1] * rank
        shape[self.axis] = -1
        return tuple(vector.reshape(shape) for vector in vectors)

    def axis_of(self, emit: Emit, scale: str) -> dict[str, Any]:
        """The attribute that says the axis, where there is one."""
        return {"axis": self.axis} if emit.type(scale).rank else {}


class QuantizeLinear(_Linear):
    """`saturate(round(x / scale) + zero)`, ties to even, in the type of `zero`: i8 or u8.

    `scale` and `zero` are scalars, or vectors with an entry for each item of `axis`.
    """

    name = "quantize_linear"
    axis: Axis = 1

    def infer(self, x: TensorType, scale: TensorType, zero: TensorType) -> TensorType:
        self.check(x, scale, zero)
        if x.dtype != scale.dtype:
            raise TypeMismatch(f"{x} and its scale {scale} have different dtypes")
        return x.with_dtype(zero.dtype)

    def compute(self, x: Array, scale: Array, zero: Array) -> Array:
        return quantize(x, *self.aligned(x.ndim, scale, zero))

    def lower(self, emit: Emit, x: str, scale: str, zero: str) -> str:
        return emit("QuantizeLinear", x, scale, zero, **self.axis_of(emit, scale))


class DequantizeLinear(_Linear):
    """`(q - zero) * scale`, of i8 or u8, or of i32 where `zero` is 0, as that of a bias is.

    `scale` and `zero` are scalars, or vectors with an entry for each item of `axis`.
    """

    name = "dequantize_linear"
    axis: Axis = 1

    def infer(self, q: TensorType, scale: TensorType, zero: TensorType) -> TensorType:
        self.check(q, scale, zero, DType.I32)
        if q.dtype != zero.dtype:
            raise TypeMismatch(f"{q} and its zero point {zero} have different dtypes")
        return q.with_dtype(scale.dtype)

    def compute(self, q: Array, scale: Array, zero: Array) -> Array:
        scale, zero = self.aligned(q.ndim, scale, zero)
        difference = q.astype(np.int32) - zero.astype(np.int32)
        return np.asarray(difference.astype(scale.dtype) * scale)

    def lower(self, emit: Emit, q: str, scale: str, zero: str) -> str:
        return emit("DequantizeLinear", q, scale, zero, **self.axis_of(emit, scale))


class DynamicQuantizeLinear(Operator):
    """`x` as u8, with the scale and the zero point of the range of its own numbers, widened to contain 0."""

    name = "dynamic_quantize_linear"
    public = False
    allocates = True
    edges = (UNSPECIFIED,)

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType, TensorType]:
        if not x.dtype.is_float:
            raise TypeMismatch(f"expected a float tensor, got {x}")
        return x.with_dtype(DType.U8), TensorType(x.dtype), TensorType(DType.U8)

    def compute(self, x: Array) -> tuple[Array, Array, Array]:
        return quantize_to_range(x)

    def lower(self, emit: Emit, x: str) -> tuple[str, ...]:
        return emit.many(3, "DynamicQuantizeLinear", x)
