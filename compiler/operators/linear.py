"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.dims import Size, product
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.divided_products import matmul
from compiler.operators.making import aligned, broadcast_part, reshape, squeeze, sum_to, swapped, unsqueeze
from compiler.types import DType, TensorType, TypeMismatch, broadcast_shapes, same_dtype
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class MatMul(Operator):
    """The matrix product `x @ y` over the last axis of `x` and the last but one of `y`; the axes before broadcast.

    A tensor of one axis is a row on the left and a column on the right; the axis added for that is dropped again.
    """

    name = "matmul"
    mixed = "short"
    sign = "@"
    allocates = True
    wide = True

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        dtype = same_dtype(x, y)
        if dtype == DType.BOOL:
            raise TypeMismatch(f"expected numbers, got {x} and {y}", "convert them: `cast(x, f32)`")
        if not x.rank or not y.rank:
            raise TypeMismatch(f"both sides must have at least one axis: {x} @ {y}", "a scalar multiplies by `*`")
        inner, outer = x.shape[-1], y.shape[-min(2, y.rank)]
        if inner != outer:
            raise TypeMismatch(
                f"{x} @ {y}: inner dimensions differ: {inner} (left) and {outer} (right)",
                _transposed_hint(x, y),
            )
        try:
            leading = broadcast_shapes(x.shape[:-2], y.shape[:-2])
        except TypeMismatch as mismatch:
            raise TypeMismatch(f"{x} @ {y}: batch dimensions do not broadcast: {mismatch}") from None
        return TensorType(dtype, (*leading, *x.shape[-2:-1], *(y.shape[-1:] if y.rank > 1 else ())))

    def compute(self, x: Array, y: Array) -> Array:
        if x.ndim > 2 and y.ndim == 2 and x.flags.c_contiguous:  # one product, where NumPy would loop over the batch
            rows = matmul(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), y)
            return rows.reshape(*x.shape[:-1], y.shape[-1])
        return matmul(x, y)

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        rows, columns = x.type.rank == 1, y.type.rank == 1
        left = unsqueeze(x, (0,)) if rows else x
        right = unsqueeze(y, (1,)) if columns else y
        grad = unsqueeze(grad, (-1,)) if columns else grad
        grad = unsqueeze(grad, (-2,)) if rows else grad
        by_left = sum_to(left.type, grad @ swapped(right))
        if right.type.rank == 2 and left.type.rank > 2:  # the sum over the batch is part of one product
            height, width = left.shape[-1], right.shape[-1]
            many = product(left.shape[:-1])
            by_right = swapped(reshape(left, (many, height))) @ reshape(grad, (many, width))
        else:
            by_right = sum_to(right.type, swapped(left) @ grad)
        return (
            squeeze(by_left, (0,)) if rows else by_left,
            squeeze(by_right, (1,)) if columns else by_right,
        )

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        x, y = operands
        ranks = [operand.type.rank - axis for axis, operand in zip(mapped, operands, strict=True)]
        if min(ranks) < 2:
            return None
        if mapped[0] and not mapped[1] and ranks[1] == 2:
            return x @ y
        left, right = (
            aligned(operand, max(ranks)) if axis else operand for axis, operand in zip(mapped, operands, strict=True)
        )
        return left @ right

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        x, y = operands
        if min(x.type.rank, y.type.rank) < 2:
            return None
        rank = max(x.type.rank, y.type.rank)
        if axis == rank - 2:
            return window.of(x, x.type.rank - 2) @ window.whole(y)
        if axis == rank - 1:
            return window.whole(x) @ window.of(y, y.type.rank - 1)
        return broadcast_part(window, axis, x, rank) @ broadcast_part(window, axis, y, rank)

    def lower(self, emit: Emit, x: str, y: str) -> str:
        type, other = emit.type(x), emit.type(y)
        narrow = type.dtype in (DType.I8, DType.U8)
        if narrow:  # kernels go as far as i32
            x, y = (emit("Cast", operand, to=DType.I32.onnx) for operand in (x, y))
        # onnxruntime fuses a transpose into the product after it, and then misreads a vector.
        x = emit("Unsqueeze", x, np.array([0])) if type.rank == 1 else x
        y = emit("Unsqueeze", y, np.array([1])) if other.rank == 1 else y
        if type.dtype == DType.F16 or any(emit.may_cast_transposed(operand) for operand in (x, y)):
            x, y = _align_ranks(emit, x, y, max(type.rank, 2), max(other.rank, 2))
        result = emit("MatMul", x, y)
        lost = [axis for axis, rank in ((-2, type.rank), (-1, other.rank)) if rank == 1]
        result = emit("Squeeze", result, np.array(lost)) if lost else result
        return emit("Cast", result, to=type.dtype.onnx) if narrow else result

    def flops(self, x: TensorType, y: TensorType) -> Size:
        return self.infer(x, y).elements * x.shape[-1] * 2


def _align_ranks(emit: Emit, x: str, y: str, left: int, right: int) -> tuple[str, str]:
    """The operands of a product with equal ranks, as onnxruntime needs them behind a transpose and a cast.

    It swaps the two to fuse the transpose into the product, and then does not fuse them if batch axes are transposed
    and the ranks differ: it continues with a half-changed graph and crashes. The cast may be the model's own, with a
    `+ 0` behind it that onnxruntime drops, and onnxruntime itself puts one around every product of f16.
    """
    highest = max(left, right)
    x = emit("Unsqueeze", x, np.arange(highest - left)) if left < highest else x
    y = emit("Unsqueeze", y, np.arange(highest - right)) if right < highest else y
    return x, y


def _transposed_hint(x: TensorType, y: TensorType) -> str | None:
    if y.rank > 1 and x.shape[-1] == y.shape[-1]:
        return "transpose the right side: `x @ y^T`"
    if x.rank > 1 and y.rank > 1 and x.shape[-2] == y.shape[-2]:
        return "transpose the left side: `x^T @ y`"
    return None
