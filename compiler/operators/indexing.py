"""Operators on indices: gathering, scattering, one-hot encoding and ranges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from compiler.attribute_kinds import TEXT, Axis, ElementType, Extent
from compiler.dims import Size
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.leaves import size_of
from compiler.operators.making import cast, filled, transpose, unsqueeze
from compiler.operators.orders import lower_positions
from compiler.operators.shaping import DataMovement
from compiler.types import DType, TensorType, TypeMismatch, same_dtype
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

Combine = Annotated[Literal["none", "add"], TEXT]


class Indexed(DataMovement):
    """An operator with an operand of indices, i32 or i64; negative ones count from the end."""

    index_operands = ("indices",)

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        return operands[:1]

    def check_indices(self, indices: TensorType) -> None:
        """TypeMismatch for indices that are not i32 or i64."""
        if indices.dtype not in (DType.I32, DType.I64):
            raise TypeMismatch(f"the indices must be i32 or i64, not {indices}", "convert it: `cast(x, i64)`")


class Take(Indexed):
    """The elements of `x` at `indices` along `axis`: the shape of `indices` replaces the axis."""

    name = "take"
    axis: Axis = 0

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, operands[0].axis(self.axis)),)

    def lookup(self, *operands: Value) -> tuple[Value, Size | tuple[Size, ...]] | None:
        x, indices, *_ = operands
        return indices, x.shape[self.axis]

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        self.check_indices(indices)
        axis = x.axis(self.axis)
        return x.with_shape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])

    def compute(self, x: Array, indices: Array) -> Array:
        return np.asarray(np.take(x, indices, self.axis))

    def pullback(self, grad: Value, x: Value, indices: Value, *, result: Value) -> tuple[Value, None]:
        axis, rank = x.type.axis(self.axis), indices.type.rank
        # The axis is moved to the front, where rows are added, and back.
        forward = (*range(axis, axis + rank), *range(axis), *range(axis + rank, grad.type.rank))
        back = (*range(1, axis + 1), 0, *range(axis + 1, x.type.rank))
        rows = transpose(grad, forward) if axis else grad
        zeros = filled(0, x.type.with_shape(x.shape[axis], *x.shape[:axis], *x.shape[axis + 1 :]))
        total = ScatterNd("add")(zeros, unsqueeze(indices, (-1,)), rows)
        return (transpose(total, back) if axis else total), None

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        x, indices = operands
        if mapped[0] or self.axis % x.type.rank:
            return None
        return self(x, indices)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        x, indices = operands
        first, last = x.type.axis(self.axis), x.type.axis(self.axis) + indices.type.rank
        if first <= axis < last:
            gathered = self(window.whole(x), window.of(indices, axis - first))
        else:
            gathered = self(window.of(x, axis if axis < first else axis - indices.type.rank + 1), window.whole(indices))
        return gathered

    def lower(self, emit: Emit, x: str, indices: str) -> str:
        return emit("Gather", x, indices, axis=emit.type(x).axis(self.axis))


class GatherElements(Indexed):
    """At each position the element of `x` there, but with the index along `axis` taken from `indices`."""

    name = "gather_elements"
    axis: Axis = -1

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, operands[0].axis(self.axis)),)

    def lookup(self, *operands: Value) -> tuple[Value, Size | tuple[Size, ...]] | None:
        x, indices, *_ = operands
        return indices, x.shape[self.axis]

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        self.check_indices(indices)
        _check_same_but_for_axis(x, indices, x.axis(self.axis))
        return x.with_shape(*indices.shape)

    def compute(self, x: Array, indices: Array) -> Array:
        return np.take_along_axis(x, indices, self.axis)

    def pullback(self, grad: Value, x: Value, indices: Value, *, result: Value) -> tuple[Value, None]:
        return ScatterElements(self.axis, "add")(filled(0, x.type), indices, grad), None

    def lower(self, emit: Emit, x: str, indices: str) -> str:
        return emit("GatherElements", x, indices, axis=emit.type(x).axis(self.axis))


class ScatterElements(Indexed):
    """`x` with `updates` written at `indices` along `axis`, or added there where `reduction` is "add"."""

    name = "scatter_elements"
    wide = True
    axis: Axis = -1
    reduction: Combine = "none"

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        return ()

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, operands[0].axis(self.axis)),)

    def lookup(self, *operands: Value) -> tuple[Value, Size | tuple[Size, ...]] | None:
        x, indices, *_ = operands
        return indices, x.shape[self.axis]

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        self.check_indices(indices)
        same_dtype(x, updates)
        _check_reduction(self.reduction, x)
        _check_same_but_for_axis(x, indices, x.axis(self.axis))
        if updates.shape != indices.shape:
            raise TypeMismatch(f"updates {updates} for indices {indices}", "their shapes must be the same")
        return x

    def compute(self, x: Array, indices: Array, updates: Array) -> Array:
        result = x.copy()
        if self.reduction == "none":
            np.put_along_axis(result, indices, updates, self.axis)
            return result
        positions = list(np.ogrid[tuple(slice(size) for size in indices.shape)])
        positions[self.axis] = _from_front(indices, x.shape[self.axis])
        flat = np.ravel_multi_index(np.broadcast_arrays(*positions), x.shape)
        np.add.at(result.reshape(-1), flat.reshape(-1), updates.reshape(-1))
        return result

    def pullback(
        self, grad: Value, x: Value, indices: Value, updates: Value, *, result: Value
    ) -> tuple[Value, None, Value]:
        kept = grad if self.reduction == "add" else self(grad, indices, filled(0, updates.type))
        return kept, None, GatherElements(self.axis)(grad, indices)

    def lower(self, emit: Emit, x: str, indices: str, updates: str) -> str:
        attributes: dict[str, int | str] = {"axis": emit.type(x).axis(self.axis), "reduction": self.reduction}
        return _lower_scatter(emit, "ScatterElements", x, indices, updates, attributes)


class GatherNd(Indexed):
    """The parts of `x` at indices into its first axes: the last axis of `indices` holds one index for each of them."""

    name = "gather_nd"

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, axis) for axis in range(operands[0].rank))

    def lookup(self, *operands: Value) -> tuple[Value, Size | tuple[Size, ...]] | None:
        x, indices, *_ = operands
        return indices, x.shape[: _depth(x.type, indices.type)]

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        self.check_indices(indices)
        depth = _depth(x, indices)
        return x.with_shape(*indices.shape[:-1], *x.shape[depth:])

    def compute(self, x: Array, indices: Array) -> Array:
        return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))])

    def pullback(self, grad: Value, x: Value, indices: Value, *, result: Value) -> tuple[Value, None]:
        return ScatterNd("add")(filled(0, x.type), indices, grad), None

    def lower(self, emit: Emit, x: str, indices: str) -> str:
        return emit("GatherND", x, _to_i64(emit, indices))


class ScatterNd(Indexed):
    """`x` with `updates` written where `gather_nd` would read, or added there where `reduction` is "add"."""

    name = "scatter_nd"
    wide = True
    reduction: Combine = "none"

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        return ()

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, axis) for axis in range(operands[0].rank))

    def lookup(self, *operands: Value) -> tuple[Value, Size | tuple[Size, ...]] | None:
        x, indices, *_ = operands
        return indices, x.shape[: _depth(x.type, indices.type)]

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        self.check_indices(indices)
        same_dtype(x, updates)
        _check_reduction(self.reduction, x)
        expected = x.with_shape(*indices.shape[:-1], *x.shape[_depth(x, indices) :])
        if updates != expected:
            raise TypeMismatch(f"indices {indices} into {x} need updates {expected}, not {updates}")
        return x

    def compute(self, x: Array, indices: Array, updates: Array) -> Array:
        result = x.copy()
        if self.reduction == "none":
            result[tuple(np.moveaxis(indices, -1, 0))] = updates
            return result
        depth = indices.shape[-1]
        heads, width = x.shape[:depth], math.prod(x.shape[depth:])
        columns = zip(np.moveaxis(indices.reshape(-1, depth), -1, 0), heads, strict=True)
        rows = np.ravel_multi_index(tuple(_from_front(column, size) for column, size in columns), heads)
        # Flat: `add.at` has a fast path for one axis, up to six times as fast as its own adding of rows.
        flat = (rows[:, None] * width + np.arange(width)).reshape(-1)
        np.add.at(result.reshape(-1), flat, updates.reshape(-1))
        return result

    def pullback(
        self, grad: Value, x: Value, indices: Value, updates: Value, *, result: Value
    ) -> tuple[Value, None, Value]:
        kept = grad if self.reduction == "add" else self(grad, indices, filled(0, updates.type))
        return kept, None, GatherNd()(grad, indices)

    def lower(self, emit: Emit, x: str, indices: str, updates: str) -> str:
        return _lower_scatter(emit, "ScatterND", x, _to_i64(emit, indices), updates, {"reduction": self.reduction})


class OneHot(Operator):
    """1 at the index that `indices` holds along a new `axis` of length `depth`, 0 elsewhere."""

    name = "one_hot"
    index_operands = ("indices",)
    depth: Extent
    axis: Axis = -1
    dtype: ElementType = DType.F32

    def lookup(self, *operands: Value) -> tuple[Value, Size | tuple[Size, ...]] | None:
        return operands[0], self.depth

    def infer(self, indices: TensorType) -> TensorType:
        if not indices.dtype.is_integer:
            raise TypeMismatch(f"the indices must be integers, not {indices}", "convert it: `cast(x, i64)`")
        if isinstance(self.depth, int) and self.depth < 1:
            raise TypeMismatch(f"the depth must be at least 1, not {self.depth}")
        axis = indices.axis(self.axis, among=indices.rank + 1)
        return TensorType(self.dtype, (*indices.shape[:axis], self.depth, *indices.shape[axis:]))

    def compute(self, indices: Array) -> Array:
        axis = self.axis % (indices.ndim + 1)
        positions = np.arange(self.depth).reshape(-1, *(1,) * (indices.ndim - axis))  # type: ignore[arg-type]
        result: Array = np.equal(np.expand_dims(indices, axis), positions).astype(self.dtype.numpy)
        return result

    def pullback(self, grad: Value, indices: Value, *, result: Value) -> tuple[None]:
        return (None,)

    def lower(self, emit: Emit, indices: str) -> str:
        # ONNX's OneHot lacks kernels for most dtypes, and counts negative indices from the end.
        rank = emit.type(indices).rank
        axis = self.axis % (rank + 1)
        positions = lower_positions(emit, self.depth)
        after = tuple(range(1, rank - axis + 1))
        positions = emit("Unsqueeze", positions, np.array(after, np.int64)) if after else positions
        equal = emit("Equal", emit("Unsqueeze", _to_i64(emit, indices), np.array([axis])), positions)
        return emit("Cast", equal, to=self.dtype.onnx)


class Iota(Operator):
    """The numbers from 0 to `size - 1`."""

    name = "iota"
    size: Extent
    dtype: ElementType = DType.I64

    def infer(self) -> TensorType:
        if self.dtype == DType.BOOL:
            raise TypeMismatch("the dtype must be a number type, not bool", "the default is i64")
        if isinstance(self.size, int) and self.size < 0:
            raise TypeMismatch(f"the size must be at least 0, not {self.size}")
        return TensorType(self.dtype, (self.size,))

    def compute(self) -> Array:
        return np.arange(self.size).astype(self.dtype.numpy)  # type: ignore[arg-type]

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        return cast(Iota(window.size)() + size_of(window.start), self.dtype)

    def pullback(self, grad: Value, *, result: Value) -> tuple[()]:
        return ()

    def lower(self, emit: Emit) -> str:
        numbers = lower_positions(emit, self.size)
        return numbers if self.dtype == DType.I64 else emit("Cast", numbers, to=self.dtype.onnx)

    def flops(self) -> Size:
        return 0


def _lower_scatter(
    emit: Emit, onnx_type: str, x: str, indices: str, updates: str, attributes: dict[str, int | str]
) -> str:
    """An ONNX scatter; in f32 for f16, which onnxruntime's kernel cannot add."""
    if emit.type(x).dtype != DType.F16 or attributes["reduction"] == "none":
        return emit(onnx_type, x, indices, updates, **attributes)
    wide, more = (emit("Cast", operand, to=DType.F32.onnx) for operand in (x, updates))
    return emit("Cast", emit(onnx_type, wide, indices, more, **attributes), to=DType.F16.onnx)


def _to_i64(emit: Emit, indices: str) -> str:
    return indices if emit.type(indices).dtype == DType.I64 else emit("Cast", indices, to=DType.I64.onnx)


def _check_reduction(reduction: str, x: TensorType) -> None:
    if reduction not in ("none", "add"):
        raise TypeMismatch(f"`{reduction}` is not a reduction of a scatter", 'use "none" or "add"')
    if reduction == "add" and x.dtype == DType.BOOL:
        raise TypeMismatch(f"{x} cannot be added to", "convert it: `cast(x, i64)`")


def _check_same_but_for_axis(x: TensorType, indices: TensorType, axis: int) -> None:
    agree = x.rank == indices.rank and all(
        a == b for index, (a, b) in enumerate(zip(x.shape, indices.shape, strict=True)) if index != axis
    )
    if not agree:
        raise TypeMismatch(f"indices {indices} do not fit {x}", f"the shapes must agree in every axis but axis {axis}")


def _depth(x: TensorType, indices: TensorType) -> int:
    depth = indices.shape[-1] if indices.rank else None
    if not isinstance(depth, int) or not 1 <= depth <= x.rank:
        raise TypeMismatch(
            f"{indices} does not index {x}",
            f"the last axis of the indices holds one index for each axis: its length must be 1 to {x.rank}",
        )
    return depth


def _from_front(indices: Array, size: int) -> Array:
    """Indices counted from the front; IndexError for one outside the axis."""
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        raise IndexError(f"index {indices.min() if indices.min() < -size else indices.max()} of an axis of {size}")
    return np.where(indices < 0, indices + size, indices)
