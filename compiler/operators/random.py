"""Draws that depend on a key and an index alone: equal on every backend, in any order, and when repeated.

A draw hashes (key, element number), as counter-based generators do (Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3", 2011). The hash is Chris Wellons' `lowbias32`, a 32-bit permutation found by search for least bias, run
over the element number and then over its sum with the key.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from compiler.attribute_kinds import ElementType, Extents, Integers, Text
from compiler.dims import product
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.byte_tables import lower_shift, lower_xor_shifted
from compiler.operators.hash_words import (
    columns_of,
    lower_bits,
    lower_columns,
    lower_number,
    lower_product,
    lower_word_mix,
)
from compiler.operators.orders import lower_positions
from compiler.targets import LOWEST_OPSET, Target
from compiler.types import UNSIGNED, DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

GOLDEN = 0x9E3779B9  # 2**32 over the golden ratio: consecutive numbers spread evenly
_ROUNDS = ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None))
_U32, _U64 = UNSIGNED["u32"], UNSIGNED["u64"]
_BITS = 24  # bits of a draw that become the fraction of a float
BLOCK = 2**16  # elements that NumPy draws at a time, so that what is between the operators stays in cache


def mix(x: Array) -> Array:
    """The hash of each u32."""
    for shift, factor in _ROUNDS:
        x = x ^ (x >> np.uint32(shift))
        if factor is not None:
            x = x * np.uint32(factor)
    return x


def lower_mix(emit: Emit, x: str) -> str:
    """The hash of each u32, as ONNX nodes."""
    for shift, factor in _ROUNDS:
        if emit.target.has_bit_operators:
            x = emit("BitwiseXor", x, _lower_shifted(emit, x, shift))
        else:
            x = lower_xor_shifted(emit, x, shift)
        if factor is not None:
            x = emit("Mul", x, np.array(factor, np.uint32))
    return x


def _lower_shifted(emit: Emit, x: str, bits: int) -> str:
    """Words of 32 bits shifted to the right."""
    if not emit.target.has_bit_operators:
        return lower_shift(emit, x, bits)
    return emit("BitShift", x, np.array(bits, np.uint32), direction="RIGHT")


class Draw(Operator):
    """An operator that takes a key and has no gradient."""

    public = False
    opset = 18  # BitwiseXor

    def lowest_opset(self, target: Target) -> int:
        return self.opset if target.draws_in is None and target.has_bit_operators else LOWEST_OPSET

    def pullback(self, grad: Value, *operands: Value, result: Value) -> tuple[None, ...]:
        return (None,) * len(operands)


class FoldKey(Draw):
    """A key derived from a key, a number and the name of a stream of draws, different for different ones.

    Keys are from 0 to 2**31 - 1.
    """

    name = "fold_key"
    stream: Text = ""

    @cached_property
    def tag(self) -> int:
        """The 31-bit number of the stream: the 32-bit FNV-1a hash of its name, shifted by one bit."""
        number = 0x811C9DC5
        for byte in self.stream.encode():
            number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
        return number >> 1

    def infer(self, key: TensorType, number: TensorType) -> TensorType:
        for operand in (key, number):
            if operand != TensorType(DType.I64):
                raise TypeMismatch(f"a key is folded with an i64 scalar, not {operand}")
        return key

    def compute(self, key: Array, number: Array) -> Array:
        return _folded(key, number, self.tag)

    def lower(self, emit: Emit, key: str, number: str) -> str:
        if emit.target.draws_in is not None:
            return _lower_by_words(emit, key, number, self.tag)
        return emit("Cast", _lower_folded(emit, key, number, np.array(self.tag, np.uint32)), to=DType.I64.onnx)


class FoldKeys(Draw):
    """The keys that `FoldKey` derives from one key and one number for streams with these `tags`, hashed together."""

    name = "fold_keys"
    tags: Integers

    def infer(self, key: TensorType, number: TensorType) -> tuple[TensorType, ...]:
        return (FoldKey().infer(key, number),) * len(self.tags)

    def compute(self, key: Array, number: Array) -> tuple[Array, ...]:
        return tuple(_folded(key, number, tag) for tag in self.tags)

    def lower(self, emit: Emit, key: str, number: str) -> tuple[str, ...]:
        if emit.target.draws_in is not None:
            return tuple(_lower_by_words(emit, key, number, tag) for tag in self.tags)
        folded = _lower_folded(emit, key, number, np.array(self.tags, np.uint32))
        parts = emit.many(len(self.tags), "Split", folded, np.ones(len(self.tags), np.int64), axis=0)
        return tuple(emit("Cast", emit("Squeeze", part, np.array([0])), to=DType.I64.onnx) for part in parts)


def _folded(key: Array, number: Array, tag: int) -> Array:
    """The key of `FoldKey` for this tag."""
    low, high = _words(key)
    with np.errstate(over="ignore"):  # whole numbers that wrap around, as ONNX has them
        x = mix(mix(mix(low) + high) + np.uint32(tag))
        x = mix(x + _words(number)[0] * np.uint32(GOLDEN))
    return (x >> np.uint32(1)).astype(np.int64)


def _lower_folded(emit: Emit, key: str, number: str, tags: Array) -> str:
    """The keys of `FoldKey` for these tags, as u32."""
    low, high = _lower_words(emit, key)
    x = lower_mix(emit, emit("Add", lower_mix(emit, low), high))
    x = lower_mix(emit, emit("Add", x, tags))
    spread = emit("Mul", _lower_low_word(emit, number), np.array(GOLDEN, np.uint32))
    x = lower_mix(emit, emit("Add", x, spread))
    return _lower_shifted(emit, x, 1)


def _lower_by_words(emit: Emit, key: str, number: str, tag: int) -> str:
    """The key of `FoldKey` for a tag, for a target without operators on bits."""
    (low, high), (count, _) = (lower_columns(emit, operand) for operand in (key, number))
    columns = columns_of(emit, tag)
    bits = lower_word_mix(emit, lower_bits(emit, low), _ROUNDS)
    bits = lower_word_mix(emit, lower_bits(emit, emit("Add", lower_product(emit, bits, 1), high)), _ROUNDS)
    bits = lower_word_mix(emit, lower_bits(emit, emit("Add", lower_product(emit, bits, 1), columns)), _ROUNDS)
    spread = lower_product(emit, lower_bits(emit, count), GOLDEN)
    bits = lower_word_mix(emit, lower_bits(emit, emit("Add", lower_product(emit, bits, 1), spread)), _ROUNDS)
    halves = (lower_number(emit, bits, lowest, width) for lowest, width in ((1, 16), (17, 15)))
    lower, upper = (emit("Cast", half, to=DType.I64.onnx) for half in halves)
    total = emit("Add", emit("Mul", upper, np.array([1 << 16])), lower)
    return emit("Squeeze", total, np.array([0, 1]))


def _words(number: Array) -> tuple[Array, Array]:
    """The two 32-bit words of an i64, the lower one first."""
    unsigned = np.asarray(number).astype(np.int64).view(np.uint64)
    return (unsigned & np.uint64(0xFFFFFFFF)).astype(np.uint32), (unsigned >> np.uint64(32)).astype(np.uint32)


def _lower_words(emit: Emit, number: str) -> tuple[str, str]:
    long = emit("Cast", number, to=_U64)
    if emit.target.has_bit_operators:
        shifted = emit("BitShift", long, np.array(32, np.uint64), direction="RIGHT")
    else:
        shifted = emit("Div", long, np.array(1 << 32, np.uint64))
    return _lower_low_word(emit, number), emit("Cast", shifted, to=_U32)


def _lower_low_word(emit: Emit, number: str) -> str:
    """The lower 32-bit word of an i64: a cast between integers drops the higher bits."""
    return emit("Cast", number, to=_U32)


class Fill(Draw):
    """A tensor of `shape`, drawn element by element from an i64 key.

    With `first` it is the part of a longer tensor that begins at this index of the first axis.
    """

    allocates = True
    by_index = True
    shape: Extents
    dtype: ElementType

    def infer(self, key: TensorType, first: TensorType | None = None) -> TensorType:
        for number in (key, first):
            if number is not None and number != TensorType(DType.I64):
                raise TypeMismatch(f"a key must be an i64 scalar, not {number}")
        if not self.dtype.is_float:
            raise TypeMismatch(f"draws must be floats, not {self.dtype}")
        return TensorType(self.dtype, self.shape)

    def compute(self, key: Array, first: Array | None = None) -> Array:
        result = np.empty(cast("tuple[int, ...]", self.shape), self.dtype.numpy)
        flat = result.reshape(-1)
        for start in range(0, result.size, BLOCK):
            part = flat[start : start + BLOCK]
            self.fill(range(start, start + len(part)), part, key, first)
        return result

    def fill(self, indices: range | Array, part: Array, key: Array, first: Array | None = None) -> None:
        if first is not None:
            before = int(first) * cast("int", product(self.shape[1:]))
            if isinstance(indices, range):
                indices = range(indices.start + before, indices.stop + before)
            else:
                indices = indices + before
        is_computed = self.dtype is _working(self.dtype) and part.flags.c_contiguous
        drawn = part.reshape(-1) if is_computed else np.empty(part.size, _working(self.dtype).numpy)
        with np.errstate(over="ignore"):
            self.draw(_Bits(_words(key)[0], indices), drawn)
        if not is_computed:
            part[...] = drawn.reshape(part.shape)

    @abstractmethod
    def draw(self, bits: _Bits, drawn: Array) -> None:
        """Write the numbers that are made of hashed bits, in the type that they are computed in."""

    def lower_uniform(self, emit: Emit, key: str, first: str | None, lane: int, offset: float) -> str:
        """`fraction` of `bits`, in the type that the draw is computed in."""
        if emit.target.draws_in is None:
            return self.lower_fraction(emit, self.lower_words(emit, key, first, lane), offset)
        if first is not None:
            raise TypeMismatch(f"`--target {emit.target.name}` has no draws by place: workers train on CPUs")
        count, dtype = product(self.shape), _working(self.dtype)
        if isinstance(count, int) and count >= 1 << _BITS:
            refused = f"`--target {emit.target.name}` counts to 2**24, below the {count:,} numbers of this draw"
            raise TypeMismatch(refused, "draw fewer at a time")
        numbers = emit(
            "Cast", emit("Unsqueeze", lower_positions(emit, count), np.array([1])), to=emit.target.draws_in.onnx
        )
        bits = lower_bits(emit, emit("Mul", numbers, columns_of(emit, 1)))
        bits = lower_bits(emit, emit("Add", lower_product(emit, bits, GOLDEN), columns_of(emit, lane)))
        columns = lower_product(emit, lower_word_mix(emit, bits, _ROUNDS), 1)
        bits = lower_word_mix(emit, lower_bits(emit, emit("Add", columns, lower_columns(emit, key)[0])), _ROUNDS)
        x = emit("Cast", lower_number(emit, bits, 32 - _BITS, _BITS), to=dtype.onnx)
        x = emit("Reshape", x, emit.sizes(self.shape))
        x = emit("Add", x, np.array(offset, dtype.numpy)) if offset else x
        return emit("Mul", x, np.array(2.0**-_BITS, dtype.numpy))

    def lower_words(self, emit: Emit, key: str, first: str | None, lane: int) -> str:
        positions = lower_positions(emit, product(self.shape))
        if first is not None:
            positions = emit("Add", positions, emit("Mul", first, emit.sizes((product(self.shape[1:]),))))
        numbers = emit("Cast", positions, to=_U32)
        spread = emit("Mul", numbers, np.array(GOLDEN, np.uint32))
        if lane:
            spread = emit("Add", spread, np.array(lane, np.uint32))
        hashed = lower_mix(emit, emit("Add", lower_mix(emit, spread), _lower_low_word(emit, key)))
        return emit("Reshape", hashed, emit.sizes(self.shape))

    def lower_fraction(self, emit: Emit, bits: str, offset: float) -> str:
        dtype = _working(self.dtype)
        x = emit("Cast", _lower_shifted(emit, bits, 32 - _BITS), to=dtype.onnx)
        x = emit("Add", x, np.array(offset, dtype.numpy)) if offset else x
        return emit("Mul", x, np.array(2.0**-_BITS, dtype.numpy))


class _Bits:
    """Hashed bits of the elements at some indices, for the draws of a key with this lower word."""

    def __init__(self, word: Array, indices: range | Array) -> None:
        self.word = word
        self.start = indices.start if isinstance(indices, range) else 0
        self.spread = (
            _spread(len(indices)) if isinstance(indices, range) else indices.astype(np.uint32) * np.uint32(GOLDEN)
        )

    def write(self, lane: int, numbers: Array) -> None:
        """Write a number from 0 to below 2**24 for each element."""
        x, shifted = (_scratch(name, self.spread.dtype, len(self.spread)) for name in ("bits", "shifted"))
        np.add(self.spread, np.uint32(self.start * GOLDEN + lane & 0xFFFFFFFF), x)
        _mix_in_place(x, shifted)
        x += self.word
        _mix_in_place(x, shifted)
        np.right_shift(x, np.uint32(32 - _BITS), x)
        numbers[...] = x.view(np.int32)  # which NumPy converts faster


class _Own(threading.local):
    """Arrays of a thread that are used again, since new memory costs more than the draws."""

    def __init__(self) -> None:
        self.scratch: dict[tuple[str, np.dtype[Any]], Array] = {}
        self.spread: Array | None = None  # the first element numbers, times GOLDEN


_own = _Own()


def _scratch(name: str, dtype: np.dtype[Any], count: int) -> Array:
    """An array of this thread, with undefined content."""
    array = _own.scratch.get((name, dtype))
    if array is None or len(array) < count:
        array = _own.scratch[name, dtype] = np.empty(_roomy(count), dtype)
    return array[:count]


def _spread(count: int) -> Array:
    """The first element numbers, times GOLDEN."""
    if _own.spread is None or len(_own.spread) < count:
        _own.spread = np.arange(_roomy(count), dtype=np.uint32) * np.uint32(GOLDEN)
    return _own.spread[:count]


def _roomy(count: int) -> int:
    """The size of an array for so many elements, and for some more in the next call."""
    return max(count, min(BLOCK, 2 * count))


def _mix_in_place(x: Array, shifted: Array) -> None:
    """`mix`, written over x; `shifted` is of its size."""
    for shift, factor in _ROUNDS:
        np.right_shift(x, np.uint32(shift), shifted)
        np.bitwise_xor(x, shifted, x)
        if factor is not None:
            np.multiply(x, np.uint32(factor), x)


def _working(dtype: DType) -> DType:
    """The type that a draw is computed in."""
    return DType.F64 if dtype is DType.F64 else DType.F32


class RandomUniform(Fill):
    """Numbers from 0 to below 1, all multiples of 2**-24."""

    name = "random_uniform"
    shape: Extents
    dtype: ElementType = DType.F32

    def draw(self, bits: _Bits, drawn: Array) -> None:
        bits.write(0, drawn)
        drawn *= drawn.dtype.type(2.0**-_BITS)

    def lower(self, emit: Emit, key: str, first: str | None = None) -> str:
        x = self.lower_uniform(emit, key, first, 0, 0.0)
        return x if self.dtype in (DType.F32, DType.F64) else emit("Cast", x, to=self.dtype.onnx)


class RandomNormal(Fill):
    """Numbers of mean 0 and variance 1: sqrt(-2 ln u) cos(2 pi v) (Box and Muller, 1958)."""

    name = "random_normal"
    shape: Extents
    dtype: ElementType = DType.F32

    def draw(self, bits: _Bits, drawn: Array) -> None:
        number = drawn.dtype.type
        bits.write(0, drawn)
        drawn += number(0.5)
        drawn *= number(2.0**-_BITS)
        np.log(drawn, drawn)
        drawn *= number(-2)
        np.sqrt(drawn, drawn)
        angle = _scratch("angle", drawn.dtype, drawn.size)
        bits.write(0x5BD1E995, angle)
        angle *= number(2.0**-_BITS) * number(2 * np.pi)  # a power of two: the same as one after the other
        np.cos(angle, angle)
        drawn *= angle

    def lower(self, emit: Emit, key: str, first: str | None = None) -> str:
        dtype = _working(self.dtype).numpy
        u = self.lower_uniform(emit, key, first, 0, 0.5)
        v = self.lower_uniform(emit, key, first, 0x5BD1E995, 0.0)
        radius = emit("Sqrt", emit("Mul", emit("Log", u), np.array(-2, dtype)))
        x = emit("Mul", radius, emit("Cos", emit("Mul", v, np.array(2 * np.pi, dtype))))
        return x if self.dtype in (DType.F32, DType.F64) else emit("Cast", x, to=self.dtype.onnx)
