"""Checked conversion of arrays to a dtype: every number keeps its value, except that floats may be rounded.

Used for training data, inputs of `run` and arrays of Python calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compiler.types import DType

if TYPE_CHECKING:
    from compiler.types import Array

_KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool"}
_REFUSED = {
    "M": "dates",
    "m": "spans of time",
    "c": "complex numbers",
    "U": "texts",
    "S": "bytes of text",
    "V": "records",
    "O": "Python objects",
}
_HINTS = {
    "M": "convert them to numbers in a unit of your choice: `(dates - dates[0]) / np.timedelta64(1, 'D')`",
    "m": "convert them to numbers in a unit of your choice: `spans / np.timedelta64(1, 's')`",
    "c": "pass the real and imaginary parts separately: `np.stack([z.real, z.imag], -1)`",
    "V": "pass each field as an array of its own",
}


class HasDType(Protocol):
    """An array, in memory or not."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers."""


class CannotConvert(Exception):
    """`reason` is a clause, such as "300 is beyond u8 (0 to 255)", `index` that of the first such number."""

    def __init__(self, reason: str, index: tuple[int, ...] | None = None, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.index, self.hint = reason, index, hint


def kind_of(dtype: np.dtype[Any]) -> str | None:
    """`float`, `int` or `bool`; None for any other dtype."""
    return "float" if dtype.name == "bfloat16" else _KINDS.get(dtype.kind)


def check_numbers(array: HasDType) -> None:
    """CannotConvert for an array of anything but real numbers and booleans."""
    if kind_of(array.dtype) is None:
        what = _REFUSED.get(array.dtype.kind, "values")
        dtype = f" ({array.dtype})" if array.dtype.kind in "MmV" else ""
        raise CannotConvert(f"the array holds {what}{dtype}", hint=_HINTS.get(array.dtype.kind))


def convert(array: Array, dtype: np.dtype[Any]) -> Array:
    """`array` in `dtype`; CannotConvert where a number would change its value.

    Floats may be rounded, but not to infinity. A float of 2 ** 53 or more (2 ** 24 for f32) is not converted to an
    integer, since it may stand for one of its neighbours.
    """
    if array.dtype == dtype:
        return array
    check_numbers(array)
    kind, target_kind = kind_of(array.dtype), kind_of(dtype)
    if target_kind == "float":
        return _round(array, dtype)
    if target_kind == "bool":
        _refuse(array, (array != 0) & (array != 1), "{} is neither 0 nor 1, and `bool` is one of the two")
    elif kind == "float":
        _check_whole(array, dtype)
    elif kind == "int":
        _check_range(array, dtype)
    return array.astype(dtype)


def name_of(dtype: np.dtype[Any]) -> str:
    """The language's name for a dtype, or NumPy's if it has none."""
    for candidate in DType:
        if candidate is not DType.BF16 and candidate.numpy == dtype:
            return str(candidate)
    return "bf16" if dtype.name == "bfloat16" else "text" if dtype.kind in "US" else str(dtype)


def _round(array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        rounded = array.astype(dtype)
    if not np.isfinite(rounded).all():
        _refuse(array, ~np.isfinite(rounded) & np.isfinite(array), f"{{}} is beyond {name_of(dtype)}")
    return rounded


def _check_whole(array: Array, dtype: np.dtype[Any]) -> None:
    """CannotConvert for floats that are not whole numbers in the range of `dtype`."""
    with np.errstate(invalid="ignore"):
        _refuse(array, ~(array == np.floor(array)) | np.isinf(array), "{} is not a whole number")
        limits, exact = np.iinfo(dtype), 2.0 ** (_digits(array.dtype) + 1)
        reason = f"{{}} may be rounded: {name_of(array.dtype)} represents whole numbers exactly only below {exact:.0f}"
        beyond = (array < float(limits.min)) | (array >= float(limits.max) + 1)
        _refuse(array, beyond, _out_of_range(dtype))
        _refuse(array, np.abs(array) >= exact, reason)


def _check_range(array: Array, dtype: np.dtype[Any]) -> None:
    source, limits = np.iinfo(array.dtype), np.iinfo(dtype)
    if source.min >= limits.min and source.max <= limits.max:
        return
    # NumPy compares signed with unsigned integers, and with Python's larger ones, by value.
    beyond = np.zeros(array.shape, bool)
    if source.min < limits.min:
        beyond |= array < limits.min
    if source.max > limits.max:
        beyond |= array > limits.max
    _refuse(array, beyond, _out_of_range(dtype))


def _out_of_range(dtype: np.dtype[Any]) -> str:
    limits = np.iinfo(dtype)
    return f"{{}} is beyond {name_of(dtype)} ({limits.min} to {limits.max})"


def _digits(dtype: np.dtype[Any]) -> int:
    """The bits of a float type's mantissa, without the implicit one."""
    return 7 if dtype.name == "bfloat16" else int(np.finfo(dtype).nmant)


def _refuse(array: Array, wrong: Array, reason: str) -> None:
    if not wrong.any():
        return
    index = tuple(int(axis) for axis in np.argwhere(wrong)[0])
    raise CannotConvert(reason.format(_format(array[index])), index)


def _format(number: Any) -> str:
    """A number without a trailing `.0`: 300 for 300.0."""
    value = number.item() if isinstance(number, np.generic) else float(number)
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e16
    return str(int(value)) if whole else str(value)
