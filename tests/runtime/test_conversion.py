"""Whether an array may become a dtype: by the ranges and the precision that IEEE 754 and two's complement have."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from compiler.types import DType
from runtime.conversion import CannotConvert, convert

TAKEN: list[tuple[Any, str, Any]] = [
    (np.array([0.0, 255.0]), "u8", [0, 255]),
    (np.array([-128.0, -0.0, 127.0]), "i8", [-128, 0, 127]),
    (np.array([2.0**31 - 1]), "i32", [2**31 - 1]),
    (np.array([2.0**53 - 1, -(2.0**53) + 1]), "i64", [2**53 - 1, -(2**53) + 1]),
    (np.array([2**63 - 1], np.uint64), "i64", [2**63 - 1]),
    (np.array([-(2**63)]), "i64", [-(2**63)]),
    (np.array([1.0, 0.0]), "bool", [True, False]),
    (np.array([True, False]), "f32", [1, 0]),
    (np.array([0.1]), "f32", np.array([0.1], np.float32)),  # rounded
    (np.array([1e-300]), "f32", [0]),
    (np.array([2**24 + 1]), "f32", [2**24]),
    (np.array([np.nan, np.inf]), "f16", [np.nan, np.inf]),
    (np.array([1.5], ml_dtypes.bfloat16), "f64", [1.5]),
    (np.array([[1, 2]], ">i4"), "u8", [[1, 2]]),
    (np.zeros((0, 3)), "i8", np.zeros((0, 3))),
]


@pytest.mark.parametrize(("array", "dtype", "expected"), TAKEN)
def test_numbers_stay_what_they_are(array: Any, dtype: str, expected: Any) -> None:
    made = convert(array, DType(dtype).numpy)
    assert made.dtype == DType(dtype).numpy
    np.testing.assert_array_equal(made, expected)


REFUSED: list[tuple[Any, str, str, tuple[int, ...] | None]] = [
    (np.array([[0, 1], [2, 300.0]]), "u8", "300 is beyond u8 (0 to 255)", (1, 1)),
    (np.array([5, 300]), "u8", "300 is beyond u8 (0 to 255)", (1,)),
    (np.array([-1], np.int8), "u8", "-1 is beyond u8 (0 to 255)", (0,)),
    (np.array([-200]), "i8", "-200 is beyond i8 (-128 to 127)", (0,)),
    (np.array([2**40]), "i32", "1099511627776 is beyond i32 (-2147483648 to 2147483647)", (0,)),
    (
        np.array([2.0**63]),
        "i64",
        "9.223372036854776e+18 is beyond i64 (-9223372036854775808 to 9223372036854775807)",
        (0,),
    ),
    (np.array([2**63], np.uint64), "i64", f"{2**63} is beyond i64 (-9223372036854775808 to 9223372036854775807)", (0,)),
    (np.array([7]), "bool", "7 is neither 0 nor 1, and `bool` is one of the two", (0,)),
    (np.array([1.5]), "i64", "1.5 is not a whole number", (0,)),
    (np.array([0, np.nan]), "i64", "nan is not a whole number", (1,)),
    (np.array([-np.inf]), "i32", "-inf is not a whole number", (0,)),
    (np.array([float(2**53 + 1)]), "i64", "9007199254740992 may be rounded", (0,)),
    (np.array([2**24 + 1], np.float32), "i64", "16777216 may be rounded: f32", (0,)),
    (np.array([1e300]), "f32", "1e+300 is beyond f32", (0,)),
    (np.array([70000]), "f16", "70000 is beyond f16", (0,)),
    (np.array([-1e39]), "bf16", "-1e+39 is beyond bf16", (0,)),
    (np.array(["2020-01-01"], "M8[D]"), "i64", "the array holds dates (datetime64[D])", None),
    (np.array([5], "m8[s]"), "f32", "the array holds spans of time (timedelta64[s])", None),
    (np.array([1j]), "f32", "the array holds complex numbers", None),
    (np.zeros(2, [("a", "f4")]), "f32", "the array holds records ([('a', '<f4')])", None),
    (np.array([b"1"]), "f32", "the array holds bytes of text", None),
    (np.array(["1"]), "f32", "the array holds texts", None),
    (np.array([1], object), "f32", "the array holds Python objects", None),
]


@pytest.mark.parametrize(("array", "dtype", "reason", "index"), REFUSED)
def test_what_would_become_another_number_is_refused_at_its_index(
    array: Any, dtype: str, reason: str, index: tuple[int, ...] | None
) -> None:
    with pytest.raises(CannotConvert) as caught:
        convert(array, DType(dtype).numpy)
    assert caught.value.reason.startswith(reason) and caught.value.index == index
