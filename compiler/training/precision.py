"""Floats of 16 bits in f32 where they are added up or multiplied many times over."""

from __future__ import annotations

from compiler.graph import Value
from compiler.operators.casting import Cast
from compiler.types import DType


def widen(value: Value) -> Value:
    """A value to add up, in f32 where it holds floats of 16 bits."""
    return convert(value, value.type.dtype.wide)


def convert(value: Value, dtype: DType) -> Value:
    """A value in another dtype, itself where that is its own."""
    result: Value = value if value.type.dtype == dtype else Cast(dtype)(value)
    return result
