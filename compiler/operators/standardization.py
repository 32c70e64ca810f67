"""The normalisations of training: what their gradients need comes out of the forward operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.attribute_kinds import Axis, Flag, Number
from compiler.dims import Size, product
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.layer_normalization import lower_mean, ones
from compiler.operators.making import count_of, sum_
from compiler.operators.row_reductions import row_means
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Standardization(Operator):
    """x over its root mean square on the axes from `axis` on, `centred` or not, and the reciprocal of that root.

    The root is sqrt(mean(x**2) + eps), and of x less its mean if `centred`. A pass creates it before a loss is
    differentiated: the gradient of x is in terms of the two results (Ba et al. 2016), and x itself need not be kept.
    """

    name = "standardization"
    public = False
    axis: Axis = -1
    eps: Number = 1e-5
    centred: Flag = True

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        if x.dtype not in (DType.F32, DType.F64):
            raise TypeMismatch(f"expected floats of 32 or 64 bits, got {x}")
        axis = x.axis(self.axis)
        return x, x.with_shape(*x.shape[:axis], *(1,) * (x.rank - axis))

    def compute(self, x: Array) -> tuple[Array, Array]:
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        normal = x - row_means(x, axes) if self.centred else x
        squares = np.square(normal)
        inverse = row_means(squares, axes)
        inverse += x.dtype.type(self.eps)
        np.sqrt(inverse, out=inverse)
        np.reciprocal(inverse, out=inverse)
        return np.multiply(normal, inverse, out=squares), inverse

    def pullback(
        self, grad: tuple[Value | None, Value | None], x: Value, *, result: tuple[Value, Value]
    ) -> tuple[Value | None]:
        by_normal, by_inverse = grad
        normal, inverse = result
        axes = tuple(range(x.type.axis(self.axis), x.type.rank))
        count = count_of(product(x.shape[axis] for axis in axes), x.type.dtype)
        total = None
        if by_normal is not None:
            along = sum_(by_normal * normal, axes, keep=True) / count
            total = (by_normal - normal * along) * inverse
            if self.centred:  # last, as in the equations: an infinite gradient gives NaN where it does in theirs
                total = total - sum_(total, axes, keep=True) / count
        if by_inverse is not None:  # of second derivatives
            by_root = -(normal * (by_inverse * inverse * inverse / count))
            total = by_root if total is None else total + by_root
        return (total,)

    def lower(self, emit: Emit, x: str) -> tuple[str, str]:
        type = emit.type(x)
        axis = type.axis(self.axis)
        if self.centred and type.dtype is DType.F32:  # onnxruntime has the reciprocal in f32 alone
            scale = ones(emit, type, type.shape[axis:])
            attributes = {"axis": axis, "epsilon": float(self.eps)}
            normal, _, inverse = emit.many(3, "LayerNormalization", x, scale, None, **attributes)
            return normal, inverse
        axes = tuple(range(axis, type.rank))
        centred = emit("Sub", x, lower_mean(emit, x, axes)) if self.centred else x
        variance = lower_mean(emit, emit("Mul", centred, centred), axes)
        root = emit("Sqrt", emit("Add", variance, np.array(self.eps, type.dtype.numpy)))
        inverse = emit("Reciprocal", root)
        return emit("Mul", centred, inverse), inverse

    def flops(self, x: TensorType) -> Size:
        return x.elements * (4 + 2 * self.centred)
