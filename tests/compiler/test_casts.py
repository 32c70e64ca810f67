"""`cast` of numbers known at compile time."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.numpy_executor import run
from tests.compiler.texts import graph


@pytest.mark.parametrize(
    ("number", "dtype", "expected"),
    [("2.7", "i64", 2), ("-2.7", "i32", -2), ("true", "f32", 1.0), ("3", "bool", True), ("0.0", "bool", False)],
)
def test_cast_converts_a_number_as_it_does_a_tensor(number: str, dtype: str, expected: float) -> None:
    made = graph(f"input x: [2]\noutput y = cast({number}, {dtype})\noutput z = x")
    found = run(made, {"x": np.zeros(2, np.float32)})["y"]
    assert found == expected
    assert str(made.outputs["y"].type.dtype) == dtype
