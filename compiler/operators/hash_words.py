"""The hash of the draws for runtimes without unsigned integers and bit operators, in exact arithmetic on floats.

32-bit words are their bits, `[count, 32]` of 0 and 1, the lowest first. A shift is then a product with a matrix of 0
and 1. A multiplication is a product too: it gives the sums of the four columns of bytes, as in a multiplication by
hand, whose carries follow. No number reaches 2**24, from where f32 no longer holds every whole number, so that the
words are those of `random.mix`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.types import DType

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

_BITS, _BYTES = 32, 4


def lower_columns(emit: Emit, number: str) -> tuple[str, str]:
    """The columns `[1, 4]` of both words of an i64 scalar whose magnitude is below 2**31, the lower word first."""
    number = emit("Reshape", number, np.array([1, 1]))
    # Some runtimes divide integers as f32, of 24 bits: the quotient may be 1 too large. Products and sums are exact.
    quotient = emit("Div", number, np.array([1 << 16]))
    rest = emit("Sub", number, emit("Mul", quotient, np.array([1 << 16])))
    below = emit("Cast", emit("Less", rest, np.array([0])), to=DType.I64.onnx)
    number = emit("Sub", quotient, below)
    first = emit("Add", rest, emit("Mul", below, np.array([1 << 16])))
    parts = [emit("Cast", first, to=_type(emit).onnx)]
    for _ in range(3):
        part = emit("Mod", number, np.array([1 << 16]), fmod=0)  # with the sign of the divisor
        number = emit("Div", emit("Sub", number, part), np.array([1 << 16]))
        parts.append(emit("Cast", part, to=_type(emit).onnx))
    spread = np.array([[1, 0, 0, 0], [0, 0, 1, 0]], _type(emit).numpy)
    low, high = (emit("MatMul", emit("Concat", *parts[at : at + 2], axis=1), spread) for at in (0, 2))
    return low, high


def lower_product(emit: Emit, bits: str, factor: int) -> str:
    """The columns of words times a number."""
    matrix = np.zeros((_BITS, _BYTES), _type(emit).numpy)
    for bit in range(_BITS):
        for byte in range(_BYTES - bit // 8):
            matrix[bit, bit // 8 + byte] = (1 << bit % 8) * (factor >> 8 * byte & 0xFF)
    return emit("MatMul", bits, matrix)


def columns_of(emit: Emit, number: int) -> Array:
    """The columns `[1, 4]` of a number."""
    return np.array([[number >> 8 * byte & 0xFF for byte in range(_BYTES)]], _type(emit).numpy)


def lower_bits(emit: Emit, columns: str) -> str:
    """The bits of words from their columns, each of which is below 2**24; what exceeds 32 bits is dropped."""
    rest = list(emit.many(_BYTES, "Split", columns, np.ones(_BYTES, np.int64), axis=1))
    for byte in range(_BYTES - 1):
        rest[byte + 1] = emit("Add", rest[byte + 1], emit("Floor", emit("Mul", rest[byte], _number(emit, 1 / 256))))
    halvings = np.zeros((_BYTES, _BITS), _type(emit).numpy)
    for bit in range(_BITS):
        halvings[bit // 8, bit] = 0.5 ** (bit % 8)
    shifted = emit("Floor", emit("MatMul", emit("Concat", *rest, axis=1), halvings))
    return emit("Sub", shifted, emit("Mul", emit("Floor", emit("Mul", shifted, _number(emit, 0.5))), _number(emit, 2)))


def lower_word_mix(emit: Emit, bits: str, rounds: Sequence[tuple[int, int | None]]) -> str:
    """The bits of the hash of words: `x ^= x >> shift`, then `x *= factor`, for each round."""
    for shift, factor in rounds:
        moved = emit("MatMul", bits, np.eye(_BITS, k=-shift, dtype=_type(emit).numpy))
        bits = emit("Abs", emit("Sub", bits, moved))
        if factor is not None:
            bits = lower_bits(emit, lower_product(emit, bits, factor))
    return bits


def lower_number(emit: Emit, bits: str, lowest: int, count: int) -> str:
    """The number `[.., 1]` in floats that up to 24 bits from the `lowest` one on make."""
    weights = np.zeros((_BITS, 1), _type(emit).numpy)
    weights[lowest : lowest + count, 0] = 2.0 ** np.arange(count)
    return emit("MatMul", bits, weights)


def _number(emit: Emit, number: float) -> Array:
    return np.array([number], _type(emit).numpy)


def _type(emit: Emit) -> DType:
    """The type of all values here."""
    assert emit.target.draws_in is not None
    return emit.target.draws_in
