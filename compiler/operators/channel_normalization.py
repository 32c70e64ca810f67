"""Normalisation of the channels of `[batch, channels, ...]`; a pass creates these operators from equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.attribute_kinds import Integer, Number
from compiler.dims import Size, product
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.layer_normalization import lower_standardized, standardized
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class ChannelNormalization(Operator):
    """A normalisation of `x: [batch, channels, ...]` with vectors of one number for each channel."""

    public = False
    recognised = True
    wide = True
    eps: Number = 1e-5

    def infer(self, x: TensorType, *vectors: TensorType) -> TensorType:
        if not x.dtype.is_float or x.rank < 2:
            raise TypeMismatch(f"expected float tensors of 2 axes or more, got {x}")
        if any(vector != x.with_shape(x.shape[1]) for vector in vectors):
            raise TypeMismatch(f"expected vectors {x.with_shape(x.shape[1])}, got {', '.join(map(str, vectors))}")
        return x

    def lower(self, emit: Emit, x: str, *vectors: str) -> str:
        type = emit.type(x)
        if not type.dtype.is_half:
            return self.lower_wide(emit, x, type, vectors)
        x, *wide = (emit("Cast", operand, to=DType.F32.onnx) for operand in (x, *vectors))
        result = self.lower_wide(emit, x, type.with_dtype(DType.F32), tuple(wide))
        return emit("Cast", result, to=type.dtype.onnx)

    def lower_wide(self, emit: Emit, x: str, type: TensorType, vectors: tuple[str, ...]) -> str:
        """Write the nodes for operands of f32 or f64."""
        raise NotImplementedError

    def flops(self, x: TensorType, *vectors: TensorType) -> Size:
        return x.elements * 9


class InstanceNormalization(ChannelNormalization):
    """(x - mean) / sqrt(variance + eps) of each channel of each example, scaled and shifted (Ulyanov et al. 2016)."""

    name = "instance_normalization"

    def compute(self, x: Array, scale: Array, shift: Array) -> Array:
        return _scaled(standardized(x, tuple(range(2, x.ndim)), self.eps), scale, shift)

    def native_opset(self, x: TensorType, *vectors: TensorType) -> int:
        return 17 if x.dtype is DType.F32 else 0

    def lower_wide(self, emit: Emit, x: str, type: TensorType, vectors: tuple[str, ...]) -> str:
        if self.native_opset(type):
            return emit("InstanceNormalization", x, *vectors, epsilon=float(self.eps))
        normal = lower_standardized(emit, x, type.dtype, tuple(range(2, type.rank)), self.eps, centred=True)
        return _lower_scaled(emit, normal, type, vectors)


class GroupNormalization(ChannelNormalization):
    """(x - mean) / sqrt(variance + eps) of each of `groups` of channels, scaled and shifted (Wu and He 2018)."""

    name = "group_normalization"
    groups: Integer = 1

    def infer(self, x: TensorType, *vectors: TensorType) -> TensorType:
        result = super().infer(x, *vectors)
        channels = x.shape[1]
        if not isinstance(channels, int) or self.groups < 1 or channels % self.groups:
            raise TypeMismatch(f"{self.groups} groups do not divide the channels of {x}")
        return result

    def compute(self, x: Array, scale: Array, shift: Array) -> Array:
        groups = x.reshape(x.shape[0], self.groups, x.shape[1] // self.groups, *x.shape[2:])
        normal = standardized(groups, tuple(range(2, groups.ndim)), self.eps)
        return _scaled(normal.reshape(x.shape), scale, shift)

    def lower_wide(self, emit: Emit, x: str, type: TensorType, vectors: tuple[str, ...]) -> str:
        batch, channels, *extent = type.shape
        # Reshapes around InstanceNormalization: onnxruntime expands GroupNormalization, and takes twice as long.
        assert isinstance(channels, int)
        grouped_type = type.with_shape(batch, self.groups, channels // self.groups * product(extent))
        grouped = emit("Reshape", x, emit.sizes(grouped_type.shape), allowzero=1)
        ones, zeros = (np.full(self.groups, number, type.dtype.numpy) for number in (1, 0))
        if type.dtype is DType.F32:
            normal = emit("InstanceNormalization", grouped, ones, zeros, epsilon=float(self.eps))
        else:
            normal = lower_standardized(emit, grouped, type.dtype, (2,), self.eps, centred=True)
        return _lower_scaled(emit, emit("Reshape", normal, emit.sizes(type.shape), allowzero=1), type, vectors)


class BatchNormalization(ChannelNormalization):
    """(x - mean) / sqrt(variance + eps) with the running mean and variance of each channel (Ioffe and Szegedy 2015).

    The vectors are those of ONNX, in its order: scale, shift, mean, variance.
    """

    name = "batch_normalization"

    def compute(self, x: Array, scale: Array, shift: Array, mean: Array, variance: Array) -> Array:
        slope = scale / np.sqrt(variance + x.dtype.type(self.eps))
        result = np.asarray(x - _per_channel(mean, x))
        return _scaled(result, slope, shift)

    def native_opset(self, x: TensorType, *vectors: TensorType) -> int:
        return 17

    def lower_wide(self, emit: Emit, x: str, type: TensorType, vectors: tuple[str, ...]) -> str:
        return emit("BatchNormalization", x, *vectors, epsilon=float(self.eps))

    def flops(self, x: TensorType, *vectors: TensorType) -> Size:
        return x.elements * 3


def _per_channel(vector: Array, x: Array) -> Array:
    return vector.reshape(-1, *(1,) * (x.ndim - 2))


def _scaled(x: Array, scale: Array, shift: Array) -> Array:
    """`x`, which is overwritten, scaled and shifted by channel."""
    x *= _per_channel(scale, x)
    x += _per_channel(shift, x)
    return x


def _lower_scaled(emit: Emit, x: str, type: TensorType, vectors: tuple[str, ...]) -> str:
    for onnx_type, vector in zip(("Mul", "Add"), vectors, strict=True):
        column = np.array([type.shape[1], *(1,) * (type.rank - 2)])
        x = emit(onnx_type, x, emit("Reshape", vector, column))
    return x
