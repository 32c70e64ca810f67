"""Conversion of 16-bit floats to f32 where they are accumulated or multiplied many times."""

from __future__ import annotations

from compiler.graph import Value
from compiler.operators.casting import Cast
from compiler.types import DType


def widen(value: Value) -> Value:
    """A value in f32 if it holds floats of 16 bits, otherwise itself."""
    return convert(value, value.type.dtype.wide)


def convert(value: Value, dtype: DType) -> Value:
    """A value in another dtype, itself where that is its own."""
    return value if value.type.dtype == dtype else Cast(dtype)(value)
