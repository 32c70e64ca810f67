"""The product of two matrices with a bias, as ONNX has it; a pass creates it from equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.attribute_kinds import Flag, Number
from compiler.dims import Size
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.divided_products import matmul
from compiler.types import DType, TensorType, TypeMismatch, broadcast_shapes, same_dtype

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Gemm(Operator):
    """`alpha * x @ y + beta * bias` of matrices, each of which may be transposed first; the bias broadcasts to it."""

    name = "gemm"
    public = False
    recognised = True
    allocates = True
    wide = True
    alpha: Number = 1.0
    beta: Number = 1.0
    left_transposed: Flag = False
    right_transposed: Flag = False

    def infer(self, x: TensorType, y: TensorType, *bias: TensorType) -> TensorType:
        dtype = same_dtype(x, y, *bias)
        if not dtype.is_float or x.rank != 2 or y.rank != 2 or len(bias) > 1:
            raise TypeMismatch(f"expected matrices of floats, got {x} and {y}")
        rows, inner = x.shape[:: -1 if self.left_transposed else 1]
        other, columns = y.shape[:: -1 if self.right_transposed else 1]
        if inner != other:
            raise TypeMismatch(f"inner dimensions differ: {inner} (left) and {other} (right)")
        result = TensorType(dtype, (rows, columns))
        if any(broadcast_shapes(result.shape, added.shape) != result.shape for added in bias):
            raise TypeMismatch(f"the bias {bias[0]} does not broadcast to {result}")
        return result

    def compute(self, x: Array, y: Array, *bias: Array) -> Array:
        result = matmul(x.T if self.left_transposed else x, y.T if self.right_transposed else y)
        if self.alpha != 1:
            result *= result.dtype.type(self.alpha)
        for added in bias:
            result += added if self.beta == 1 else added * added.dtype.type(self.beta)
        return result

    def native_opset(self, x: TensorType, *others: TensorType) -> int:
        return 17 if x.dtype in (DType.F32, DType.F64) else 0

    def lower(self, emit: Emit, x: str, y: str, *bias: str) -> str:
        flags = {"transA": int(self.left_transposed), "transB": int(self.right_transposed)}
        return emit("Gemm", x, y, *bias, alpha=float(self.alpha), beta=float(self.beta), **flags)

    def flops(self, x: TensorType, y: TensorType, *bias: TensorType) -> Size:
        inner = x.shape[0 if self.left_transposed else 1]
        result = self.infer(x, y, *bias).elements
        return result * inner * 2 + result * len(bias)
