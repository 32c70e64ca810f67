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
        exp = np.exp(x - np.max(x, axis=self.axis, keepdims=True, initial=-np.inf))
        exp /= np.sum(exp, axis=self.axis, keepdims=True)
        return np.asarray(exp)

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
        shifted = x - np.max(x, axis=self.axis, keepdims=True, initial=-np.inf)
        return np.asarray(shifted - np.log(np.sum(np.exp(shifted), axis=self.axis, keepdims=True)))

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad - Softmax(self.axis)(x) * sum_(grad, (self.axis,), keep=True),)

    def lower(self, emit: Emit, x: str) -> str:
        axis = emit.type(x).axis(self.axis)
        if emit.type(x).dtype != DType.F64:
            return emit("LogSoftmax", x, axis=axis)
        # In a row with an infinity onnxruntime's kernel for f64 gives -inf instead of NaN; its softmax does not.
        total = emit("ReduceSum", emit("Softmax", x, axis=axis), np.array([axis], np.int64), keepdims=1)
        return emit("Add", emit("LogSoftmax", x, axis=axis), emit("Sub", total, total))
