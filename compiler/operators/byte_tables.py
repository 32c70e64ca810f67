"""`x ^ (x >> shift)` of 32-bit words for runtimes that have unsigned integers but no operators on bits, as CUDA's.

Such a runtime adds, multiplies and divides unsigned integers: a shift to the right is a division by a power of two, and
the exclusive or of two bytes is looked up in a table of 65,536 bytes, which stays in the cache of a GPU.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.types import UNSIGNED, DType

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

_U32 = UNSIGNED["u32"]


def lower_shift(emit: Emit, x: str, bits: int) -> str:
    """Words of 32 bits shifted to the right, as a quotient."""
    return emit("Div", x, _word(1 << bits))


def lower_xor_shifted(emit: Emit, x: str, shift: int) -> str:
    """`x ^ (x >> shift)` of each u32; the shift is 15 or 16."""
    high = lower_shift(emit, x, 16)
    low = emit("Mod", lower_shift(emit, x, shift), _word(1 << 16), fmod=0) if shift < 16 else high
    # The bytes of both operands are x = (.., second, first) and low = (other_second, other_first).
    first, other_first = (emit("Mod", word, _word(256), fmod=0) for word in (x, low))
    second = emit("Mod", lower_shift(emit, x, 8), _word(256), fmod=0)
    other_seconds = emit("Sub", low, other_first)  # times 256
    by_second = _looked_up(emit, emit("Add", other_seconds, second))
    by_first = _looked_up(emit, emit("Add", emit("Mul", other_first, _word(256)), first))
    lower_half = emit("Add", emit("Mul", by_second, _word(256)), by_first)
    if shift < 16:  # the shifted word has a 17th bit
        top = lower_shift(emit, x, 31)
        both = emit("Mul", emit("Mod", high, _word(2), fmod=0), top)
        high = emit("Sub", emit("Add", high, top), emit("Mul", both, _word(2)))
    return emit("Add", emit("Mul", high, _word(1 << 16)), lower_half)


def _looked_up(emit: Emit, pairs: str) -> str:
    """The exclusive or of the bytes of each pair, as u32."""
    return emit("Cast", emit("Gather", _table(), emit("Cast", pairs, to=DType.I32.onnx), axis=0), to=_U32)


@cache
def _table() -> Array:
    numbers = np.arange(256, dtype=np.uint8)
    return np.bitwise_xor.outer(numbers, numbers).reshape(-1)


def _word(number: int) -> Array:
    return np.array(number, np.uint32)
