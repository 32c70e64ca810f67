"""The product with a matrix of integers of 4 bits, two in a byte, with a scale for each block of a column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.attribute_kinds import Integer
from compiler.dims import Size
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.divided_products import matmul
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

MIDDLE = 8  # the integer that stands for 0


def pack(w: Array, block: int) -> tuple[Array, Array]:
    """A matrix [in, out] as bytes [out, blocks, block / 2] and scales [out, blocks].

    The number of largest magnitude in a block becomes 0, which stands for -8, so that all 16 integers are used; the
    low half of a byte comes first. That is `Q4_0` of llama.cpp, with blocks along each column.
    """
    inner, outer = w.shape
    blocks = -(-inner // block)
    padded = np.zeros((outer, blocks * block), np.float32)
    padded[:, :inner] = w.T
    parts = padded.reshape(outer, blocks, block)
    largest = np.take_along_axis(parts, np.abs(parts).argmax(axis=2)[:, :, None], axis=2)
    scales = largest / np.float32(-MIDDLE)
    whole = np.rint(parts / np.where(scales == 0, np.float32(1), scales)) + MIDDLE
    numbers = np.clip(whole, 0, 2 * MIDDLE - 1).astype(np.uint8)
    return numbers[:, :, ::2] | (numbers[:, :, 1::2] << 4), scales[:, :, 0]


def unpack(packed: Array, scales: Array, inner: int) -> Array:
    """The matrix [in, out] that bytes and scales stand for."""
    numbers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], -1)
    matrix = (numbers.astype(scales.dtype) - scales.dtype.type(MIDDLE)) * scales[:, :, None]
    return np.asarray(matrix.reshape(len(packed), -1)[:, :inner].T)


class MatMulNBits(Operator):
    """`x @ w` for `w` [in, out] of 4 bits: bytes [out, blocks, block / 2], and scales [out, blocks].

    A number is its integer of 0 to 15, less 8, times the scale of its block; the low half of a byte comes first.
    """

    name = "matmul_4_bits"
    public = False
    allocates = True
    inner: Integer
    block: Integer = 32

    def infer(self, x: TensorType, packed: TensorType, scales: TensorType) -> TensorType:
        if not x.dtype.is_float or not x.rank or x.shape[-1] != self.inner:
            raise TypeMismatch(f"expected a float tensor [..., {self.inner}], got {x}")
        if packed.rank != 3 or packed.dtype != DType.U8:
            raise TypeMismatch(f"expected bytes [out, blocks, block / 2], got {packed}")
        outer = packed.shape[0]
        shape = (outer, -(-self.inner // self.block), self.block // 2)
        if packed.shape != shape or scales != TensorType(x.dtype, shape[:2]):
            expected = f"{packed.with_shape(*shape)} and {TensorType(x.dtype, shape[:2])}"
            raise TypeMismatch(f"expected {expected}, got {packed} and {scales}")
        return x.with_shape(*x.shape[:-1], outer)

    def compute(self, x: Array, packed: Array, scales: Array) -> Array:
        return matmul(x, unpack(packed, scales, self.inner))

    def lower(self, emit: Emit, x: str, packed: str, scales: str) -> str:
        outer = emit.type(packed).shape[0]
        sizes = {"K": self.inner, "N": outer, "bits": 4, "block_size": self.block}
        return emit("MatMulNBits", x, packed, scales, domain="com.microsoft", **sizes)

    def flops(self, x: TensorType, packed: TensorType, scales: TensorType) -> Size:
        return 2 * x.elements * packed.shape[0]
