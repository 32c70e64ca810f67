"""Operators that move elements, or repeat them along new axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from compiler.attribute_kinds import Axes, Axis, Extents, Integers
from compiler.dims import Dim, Size, differ, product, quotient
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.making import aligned, broadcast_part, filled, preceded, slice_, sum_to
from compiler.operators.orders import lower_flip
from compiler.types import TensorType, TypeMismatch, broadcast_shapes, same_dtype
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class DataMovement(Operator):
    """An operator that moves elements and computes nothing."""

    rounds = False
    cheap = True
    mixed = "operands"

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        return operands

    def flops(self, *operands: TensorType) -> Size:
        return 0


class Transpose(DataMovement):
    """Axis `i` of the result is axis `permutation[i]` of `x`."""

    name = "transpose"
    reads_as_operand = True
    positions = "all"
    views_operand = True
    permutation: Integers

    def keeps_last_axis(self, x: TensorType) -> bool:
        return self.permutation[-1] == x.rank - 1

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        yield operands[0], Transpose(tuple(self.permutation.index(axis) for axis in range(result.type.rank)))(result)

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.permutation) != list(range(x.rank)):
            raise TypeMismatch(
                f"{list(self.permutation)} is not a permutation of the {x.rank} axes of {x}",
                f"name each of the axes 0 to {x.rank - 1} once" if x.rank else None,
            )
        return x.with_shape(*(x.shape[axis] for axis in self.permutation))

    def compute(self, x: Array) -> Array:
        return np.transpose(x, self.permutation)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        inverse = tuple(self.permutation.index(axis) for axis in range(x.type.rank))
        return (Transpose(inverse)(grad),)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        return Transpose((0, *(axis + 1 for axis in self.permutation)))(*operands)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        return self(window.of(x, self.permutation[axis]))

    def lower(self, emit: Emit, x: str) -> str:
        return emit("Transpose", x, perm=self.permutation) if self.permutation else emit("Identity", x)


class Reshape(DataMovement):
    """The elements of `x`, row by row, as a tensor of `shape`; one size may be -1: it follows from the others."""

    name = "reshape"
    reads_as_operand = True
    positions = "all"
    states_axes = True
    views_operand = True
    shape: Extents

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        yield operands[0], Reshape(operands[0].shape)(result)

    def infer(self, x: TensorType) -> TensorType:
        return x.with_shape(*self.resolve_shape(x))

    def resolve_shape(self, x: TensorType) -> tuple[Size, ...]:
        """The shape with its -1 replaced."""
        target = f"[{', '.join(map(str, self.shape))}]"
        if any(isinstance(size, int) and size < -1 for size in self.shape) or self.shape.count(-1) > 1:
            raise TypeMismatch(
                f"{target} is not a shape", "at most one size may be -1, and the others must be 0 or more"
            )
        if -1 not in self.shape:
            if product(self.shape) != x.elements:
                raise TypeMismatch(
                    f"{x} does not reshape to {target}: {_describe_counts(x.elements, product(self.shape))}"
                )
            return self.shape
        rest = product(size for size in self.shape if size != -1)
        if rest == 0:
            raise TypeMismatch(f"{x} does not reshape to {target}: -1 is ambiguous next to a size of 0")
        whole = quotient(x.elements, rest)
        if whole * rest != x.elements:
            raise TypeMismatch(
                f"{x} does not reshape to {target}: {x.elements} is not known to be a multiple of {rest}"
            )
        return tuple(whole if size == -1 else size for size in self.shape)

    def compute(self, x: Array) -> Array:
        return np.reshape(x, self.shape)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (Reshape(x.shape)(grad),)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        if -1 in self.shape:
            return None
        return Reshape((length, *self.shape))(*operands)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        shape = self.resolve_shape(x.type)
        for x_axis, size in enumerate(x.shape):  # the axis that stays, with as many elements before it
            if size == shape[axis] and product(x.shape[:x_axis]) == product(shape[:axis]):
                bound = [window.bound(extent) for extent in shape]
                return Reshape((*bound[:axis], window.size, *bound[axis + 1 :]))(window.of(x, x_axis))
        return None

    def lower(self, emit: Emit, x: str) -> str:
        source = emit.type(x)
        shape = self.resolve_shape(source)
        if 0 in shape:
            return emit("Reshape", x, emit.sizes(shape), allowzero=1)
        # ONNX's 0 copies the size of the same axis and its -1 follows from the others: with them, most shapes with
        # named dims are constants.
        kept = [
            0 if isinstance(size, Dim) and axis < source.rank and source.shape[axis] == size else size
            for axis, size in enumerate(shape)
        ]
        unknown = [axis for axis, size in enumerate(kept) if isinstance(size, Dim)]
        if len(unknown) == 1:
            kept[unknown[0]] = -1
        return emit("Reshape", x, emit.sizes(kept if len(unknown) <= 1 else shape))


def _describe_counts(left: Size, right: Size) -> str:
    return f"{left} elements {'are not' if differ(left, right) else 'are not known to be'} {right}"


class Expand(DataMovement):
    """`x` repeated along axes of length 1, or new leading ones, so that it has `shape`."""

    name = "expand"
    reads_as_operand = True
    positions = "all"
    states_axes = True
    views_operand = True
    shape: Extents

    def keeps_last_axis(self, x: TensorType) -> bool:
        return x.shape[-1:] == self.shape[-1:]

    def infer(self, x: TensorType) -> TensorType:
        try:
            fits = broadcast_shapes(x.shape, self.shape) == self.shape
        except TypeMismatch:
            fits = False
        if not fits or any(isinstance(size, int) and size < 0 for size in self.shape):
            raise TypeMismatch(
                f"{x} does not expand to [{', '.join(map(str, self.shape))}]", "only axes of length 1 can be repeated"
            )
        return x.with_shape(*self.shape)

    def compute(self, x: Array) -> Array:
        return np.broadcast_to(x, self.shape)  # type: ignore[arg-type]

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (sum_to(x.type, grad),)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        (x,) = operands
        return Expand((length, *self.shape))(aligned(x, len(self.shape)))

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        shape = [window.bound(size) for size in self.shape]
        part = broadcast_part(window, axis, x, len(shape))
        return Expand((*shape[:axis], window.size, *shape[axis + 1 :]))(part)

    def lower(self, emit: Emit, x: str) -> str:
        return emit("Expand", x, emit.sizes(self.shape))


class Squeeze(DataMovement):
    """`x` without `axes`, which must have length 1."""

    name = "squeeze"
    reads_as_operand = True
    positions = "all"
    views_operand = True
    axes: Axes

    def keeps_last_axis(self, x: TensorType) -> bool:
        return all(axis % x.rank != x.rank - 1 for axis in self.axes)

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        yield operands[0], Reshape(operands[0].shape)(result)

    def infer(self, x: TensorType) -> TensorType:
        dropped = x.distinct_axes(self.axes)
        for axis in dropped:
            if x.shape[axis] != 1:
                raise TypeMismatch(
                    f"axis {axis} of {x} has length {x.shape[axis]}", "only axes of length 1 can be squeezed"
                )
        return x.with_shape(*(size for axis, size in enumerate(x.shape) if axis not in dropped))

    def compute(self, x: Array) -> Array:
        return np.squeeze(x, self.axes)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (Unsqueeze(x.type.distinct_axes(self.axes))(grad),)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        (x,) = operands
        rank = x.type.rank - 1
        return Squeeze(tuple(axis % rank + 1 for axis in self.axes))(x)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        dropped = x.type.distinct_axes(self.axes)
        kept = [x_axis for x_axis in range(x.type.rank) if x_axis not in dropped]
        return Squeeze(dropped)(window.of(x, kept[axis]))

    def lower(self, emit: Emit, x: str) -> str:
        axes = np.array(emit.type(x).distinct_axes(self.axes), np.int64)
        return emit("Squeeze", x, axes) if self.axes else emit("Identity", x)


class Unsqueeze(DataMovement):
    """`x` with new axes of length 1, which are `axes` of the result."""

    name = "unsqueeze"
    reads_as_operand = True
    positions = "all"
    states_axes = True
    views_operand = True
    axes: Axes

    def keeps_last_axis(self, x: TensorType) -> bool:
        rank = x.rank + len(self.axes)
        return all(axis % rank != rank - 1 for axis in self.axes)

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        yield operands[0], Reshape(operands[0].shape)(result)

    def infer(self, x: TensorType) -> TensorType:
        rank = x.rank + len(self.axes)
        added = x.distinct_axes(self.axes, among=rank)
        sizes = iter(x.shape)
        return x.with_shape(*(1 if axis in added else next(sizes) for axis in range(rank)))

    def compute(self, x: Array) -> Array:
        return np.expand_dims(x, self.axes)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (Squeeze(self.axes)(grad),)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        (x,) = operands
        rank = x.type.rank - 1 + len(self.axes)
        return Unsqueeze(tuple(axis % rank + 1 for axis in self.axes))(x)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        added = x.type.distinct_axes(self.axes, among=x.type.rank + len(self.axes))
        return Unsqueeze(added)(window.of(x, axis - sum(new < axis for new in added)))

    def lower(self, emit: Emit, x: str) -> str:
        type = emit.type(x)
        axes = np.array(type.distinct_axes(self.axes, among=type.rank + len(self.axes)), np.int64)
        return emit("Unsqueeze", x, axes) if self.axes else emit("Identity", x)


class Concat(DataMovement):
    """Tensors joined along `axis`; their other axes must agree."""

    name = "concat"
    positions = "all"
    allocates = True
    axis: Axis = 0

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((index, x.axis(self.axis)) for index, x in enumerate(operands))

    def infer(self, *operands: TensorType) -> TensorType:
        if not operands:
            raise TypeMismatch("expected at least one tensor", "pass a list: `concat([x, y], axis: 0)`")
        first = operands[0]
        dtype = same_dtype(*operands)
        axis = first.axis(self.axis)
        for other in operands[1:]:
            if other.rank != first.rank:
                raise TypeMismatch(
                    f"{first} and {other} cannot be concatenated: they have {first.rank} and {other.rank} axes"
                )
            for other_axis, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)):
                if other_axis != axis and a != b:
                    raise TypeMismatch(
                        f"{first} and {other} cannot be concatenated along axis {axis}: "
                        f"axis {other_axis} is {a} and {b}"
                    )
        total: Size = 0
        for operand in operands:
            total = total + operand.shape[axis]
        return TensorType(dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))

    def compute(self, *operands: Array) -> Array:
        return np.concatenate(operands, self.axis)

    def pullback(self, grad: Value, *operands: Value, result: Value) -> tuple[Value, ...]:
        axis = result.type.axis(self.axis)
        parts: list[Value] = []
        start: Size = 0
        for operand in operands:
            stop = start + operand.shape[axis]
            parts.append(slice_(grad, (axis,), (start,), (stop,)))
            start = stop
        return tuple(parts)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        rank = max(operand.type.rank - axis for axis, operand in zip(mapped, operands, strict=True))
        every = (
            operand if axis else Expand((length, *operand.shape))(operand)
            for axis, operand in zip(mapped, operands, strict=True)
        )
        return Concat(self.axis % rank + 1)(*every)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        if axis != operands[0].type.axis(self.axis):
            return self(*(window.of(operand, axis) for operand in operands))
        *heads, last = operands
        first = Concat(axis)(*heads) if heads else last
        count = first.shape[axis]
        if not heads or not isinstance(count, int) or not window.within(count + last.shape[axis]):
            return None
        return preceded(window, axis, first, last)

    def lower(self, emit: Emit, *operands: str) -> str:
        return emit("Concat", *operands, axis=emit.type(operands[0]).axis(self.axis))


class Split(DataMovement):
    """Consecutive parts of `x` of these sizes along `axis`."""

    name = "split"
    positions = "some"
    views_operand = True
    public = False
    sizes: Extents
    axis: Axis = 0

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, operands[0].axis(self.axis)),)

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        axis = x.axis(self.axis)
        total: Size = 0
        for size in self.sizes:
            total = total + size
        if total != x.shape[axis]:
            raise TypeMismatch(f"the parts add up to {total}, but axis {axis} of {x} has {x.shape[axis]}")
        return tuple(x.with_shape(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in self.sizes)

    def compute(self, x: Array) -> tuple[Array, ...]:
        return tuple(np.split(x, list(accumulate(self.sizes[:-1])), self.axis))  # type: ignore[arg-type]  # bound

    def pullback(self, grad: tuple[Value | None, ...], x: Value, *, result: tuple[Value, ...]) -> tuple[Value]:
        parts = (
            filled(0, part.type) if part_grad is None else part_grad
            for part_grad, part in zip(grad, result, strict=True)
        )
        return (Concat(self.axis)(*parts),)

    def lower(self, emit: Emit, x: str) -> tuple[str, ...]:
        return emit.many(len(self.sizes), "Split", x, emit.sizes(self.sizes), axis=emit.type(x).axis(self.axis))


class Flip(DataMovement):
    """`x` with the order along `axes` reversed."""

    name = "flip"
    positions = "all"
    views_operand = True
    axes: Axes

    def keeps_last_axis(self, x: TensorType) -> bool:
        return all(axis % x.rank != x.rank - 1 for axis in self.axes)

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, axis) for axis in operands[0].distinct_axes(self.axes))

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        yield operands[0], self(result)

    def infer(self, x: TensorType) -> TensorType:
        x.distinct_axes(self.axes)
        return x

    def compute(self, x: Array) -> Array:
        return np.flip(x, self.axes)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (self(grad),)

    def lower(self, emit: Emit, x: str) -> str:
        return lower_flip(emit, x, emit.type(x).distinct_axes(self.axes)) if self.axes else emit("Identity", x)
