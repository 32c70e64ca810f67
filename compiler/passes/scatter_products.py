"""Additions at indices become products with one-hot vectors.

Run on export, for targets that have no scatter by addition or compute it wrong. Where ONNX's own operators fail, at an
index out of range, nothing is added; an update that is not finite makes its whole column NaN, since 0 times it is NaN.
"""

from __future__ import annotations

from compiler.dims import Size, product
from compiler.graph import Value
from compiler.operators.indexing import OneHot, ScatterElements, ScatterNd
from compiler.operators.leaves import size_of
from compiler.operators.making import cast, less, matmul, reshape, slice_, squeeze, swapped, transpose, unsqueeze, where
from compiler.passes.rules import Rules, pattern_of, rule, variables

x, indices, updates, axis = variables("x indices updates axis")


def _one_hot(numbers: Value, count: Size, like: Value) -> Value:
    """1 at each index along a new last axis, in the dtype of another value."""
    return OneHot(count, -1, like.type.dtype)(_from_front(numbers, count))


def _from_front(numbers: Value, count: Size) -> Value:
    """Indices into an axis of this length without negative ones, which count from its end."""
    return where(less(numbers, 0), numbers + cast(size_of(count), numbers.type.dtype), numbers)


def _add_parts(x: Value, indices: Value, updates: Value) -> Value:
    """`x` with parts added: rows of `x` as a matrix are numbered by the first axes, which the indices are into."""
    depth = indices.shape[-1]
    assert isinstance(depth, int)
    heads, counted = x.shape[:depth], product(indices.shape[:-1])
    rows, width = product(heads), product(x.shape[depth:])
    number: Value | None = None
    for axis, size in enumerate(heads):
        column = squeeze(slice_(indices, (-1,), (axis,), (axis + 1,)), (-1,))
        column = _from_front(column, size)
        number = column if number is None else number * cast(size_of(size), column.type.dtype) + column
    assert number is not None
    chosen = _one_hot(reshape(number, (counted,)), rows, x)
    total = matmul(swapped(chosen), reshape(updates, (counted, width)))
    return x + reshape(total, x.shape)


def _add_elements(x: Value, indices: Value, updates: Value, axis: int) -> Value:
    """`x` with elements added along an axis."""
    axis = x.type.axis(axis)
    order = (*(other for other in range(x.type.rank) if other != axis), axis)
    back = tuple(order.index(other) for other in range(x.type.rank))
    chosen = _one_hot(transpose(indices, order), x.shape[axis], x)
    total = squeeze(matmul(unsqueeze(transpose(updates, order), (-2,)), chosen), (-2,))
    return x + transpose(total, back)


SCATTER_PRODUCTS: Rules = (
    rule(
        "scatter_nd(x, indices, updates) by addition",
        pattern_of(ScatterNd)(x, indices, updates, reduction="add"),
        _add_parts,
        when=lambda x: x.type.dtype.is_float,
        keeps="rounding",
    ),
    rule(
        "scatter_elements(x, indices, updates) by addition",
        pattern_of(ScatterElements)(x, indices, updates, axis=axis, reduction="add"),
        _add_elements,
        when=lambda x: x.type.dtype.is_float,
        keeps="rounding",
    ),
)
