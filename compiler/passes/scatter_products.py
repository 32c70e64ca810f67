"""Additions at indices become products with one-hot vectors.

Run on export, for targets that have no scatter by addition or compute it wrong. A number that is not finite would make
NaN of everything that it is not added to, as 0 times it is NaN: such numbers are counted in the same product, and put
in afterwards. Where ONNX's own operators fail, at an index out of range, nothing is added.
"""

from __future__ import annotations

from math import inf, nan

from compiler.dims import Size, product
from compiler.graph import Value
from compiler.operators.indexing import OneHot, ScatterElements, ScatterNd
from compiler.operators.leaves import constant, size_of
from compiler.operators.making import (
    cast,
    concat,
    equal,
    greater,
    isnan,
    less,
    logical_and,
    logical_or,
    matmul,
    reshape,
    slice_,
    split,
    squeeze,
    swapped,
    transpose,
    unsqueeze,
    where,
)
from compiler.passes.rules import Rules, pattern_of, rule, variables

x, indices, updates, axis = variables("x indices updates axis")


def _add_parts(x: Value, indices: Value, updates: Value) -> Value:
    """`x` with parts added: rows of `x` as a matrix are numbered by the first axes, which the indices are into."""
    depth = indices.shape[-1]
    assert isinstance(depth, int)
    heads, counted = x.shape[:depth], product(indices.shape[:-1])
    rows, width = product(heads), product(x.shape[depth:])
    columns = [
        _from_front(squeeze(slice_(indices, (-1,), (axis,), (axis + 1,)), (-1,)), size)
        for axis, size in enumerate(heads)
    ]
    number = columns[0]
    for column, size in zip(columns[1:], heads[1:], strict=True):
        number = number * cast(size_of(size), column.type.dtype) + column
    chosen = _one_hot(reshape(number, (counted,)), rows, x)
    total = _total(matmul(swapped(chosen), concat(_kinds(reshape(updates, (counted, width))), 1)), (width,) * 4, 1)
    return x + reshape(total, x.shape)


def _add_elements(x: Value, indices: Value, updates: Value, axis: int) -> Value:
    """`x` with elements added along an axis."""
    axis = x.type.axis(axis)
    order = (*(other for other in range(x.type.rank) if other != axis), axis)
    back = tuple(order.index(other) for other in range(x.type.rank))
    chosen = _one_hot(_from_front(transpose(indices, order), x.shape[axis]), x.shape[axis], x)
    kinds = concat([unsqueeze(kind, (-2,)) for kind in _kinds(transpose(updates, order))], -2)
    return x + transpose(squeeze(_total(matmul(kinds, chosen), (1,) * 4, -2), (-2,)), back)


def _one_hot(numbers: Value, count: Size, like: Value) -> Value:
    """1 at each index along a new last axis, in the dtype of another value."""
    return OneHot(count, -1, like.type.dtype)(numbers)


def _from_front(numbers: Value, count: Size) -> Value:
    """Indices into an axis of this length without negative ones, which count from its end."""
    return where(less(numbers, 0), numbers + cast(size_of(count), numbers.type.dtype), numbers)


def _kinds(numbers: Value) -> list[Value]:
    """The finite numbers, 0 elsewhere; and 1 for infinity, for -infinity, and for NaN, 0 elsewhere."""
    up, down, none = equal(numbers, inf), equal(numbers, -inf), isnan(numbers)
    finite = where(logical_or(logical_or(up, down), none), constant(0, numbers.type.dtype), numbers)
    return [finite, *(cast(kind, numbers.type.dtype) for kind in (up, down, none))]


def _total(sums: Value, sizes: tuple[Size, ...], axis: int) -> Value:
    """The sums of numbers from those of their kinds, which are beside each other along an axis."""
    finite, *counts = split(sums, sizes, axis)
    up, down, none = (greater(count, 0) for count in counts)
    dtype = sums.type.dtype
    infinite = where(up, constant(inf, dtype), where(down, constant(-inf, dtype), finite))
    return where(logical_or(none, logical_and(up, down)), constant(nan, dtype), infinite)


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
