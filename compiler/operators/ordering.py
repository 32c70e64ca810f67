"""Operators along one axis: the positions of its extremes, its largest elements, its running sum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from compiler.attribute_kinds import Axis, Extent, Flag
from compiler.dims import Size
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.making import filled, scatter_elements, slice_
from compiler.types import DType, TensorType, TypeMismatch
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


def _refuse_bool(x: TensorType) -> None:
    if x.dtype == DType.BOOL:
        raise TypeMismatch(f"expected float or int tensors, got {x}", "convert it: `cast(x, i64)`")


class ArgExtremum(Operator):
    """ArgMax or ArgMin."""

    mixed = "operands"
    axis: Axis = -1
    keep: Flag = False
    onnx: ClassVar[str]
    ufunc: ClassVar[str]
    largest: ClassVar[bool]

    @property
    def discontinuous(self) -> bool:
        return True

    def infer(self, x: TensorType) -> TensorType:
        _refuse_bool(x)
        axis = x.axis(self.axis)
        if x.shape[axis] == 0:
            raise TypeMismatch(f"axis {axis} of {x} is empty")
        between = (1,) if self.keep else ()
        return TensorType(DType.I64, (*x.shape[:axis], *between, *x.shape[axis + 1 :]))

    def least_sizes(self, x: TensorType) -> Iterable[tuple[Size, int]]:
        return ((x.shape[x.axis(self.axis)], 1),)

    def compute(self, x: Array) -> Array:
        return np.asarray(getattr(np, self.ufunc)(x, axis=self.axis, keepdims=self.keep), np.int64)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[None]:
        return (None,)

    def lower(self, emit: Emit, x: str) -> str:
        axis = emit.type(x).axis(self.axis)
        if emit.type(x).dtype.is_integer:
            return emit(self.onnx, x, axis=axis, keepdims=int(self.keep))
        # Faster than onnxruntime's own ArgMax, which skips NaN unless it comes first.
        largest = x if self.largest else emit("Neg", x)
        _, positions = emit.many(2, "TopK", largest, np.array([1], np.int64), axis=axis, largest=1, sorted=1)
        return positions if self.keep else emit("Squeeze", positions, np.array([axis], np.int64))

    def flops(self, x: TensorType) -> Size:
        return x.elements


class ArgMax(ArgExtremum):
    """The position of the largest element along `axis`, the first of equals, as i64; NaN counts as the largest."""

    name, onnx, ufunc = "argmax", "ArgMax", "argmax"
    largest = True


class ArgMin(ArgExtremum):
    """The position of the smallest element along `axis`, the first of equals, as i64; NaN counts as the smallest."""

    name, onnx, ufunc = "argmin", "ArgMin", "argmin"
    largest = False


class CumSum(Operator):
    """The running sum along `axis`: without the element itself where `exclusive`, from the end where `reverse`."""

    name = "cumsum"
    wide = True
    axis: Axis = -1
    exclusive: Flag = False
    reverse: Flag = False

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, operands[0].axis(self.axis)),)

    def infer(self, x: TensorType) -> TensorType:
        _refuse_bool(x)
        x.axis(self.axis)
        return x

    def compute(self, x: Array) -> Array:
        forward = np.flip(x, self.axis) if self.reverse else x
        result = np.cumsum(forward, self.axis, dtype=x.dtype)
        if self.exclusive:  # not `found - x`, which would lose digits
            moved = np.moveaxis(np.zeros_like(result), self.axis, 0)
            moved[1:] = np.moveaxis(result, self.axis, 0)[:-1]
            result = np.moveaxis(moved, 0, self.axis)
        return np.flip(result, self.axis) if self.reverse else result

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (CumSum(self.axis, self.exclusive, not self.reverse)(grad),)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        if axis != x.type.axis(self.axis):
            return self(window.of(x, axis))
        if self.reverse:
            return None

        def sums(total: Value, window: Window) -> Value:
            here = self(window.of(x, axis))
            return here + total

        def following(total: Value, window: Window) -> Value:
            return slice_(CumSum(axis)(window.of(x, axis)) + total, (axis,), (-1,), (None,))

        return window.carry(filled(0, x.type.with_shape(*x.shape[:axis], 1, *x.shape[axis + 1 :])), sums, following)

    def lower(self, emit: Emit, x: str) -> str:
        dtype = emit.type(x).dtype
        flags = {"exclusive": int(self.exclusive), "reverse": int(self.reverse)}
        axis = np.array(self.axis, np.int64)
        if dtype not in (DType.I8, DType.U8):
            return emit("CumSum", x, axis, **flags)
        wide = emit("CumSum", emit("Cast", x, to=DType.I32.onnx), axis, **flags)
        return emit("Cast", wide, to=dtype.onnx)


class TopK(Operator):
    """The `k` largest elements along `axis`, the largest first, and their positions as i64, the first of equals first.

    NaN counts as the largest, as in PyTorch.
    """

    name = "top_k"
    mixed = "operands"
    k: Extent
    axis: Axis = -1

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, operands[0].axis(self.axis)),)

    @property
    def discontinuous(self) -> bool:
        return True

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        _refuse_bool(x)
        axis = x.axis(self.axis)
        room = x.shape[axis] - self.k
        if (isinstance(self.k, int) and self.k < 1) or (isinstance(room, int) and room < 0):
            raise TypeMismatch(f"cannot take {self.k} elements of axis {axis} of {x}")
        values = x.with_shape(*x.shape[:axis], self.k, *x.shape[axis + 1 :])
        return values, values.with_dtype(DType.I64)

    def least_sizes(self, x: TensorType) -> Iterable[tuple[Size, int]]:
        return ((x.shape[x.axis(self.axis)] - self.k, 0),)

    def compute(self, x: Array) -> tuple[Array, Array]:
        # Descending and stable; integers are inverted, since the lowest one has no negative.
        descending = np.invert(x) if x.dtype.kind in "iu" else -x
        order = np.argsort(descending, self.axis, kind="stable")
        if x.dtype.kind not in "iu" and (unordered := np.isnan(x)).any():  # NumPy has them last
            order = np.lexsort((descending, ~unordered), self.axis)
        positions = np.moveaxis(np.moveaxis(order, self.axis, 0)[: self.k], 0, self.axis).astype(np.int64)
        return np.take_along_axis(x, positions, self.axis), positions

    def pullback(
        self, grad: tuple[Value | None, Value | None], x: Value, *, result: tuple[Value, Value]
    ) -> tuple[Value | None]:
        if grad[0] is None:
            return (None,)
        return (scatter_elements(filled(0, x.type), result[1], grad[0], self.axis, "add"),)

    def lower(self, emit: Emit, x: str) -> tuple[str, ...]:
        return emit.many(2, "TopK", x, emit.sizes((self.k,)), axis=emit.type(x).axis(self.axis), largest=1, sorted=1)
