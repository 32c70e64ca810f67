"""Softmax and its logarithm, which normalise along an axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from compiler.attribute_kinds import Axis
from compiler.dims import Size
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.making import sum_
from compiler.operators.row_reductions import row_maxima, row_sums
from compiler.types import DType, TensorType, TypeMismatch
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class AlongAxis(Operator):
    """A function of all the items along `axis`."""

    safe_sums = True
    axis: Axis

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, operands[0].axis(self.axis)),)

    def infer(self, x: TensorType) -> TensorType:
        if not x.dtype.is_float:
            raise TypeMismatch(f"expected float tensors, got {x}", "convert it: `cast(x, f32)`")
        x.axis(self.axis)
        return x

    def _shifted(self, x: Array) -> Array:
        """`x` less its largest item along the axis, in a new array."""
        last = self.axis % x.ndim == x.ndim - 1
        return np.asarray(x - (row_maxima(x) if last else np.max(x, axis=self.axis, keepdims=True, initial=-np.inf)))

    def _sums(self, x: Array) -> Array:
        """The sums along the axis, which stays with length 1."""
        last = self.axis % x.ndim == x.ndim - 1
        return row_sums(x) if last else np.asarray(np.sum(x, axis=self.axis, keepdims=True))

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        (x,) = operands
        return self.replace(axis=self.axis % (x.type.rank - 1) + 1)(x)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        if axis == x.type.axis(self.axis):
            return None
        return self(window.of(x, axis))

    def flops(self, x: TensorType) -> Size:
        return 5 * x.elements


class Softmax(AlongAxis):
    """exp(x) over the sum of exp(x) along `axis`, safe from overflow; rows that are all -inf give NaN."""

    name = "softmax"
    wide = True
    axis: Axis = -1

    def compute(self, x: Array) -> Array:
        exp = self._shifted(x)
        np.exp(exp, out=exp)
        exp /= self._sums(exp)
        return exp

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (result * (grad - sum_(grad * result, (self.axis,), keep=True)),)

    def lower(self, emit: Emit, x: str) -> str:
        return emit("Softmax", x, axis=emit.type(x).axis(self.axis))


class LogSoftmax(AlongAxis):
    """The logarithm of softmax along `axis`, exact where softmax itself would round to 0."""

    name = "log_softmax"
    wide = True
    axis: Axis = -1

    def compute(self, x: Array) -> Array:
        shifted = self._shifted(x)
        shifted -= np.log(self._sums(np.exp(shifted)))
        return shifted

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad - Softmax(self.axis)(x) * sum_(grad, (self.axis,), keep=True),)

    def lower(self, emit: Emit, x: str) -> str:
        axis = emit.type(x).axis(self.axis)
        if emit.type(x).dtype != DType.F64:
            return emit("LogSoftmax", x, axis=axis)
        # In a row with an infinity onnxruntime's kernel for f64 gives -inf instead of NaN; its softmax does not.
        total = emit("ReduceSum", emit("Softmax", x, axis=axis), np.array([axis], np.int64), keepdims=1)
        return emit("Add", emit("LogSoftmax", x, axis=axis), emit("Sub", total, total))
