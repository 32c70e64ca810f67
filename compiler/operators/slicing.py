"""Parts of tensors, and tensors with something around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from compiler.attribute_kinds import TEXT, Axes, Bounds, Extents, Integers, Number
from compiler.dims import Size, Symbol
from compiler.graph import Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.making import flip, padded_part, reshape, sum_, unsqueeze
from compiler.operators.orders import lower_range
from compiler.operators.shaping import DataMovement
from compiler.types import DType, TensorType, TypeMismatch
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Slice(DataMovement):
    """`x[start:stop:step]` along each of `axes`.

    A bound may be omitted (None) or count from the end (negative). Bounds must lie within the axis: what NumPy would
    clip silently is an error, when the model is checked if the sizes are known, otherwise when it runs.
    """

    name = "slice"
    positions = "some"
    views_operand = True
    axes: Axes
    starts: Bounds
    stops: Bounds
    steps: Integers = ()  # empty for 1 everywhere

    def keeps_last_axis(self, x: TensorType) -> bool:
        return all(cut[0] != x.rank - 1 or cut[1:] == (0, x.shape[-1], 1) for cut in self.bounds(x))

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, axis) for axis in operands[0].distinct_axes(self.axes))

    def infer(self, x: TensorType) -> TensorType:
        shape = list(x.shape)
        for axis, start, stop, step in self.bounds(x):
            shape[axis] = _count((axis, start, stop, step))
        return x.with_shape(*shape)

    def bounds(self, x: TensorType) -> list[tuple[int, Size, Size, int]]:
        """Axis, start, stop and step of each cut, counted from the front."""
        axes = x.distinct_axes(self.axes)
        steps = self.steps or (1,) * len(axes)
        if not len(axes) == len(self.starts) == len(self.stops) == len(steps):
            raise TypeMismatch(f"a slice of {len(axes)} axes needs as many starts, stops and steps")
        cuts: list[tuple[int, Size, Size, int]] = []
        for axis, start, stop, step in zip(axes, self.starts, self.stops, steps, strict=True):
            if step < 1:
                raise TypeMismatch(f"a slice cannot step by {step}", f"reverse it: `flip(x, axes: [{axis}])`")
            size = x.shape[axis]
            first, last = _from_front(start, size, 0), _from_front(stop, size, size)
            if _negative(first) or _negative(last - first) or _negative(size - last):
                text = f"{'' if start is None else start}:{'' if stop is None else stop}"
                raise TypeMismatch(f"`{text}` is out of range for axis {axis} of {x}", f"the axis has {size} elements")
            cuts.append((axis, first, last, step))
        return cuts

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        (x,) = operands
        rank = x.type.rank - 1
        return self.replace(axes=tuple(axis % rank + 1 for axis in self.axes))(x)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        needed = window
        cuts: list[tuple[int, Size, Size, int]] = []
        for cut_axis, start, stop, step in self.bounds(x.type):
            if cut_axis != axis:
                cuts.append((cut_axis, window.bound(start), window.bound(stop), step))
            elif step == 1 and isinstance(start, int) and window.extended(start).within(x.shape[axis]):
                needed = window.extended(start)
                cuts.append((cut_axis, start, start + window.size, 1))
            else:
                return None
        axes, starts, stops, steps = zip(*cuts, strict=True) if cuts else ((),) * 4
        return Slice(axes, starts, stops, steps)(needed.of(x, axis))

    def compute(self, x: Array) -> Array:
        cuts = [slice(None)] * x.ndim
        for axis, start, stop, step in self.bounds(TensorType(DType.F32, x.shape)):
            cuts[axis] = slice(start, stop, step)
        return x[tuple(cuts)]

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        rank = x.type.rank
        before: list[Size] = [0] * rank
        after: list[Size] = [0] * rank
        for axis, start, stop, step in self.bounds(x.type):
            if step > 1:
                grad, stop = _insert_zeros(grad, axis, step), start + (grad.shape[axis] - 1) * step + 1
            before[axis], after[axis] = start, x.shape[axis] - stop
        return (Pad(tuple(before), tuple(after))(grad),)

    def lower(self, emit: Emit, x: str) -> str:
        """ONNX clips bounds silently: where they may lie outside the axis, the run has to fail instead."""
        cuts = self.bounds(emit.type(x))
        shape, result = emit.type(x).shape, x
        # A range whose length is known only at run time goes through Gather, which refuses an index out of range.
        ranges = [cut for cut in cuts if _may_be_outside(cut, shape) and not isinstance(_count(cut), int)]
        for axis, start, stop, step in ranges:
            result = emit("Gather", result, lower_range(emit, start, stop, step), axis=axis)
        cuts = [cut for cut in cuts if cut not in ranges]
        if not cuts:
            return result if ranges else emit("Identity", x)
        axes, starts, stops, steps = zip(*cuts, strict=True)
        # A stop at the end of the axis is written as the largest integer, so that the size need not be computed.
        end = emit.target.largest_index
        ends = [end if stop == shape[axis] else stop for axis, stop in zip(axes, stops, strict=True)]
        numbers, strides = np.array(axes, np.int64), np.array(steps, np.int64)
        result = emit("Slice", result, emit.sizes(starts), emit.sizes(ends), numbers, strides)
        unsure = {cut[0]: _count(cut) for cut in cuts if _may_be_outside(cut, shape)}
        if not unsure:
            return result
        counts = np.array([unsure.get(axis, 0) for axis in range(len(shape))], np.int64)
        return emit.keep(emit("Reshape", result, counts))


def _from_front(bound: Size | None, size: Size, absent: Size) -> Size:
    if bound is None:
        return absent
    return size + bound if _negative(bound) else bound


def _negative(size: Size) -> bool:
    """Whether a size is negative for all values of its named dims, each of which is at least 1."""
    if isinstance(size, int):
        return size < 0
    most = 0
    for monomial, factor in size.terms:
        if monomial and factor > 0:
            return False  # without bound
        if all(isinstance(atom, Symbol) for atom, _ in monomial):
            most += factor
    return most < 0


def _may_be_outside(cut: tuple[int, Size, Size, int], shape: tuple[Size, ...]) -> bool:
    axis, start, stop, _ = cut
    return not all(_negative(-1 - margin) for margin in (start, stop - start, shape[axis] - stop))


def _count(cut: tuple[int, Size, Size, int]) -> Size:
    _, start, stop, step = cut
    return (stop - start + step - 1) // step


def _insert_zeros(grad: Value, axis: int, step: int) -> Value:
    """`grad` with `step - 1` zeros between neighbours along an axis."""
    size = grad.shape[axis]
    apart = unsqueeze(grad, (axis + 1,))
    zeros = tuple(step - 1 if index == axis + 1 else 0 for index in range(apart.type.rank))
    padded = Pad((0,) * apart.type.rank, zeros)(apart)
    shape = (*grad.shape[:axis], size * step, *grad.shape[axis + 1 :])
    return Slice((axis,), (0,), ((size - 1) * step + 1,))(reshape(padded, shape))


class Pad(DataMovement):
    """`before[i]` and `after[i]` new elements around axis `i`, for every axis.

    They are `value` where `mode` is "constant"; "edge" repeats the outermost element, and "reflect" mirrors the
    elements inside it.
    """

    name = "pad"
    before: Extents
    after: Extents
    value: Number = 0.0
    mode: Annotated[Literal["constant", "reflect", "edge"], TEXT] = "constant"

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        return ()

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((0, axis) for axis in range(operands[0].rank) if self.before[axis] != 0 or self.after[axis] != 0)

    def infer(self, x: TensorType) -> TensorType:
        if not len(self.before) == len(self.after) == x.rank:
            raise TypeMismatch(
                f"{x} has {x.rank} axes, but there are {len(self.before)} sizes before and {len(self.after)} after",
                "give a size before and after every axis, 0 where nothing is added",
            )
        if self.mode not in ("constant", "reflect", "edge"):
            raise TypeMismatch(f"`{self.mode}` is not a padding mode", 'use "constant", "reflect" or "edge"')
        if self.value != 0 and (x.dtype is DType.BOOL or not x.dtype.holds(self.value)):
            raise TypeMismatch(f"{x} cannot be padded with {self.value}", f"use a number that {x.dtype} can represent")
        for axis, (size, before, after) in enumerate(zip(x.shape, self.before, self.after, strict=True)):
            if _negative(before) or _negative(after):
                raise TypeMismatch(
                    f"axis {axis} of {x} cannot be padded by {before} and {after}", "use a slice to cut it"
                )
            if self.mode == "reflect" and (_negative(size - 1 - before) or _negative(size - 1 - after)):
                raise TypeMismatch(f"axis {axis} of {x} is too short to reflect {before} before and {after} after it")
        return x.with_shape(*(a + b + c for a, b, c in zip(self.before, x.shape, self.after, strict=True)))

    def compute(self, x: Array) -> Array:
        if self.mode == "constant":  # np.pad's own loop over axes costs more than the copy
            inside = tuple(slice(start, start + size) for start, size in zip(self.before, x.shape, strict=True))
            result = np.full(self.infer(TensorType(DType.of(x), x.shape)).shape, self.value, x.dtype)  # type: ignore[type-var]
            result[inside] = x
            return result
        return np.pad(x, list(zip(self.before, self.after, strict=True)), mode=self.mode)  # type: ignore[arg-type]

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        for axis in range(x.type.rank):
            if self.before[axis] == 0 and self.after[axis] == 0:
                continue
            grad = self._fold_padding(grad, x, axis)
        return (grad,)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        before, after = self.before[axis], self.after[axis]
        result: Value | None = None
        if before == after == 0:
            result = window.of(x, axis)
        elif self.mode == "constant" and isinstance(before, int) and window.within(before + x.shape[axis]):
            result = padded_part(window, axis, x, before, self.value)
        befores, afters = (
            tuple(0 if index == axis else window.bound(size) for index, size in enumerate(sizes))
            for sizes in (self.before, self.after)
        )
        if result is None or not any(size != 0 for size in (*befores, *afters)):
            return result
        return self.replace(before=befores, after=afters)(result)

    def _fold_padding(self, grad: Value, x: Value, axis: int) -> Value:
        """The gradient with respect to `x` before its padding along one axis."""
        size, before, after = x.shape[axis], self.before[axis], self.after[axis]

        def part(start: Size, stop: Size) -> Value:
            return Slice((axis,), (start,), (stop,))(grad)

        def placed(piece: Value, start: Size) -> Value:
            zeros = (0,) * piece.type.rank
            rest = size - start - piece.shape[axis]
            return Pad((*zeros[:axis], start, *zeros[axis + 1 :]), (*zeros[:axis], rest, *zeros[axis + 1 :]))(piece)

        inner = part(before, before + size)
        if self.mode == "constant":
            return inner
        head, tail = part(0, before), part(before + size, before + size + after)
        if self.mode == "edge":
            if before != 0:
                inner = inner + placed(sum_(head, (axis,), keep=True), 0)
            return inner + placed(sum_(tail, (axis,), keep=True), size - 1) if after != 0 else inner
        if before != 0:
            inner = inner + placed(flip(head, (axis,)), 1)
        return inner + placed(flip(tail, (axis,)), size - 1 - after) if after != 0 else inner

    def lower(self, emit: Emit, x: str) -> str:
        if not self.before:
            return emit("Identity", x)
        value = np.array(self.value, emit.type(x).dtype.numpy) if self.mode == "constant" else None
        return emit("Pad", x, emit.sizes((*self.before, *self.after)), value, mode=self.mode)
