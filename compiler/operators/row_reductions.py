"""Sums and maxima of rows in NumPy, faster than its reductions, which begin anew for every row."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

_LONGEST_SUM = 1024  # elements of a row that BLAS sums as exactly as NumPy, but for the last digit
_LONGEST_MAXIMUM = 16  # elements of a row for which a transposed copy pays


def row_sums(x: Array) -> Array:
    """The sums over the last axis, which stays with length 1."""
    length = x.shape[-1]
    if length > _LONGEST_SUM or not _suits_blas(x):
        return np.asarray(np.sum(x, axis=-1, keepdims=True, dtype=x.dtype))
    sums: Array = np.matmul(x.reshape(-1, length), _ones(length, x.dtype.char))
    return sums.reshape(*x.shape[:-1], 1)


def row_means(x: Array, axes: tuple[int, ...]) -> Array:
    """The means over axes, which stay with length 1."""
    if axes != (x.ndim - 1,) or x.shape[-1] > _LONGEST_SUM or not _suits_blas(x):
        return np.asarray(np.mean(x, axis=axes, keepdims=True, dtype=x.dtype))
    sums = row_sums(x)
    sums /= x.dtype.type(x.shape[-1])
    return sums


def sums_of_rows(x: Array) -> Array:
    """The sum over axis 0."""
    if not _suits_blas(x) or x.ndim < 2:
        return np.asarray(np.sum(x, axis=0, dtype=x.dtype))
    sums: Array = np.matmul(_ones(len(x), x.dtype.char), x.reshape(len(x), -1))
    return sums.reshape(x.shape[1:])


def row_maxima(x: Array) -> Array:
    """The largest items along the last axis, which stays with length 1; -inf where it is empty."""
    if not x.size or x.shape[-1] > _LONGEST_MAXIMUM:
        return np.asarray(np.max(x, axis=-1, keepdims=True, initial=-np.inf))
    columns = np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)
    return np.asarray(np.maximum.reduce(columns, 0)).reshape(*x.shape[:-1], 1)


def _suits_blas(x: Array) -> bool:
    return x.dtype.char in "fd" and x.size > 0 and x.flags.c_contiguous


@cache
def _ones(length: int, dtype: str) -> Array:
    return np.ones(length, dtype)
