"""Typed constructors: functions that apply an operator to values, so that families need not import one another.

They look up the operator's class in the registry, and import only the sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from compiler.dims import Size
from compiler.graph import Graph, Operand, Operator, Value, apply
from compiler.operators.leaves import Constant, constant, size_of
from compiler.types import DType, TensorType
from compiler.window import Window


def _operator(name: str, *attributes: Any, **named: Any) -> Operator:
    return Operator.registry[name](*attributes, **named)


# Arithmetic: numbers become constants of the other operand's dtype


def add(x: Operand, y: Operand) -> Value:
    """`x + y`."""
    return apply("add", x, y)


def sub(x: Operand, y: Operand) -> Value:
    """`x - y`."""
    return apply("sub", x, y)


def mul(x: Operand, y: Operand) -> Value:
    """`x * y`."""
    return apply("mul", x, y)


def div(x: Operand, y: Operand) -> Value:
    """`x / y`, of floats."""
    return apply("div", x, y)


def floor_div(x: Operand, y: Operand) -> Value:
    """`x // y`: the quotient rounded down, of integers or floats, as in Python."""
    return apply("floor_div", x, y)


def mod(x: Operand, y: Operand) -> Value:
    """`x % y`: what `x // y` leaves over, with the sign of `y`, of integers or floats, as in Python."""
    return apply("mod", x, y)


def pow_(x: Operand, y: Operand) -> Value:
    """`x ** y`: floats to the power of floats, or of integers."""
    return apply("pow", x, y)


def maximum(x: Operand, y: Operand) -> Value:
    """The larger of `x` and `y`."""
    return apply("maximum", x, y)


def minimum(x: Operand, y: Operand) -> Value:
    """The smaller of `x` and `y`."""
    return apply("minimum", x, y)


def neg(x: Value) -> Value:
    """`-x`, of floats and signed integers."""
    return apply("neg", x)


def sign(x: Value) -> Value:
    """-1, 0 or 1: the sign of each number."""
    return apply("sign", x)


def exp(x: Value) -> Value:
    """E to the power of `x`."""
    return apply("exp", x)


def log(x: Value) -> Value:
    """The natural logarithm."""
    return apply("log", x)


def sqrt(x: Value) -> Value:
    """The square root."""
    return apply("sqrt", x)


def matmul(x: Value, y: Value) -> Value:
    """The matrix product `x @ y` over the last axis of `x` and the second-to-last of `y`."""
    return apply("matmul", x, y)


# Questions


def equal(x: Operand, y: Operand) -> Value:
    """`x == y`."""
    return apply("equal", x, y)


def not_equal(x: Operand, y: Operand) -> Value:
    """`x != y`."""
    return apply("not_equal", x, y)


def less(x: Operand, y: Operand) -> Value:
    """`x < y`."""
    return apply("less", x, y)


def greater(x: Operand, y: Operand) -> Value:
    """`x > y`."""
    return apply("greater", x, y)


def greater_equal(x: Operand, y: Operand) -> Value:
    """`x >= y`."""
    return apply("greater_equal", x, y)


def isnan(x: Value) -> Value:
    """Whether each number is NaN."""
    return apply("isnan", x)


def logical_and(x: Value, y: Value) -> Value:
    """Whether both are true: `x and y`."""
    return apply("logical_and", x, y)


def logical_or(x: Value, y: Value) -> Value:
    """Whether one at least is true: `x or y`."""
    return apply("logical_or", x, y)


def where(condition: Value, x: Value, y: Value) -> Value:
    """`x` where the condition is true, `y` elsewhere."""
    return apply("where", condition, x, y)


# Types and shapes


def cast(x: Value, dtype: DType) -> Value:
    """The elements as `dtype`: `x` itself where they are of it."""
    return x if x.type.dtype == dtype else _operator("cast", dtype)(x)


def reshape(x: Value, shape: tuple[Size, ...]) -> Value:
    """The elements of `x`, row by row, as a tensor of the shape."""
    return _operator("reshape", shape)(x)


def expand(x: Value, shape: tuple[Size, ...]) -> Value:
    """`x` repeated until it has the shape: `x` itself where it has it."""
    return x if x.shape == shape else _operator("expand", shape)(x)


def transpose(x: Value, permutation: tuple[int, ...]) -> Value:
    """Axis `i` of the result is axis `permutation[i]` of `x`."""
    return _operator("transpose", permutation)(x)


def swapped(x: Value) -> Value:
    """The last two axes exchanged."""
    rank = x.type.rank
    return transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def squeeze(x: Value, axes: tuple[int, ...]) -> Value:
    """Drop the axes, which have length 1."""
    return _operator("squeeze", axes)(x)


def unsqueeze(x: Value, axes: tuple[int, ...]) -> Value:
    """New axes of length 1, so that they are `axes` of the result."""
    return _operator("unsqueeze", axes)(x)


def concat(values: Sequence[Value], axis: int) -> Value:
    """Tensors one after the other along the axis."""
    return _operator("concat", axis)(*values)


def split(x: Value, sizes: tuple[Size, ...], axis: int) -> tuple[Value, ...]:
    """Parts of these sizes along the axis, one after the other."""
    return _operator("split", sizes, axis).apply(x).results


def flip(x: Value, axes: tuple[int, ...]) -> Value:
    """`x` with the order along the axes reversed."""
    return _operator("flip", axes)(x)


def slice_(
    x: Value,
    axes: tuple[int, ...],
    starts: tuple[Size | None, ...],
    stops: tuple[Size | None, ...],
    steps: tuple[int, ...] = (),
) -> Value:
    """`x[start:stop:step]` along each of the axes."""
    return _operator("slice", axes, starts, stops, steps)(x)


def pad(x: Value, before: tuple[Size, ...], after: tuple[Size, ...], value: float = 0.0) -> Value:
    """`before[i]` and `after[i]` new elements around axis `i`, for every axis."""
    return _operator("pad", before, after, value)(x)


def sum_(x: Value, axes: tuple[int, ...] | None = None, keep: bool = False) -> Value:
    """The sum over the axes."""
    return _operator("sum", axes, keep)(x)


# Look-ups


def iota(size: Size, dtype: DType = DType.I64) -> Value:
    """The numbers from 0 to `size - 1`."""
    return _operator("iota", size, dtype)()


def scatter_elements(
    x: Value, indices: Value, updates: Value, axis: int, reduction: Literal["none", "add"] = "none"
) -> Value:
    """`x` with `updates` written at `indices` along the axis, or added there where `reduction` is "add"."""
    return _operator("scatter_elements", axis, reduction)(x, indices, updates)


def scan(
    body: Graph, states: Sequence[Value], sequences: Sequence[Value], whole: Sequence[Value] = (), reverse: bool = False
) -> tuple[Value, ...]:
    """The final states and the stacked outputs of a recurrence along axis 0."""
    op = _operator("scan", body, len(states), len(sequences), reverse)
    return op.apply(*states, *sequences, *whole).results


# Compositions


def filled(number: float, like: TensorType) -> Value:
    """A tensor of the type `like` whose elements are all `number`."""
    return expand(constant(number, like.dtype), like.shape)


def zeros(type: TensorType) -> Value:
    """A tensor of zeros."""
    return filled(0, type)


def count_of(count: Size, dtype: DType) -> Value:
    """A number of elements as a scalar to compute with."""
    return constant(count, dtype) if isinstance(count, int) else cast(size_of(count), dtype)


def number_of(value: Value) -> float | None:
    """The constant that all elements of a value are; None where it is not an expanded scalar constant."""
    while value.node.op.name == "expand":
        (value,) = value.node.operands
    number = value.node.op.scalar() if isinstance(value.node.op, Constant) else None
    return None if number is None else float(number)


def sum_to(target: TensorType, grad: Value) -> Value:
    """The adjoint of a broadcast: `grad` summed to the shape of `target`."""
    if grad.shape == target.shape:
        return grad
    extra = grad.type.rank - target.rank
    axes = tuple(range(extra))
    kept = tuple(axis + extra for axis, size in enumerate(target.shape) if size != grad.shape[axis + extra])
    if kept:
        grad = sum_(grad, kept, keep=True)
    return sum_(grad, axes) if axes else grad


def aligned(x: Value, rank: int) -> Value:
    """`x`, whose first axis is the batch, with axes of length 1 after it so that `rank` others follow."""
    missing = rank + 1 - x.type.rank
    return unsqueeze(x, tuple(range(1, 1 + missing))) if missing else x


# Rules of batches and windows that several families share


def batch_broadcast(op: Operator, mapped: Sequence[bool], operands: Sequence[Value]) -> Value:
    """The batching rule of a broadcasting operator: mapped operands get as many axes as the one with the most."""
    rank = max(operand.type.rank - axis for axis, operand in zip(mapped, operands, strict=True))
    return op(*(aligned(operand, rank) if axis else operand for axis, operand in zip(mapped, operands, strict=True)))


def broadcast_part(window: Window, axis: int, x: Value, rank: int) -> Value:
    """The part of `x`, which broadcasts to a result of `rank` axes, that a window on one of those axes needs."""
    x_axis = axis - (rank - x.type.rank)
    return window.whole(x) if x_axis < 0 or x.shape[x_axis] == 1 else window.of(x, x_axis)


def incremental_broadcast(op: Operator, window: Window, axis: int, operands: Sequence[Value]) -> Value:
    """The part of a broadcasting operator's result in a window on an axis."""
    rank = max(operand.type.rank for operand in operands)
    return op(*(broadcast_part(window, axis, operand, rank) for operand in operands))


def preceded(window: Window, axis: int, first: Value, x: Value) -> Value | None:
    """The window's part of `concat([first, x])` along an axis; the last positions are carried to the next window."""
    count = first.shape[axis]
    assert isinstance(count, int)

    def every(state: Value, window: Window) -> Value:
        return concat((state, window.extended(-count).of(x, axis)), axis)

    def result(state: Value, window: Window) -> Value:
        return slice_(every(state, window), (axis,), (0,), (window.size,))

    def following(state: Value, window: Window) -> Value:
        return slice_(every(state, window), (axis,), (window.size,), (window.size + count,))

    return window.carry(first, result, following)


def padded_part(window: Window, axis: int, x: Value, before: int, number: float) -> Value | None:
    """The window's part of `x` padded by `before` times a number at the front of an axis."""
    if before == 0:
        return window.of(x, axis)
    first = filled(number, x.type.with_shape(*x.shape[:axis], before, *x.shape[axis + 1 :]))
    return preceded(window, axis, first, x)
