"""Normalisation of each example over its last axes; a pass creates these operators from equations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from compiler.attribute_kinds import Axis, Number
from compiler.costs import cheapest
from compiler.dims import Size, product
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.row_reductions import row_means
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

_LARGEST_ONES = 4096  # elements of a scale of ones that is stored; a longer one is expanded when the model runs


class TrailingNormalization(Operator):
    """A normalisation over the axes from `axis` on, with a scale and a shift of exactly their shape, both optional."""

    public = False
    recognised = True
    wide = True
    axis: Axis = -1
    eps: Number = 1e-5
    onnx: ClassVar[str]
    since: ClassVar[int]  # the opset of the ONNX operator
    dtypes: ClassVar[tuple[DType, ...]]  # of onnxruntime's kernel
    shifts: ClassVar[bool]  # may have a shift

    def infer(self, x: TensorType, *affine: TensorType) -> TensorType:
        if not x.dtype.is_float:
            raise TypeMismatch(f"expected float tensors, got {x}")
        shape = x.shape[x.axis(self.axis) :]
        if len(affine) > 1 + self.shifts or any(other != x.with_shape(*shape) for other in affine):
            raise TypeMismatch(f"the scale and the shift must be {x.with_shape(*shape)}")
        return x

    def native_opset(self, x: TensorType, *affine: TensorType) -> int:
        return self.since if x.dtype in self.dtypes else 0

    def lower(self, emit: Emit, x: str, *affine: str) -> str:
        type = emit.type(x)
        native = self.native_opset(type)
        sizes = type.shape[type.axis(self.axis) :]
        form = cheapest(
            emit.target, self.name, "operator", rows=product(type.shape[: -len(sizes)]), width=product(sizes)
        )
        if not native or emit.opset < native or form != "operator":
            return self._decompose(emit, x, type, affine)
        operands = affine or (ones(emit, type, sizes),)
        return emit(self.onnx, x, *operands, axis=type.axis(self.axis), epsilon=float(self.eps))

    def _decompose(self, emit: Emit, x: str, type: TensorType, affine: tuple[str, ...]) -> str:
        """The equations; of 16-bit floats in f32, where squares do not overflow."""
        wide = type.dtype.wide
        operands = [x, *affine]
        if wide != type.dtype:
            operands = [emit("Cast", operand, to=wide.onnx) for operand in operands]
        axes = tuple(range(type.axis(self.axis), type.rank))
        result = lower_standardized(emit, operands[0], wide, axes, self.eps, centred=self.shifts)
        for onnx_type, operand in zip(("Mul", "Add"), operands[1:], strict=False):
            result = emit(onnx_type, result, operand)
        return result if wide == type.dtype else emit("Cast", result, to=type.dtype.onnx)

    def flops(self, x: TensorType, *affine: TensorType) -> Size:
        return x.elements * (4 + 3 * self.shifts + len(affine))


class LayerNormalization(TrailingNormalization):
    """(x - mean) / sqrt(variance + eps) over the axes from `axis` on, scaled and shifted (Ba et al. 2016).

    The variance is that of the population: the mean of the squared distances from the mean.
    """

    name, onnx = "layer_normalization", "LayerNormalization"
    since = 17
    dtypes = (DType.F16, DType.BF16, DType.F32, DType.F64)
    shifts = True

    def compute(self, x: Array, *affine: Array) -> Array:
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        result = standardized(x, axes, self.eps)
        if affine:
            result *= affine[0]
        if len(affine) > 1:
            result += affine[1]
        return result


class RMSNormalization(TrailingNormalization):
    """x / sqrt(mean(x**2) + eps) over the axes from `axis` on, scaled (Zhang and Sennrich 2019)."""

    name, onnx = "rms_normalization", "RMSNormalization"
    since = 23
    dtypes = (DType.F16, DType.F32, DType.F64)
    shifts = False

    def compute(self, x: Array, *affine: Array) -> Array:
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        squares = np.square(x)
        root = row_means(squares, axes)
        root += x.dtype.type(self.eps)
        result: Array = np.divide(x, np.sqrt(root, out=root), out=squares)
        if affine:
            result *= affine[0]
        return result


def standardized(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """(x - mean) / sqrt(variance + eps) over the axes, in a new array."""
    result = np.asarray(x - row_means(x, axes))
    root = row_means(np.square(result), axes)
    root += x.dtype.type(eps)
    result /= np.sqrt(root, out=root)
    return result


def lower_standardized(emit: Emit, x: str, dtype: DType, axes: tuple[int, ...], eps: float, *, centred: bool) -> str:
    """`x`, centred or not, over the root of the mean of its squares and `eps`, as basic ONNX operators."""
    if centred:
        x = emit("Sub", x, lower_mean(emit, x, axes))
    variance = lower_mean(emit, emit("Mul", x, x), axes)
    return emit("Div", x, emit("Sqrt", emit("Add", variance, np.array(eps, dtype.numpy))))


def lower_mean(emit: Emit, x: str, axes: tuple[int, ...]) -> str:
    """The mean over axes, which stay with length 1."""
    if emit.opset < 18:  # from which on the axes are an input
        return emit("ReduceMean", x, axes=axes, keepdims=1)
    return emit("ReduceMean", x, np.array(axes, np.int64), keepdims=1)


def ones(emit: Emit, type: TensorType, sizes: tuple[Size, ...]) -> str | Array:
    """A scale of ones."""
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) == len(sizes) and math.prod(numbers) <= _LARGEST_ONES:
        return np.ones(numbers, type.dtype.numpy)
    return emit("Expand", np.ones((), type.dtype.numpy), emit.sizes(sizes))
