"""The type of a tensor: element type and shape, both known at compile time."""

from __future__ import annotations

import builtins
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from compiler.dims import Size, differ, product, substitute
from grammar.record import Record

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class TypeMismatch(Exception):
    """An operator does not accept the types of its operands; `hint` says what to do where that is known."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class _Facts(Record):
    """The facts of one element type."""

    kind: Literal["float", "int", "bool"]
    bytes: int
    numpy: str
    onnx: int  # onnx.TensorProto's number, part of the file format; importing onnx for it would cost 0.25 s
    packed: str = ""  # the format of `struct`, where it has one
    fraction: int = 0  # bits of a float's fraction, the implicit first one not counted
    lowest: int = 0  # log2 of the smallest float above 0
    highest: int = 0  # log2 of the largest power of two
    range: tuple[int, int] = (0, 1)  # of integers
    stand_in: str = ""  # the type that onnxruntime computes in where a kernel lacks this one


class DType(StrEnum):
    """Element types, by their names in the language."""

    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"
    I8 = "i8"
    U8 = "u8"
    I32 = "i32"
    I64 = "i64"
    BOOL = "bool"

    @property
    def kind(self) -> Literal["float", "int", "bool"]:
        """`float`, `int` or `bool`; types of different kinds do not mix without a cast."""
        return _FACTS[self].kind

    @property
    def is_float(self) -> bool:
        """Whether it is a float."""
        return _FACTS[self].kind == "float"

    @property
    def is_integer(self) -> bool:
        """Whether it is an integer; bool is not."""
        return _FACTS[self].kind == "int"

    @property
    def is_half(self) -> bool:
        """Whether it is a float of 16 bits, which is too short to accumulate sums in."""
        return self is DType.F16 or self is DType.BF16

    @property
    def wide(self) -> DType:
        """The type that sums of this type are accumulated in: f32 for floats of 16 bits, otherwise itself."""
        return DType.F32 if self.is_half else self

    @property
    def stand_in(self) -> DType:
        """The type that onnxruntime computes in where a kernel of its own lacks this one."""
        return DType(_FACTS[self].stand_in or self)

    @property
    def bytes(self) -> int:
        """The size of an element."""
        return _FACTS[self].bytes

    @property
    def eps(self) -> float:
        """The machine epsilon of a float type: the distance from 1 to the next larger number."""
        return 2.0 ** -_FACTS[self].fraction

    @property
    def smallest(self) -> float:
        """The smallest number above 0 of a float type."""
        return 2.0 ** _FACTS[self].lowest

    @property
    def largest(self) -> float:
        """The largest finite number of a float type."""
        return (2 - self.eps) * 2.0 ** _FACTS[self].highest

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest number of an integer type."""
        return _FACTS[self].range

    def holds(self, number: float) -> bool:
        """Whether a number is representable: in integers exactly, in floats without becoming 0 or infinite."""
        if self.is_float:
            rounded = self.largest * (1 + self.eps / 4)  # nearer to the largest than to the power of two that follows
            return number == 0 or not math.isfinite(number) or self.smallest / 2 < abs(number) <= rounded
        low, high = self.range
        return low <= number <= high and number == int(number)

    @property
    def numpy(self) -> np.dtype[Any]:
        """The dtype of NumPy; bf16 is that of ml_dtypes."""
        import numpy as np

        if self is DType.BF16:
            import ml_dtypes

            bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
            return bfloat16
        return np.dtype(_FACTS[self].numpy)

    @property
    def onnx(self) -> int:
        """ONNX's number for the element type."""
        return _FACTS[self].onnx

    def pack(self, number: float | bool) -> builtins.bytes:
        """The little-endian bytes of a number; OverflowError for a float that would become infinite."""
        row = _FACTS[self]
        if not row.packed:
            import numpy as np

            if self.largest < abs(number) < math.inf:
                raise OverflowError
            return np.array(number, self.numpy).tobytes()
        return struct.pack(row.packed, _CONVERTED[row.kind](number))

    def unpack(self, data: builtins.bytes) -> int | float | bool:
        """The number whose bytes these are, as `pack` writes them."""
        packed = _FACTS[self].packed
        if not packed:
            import numpy as np

            return float(np.frombuffer(data, self.numpy)[0])
        number: int | float | bool = struct.unpack(packed, data)[0]
        return number

    @staticmethod
    def of(array: Array) -> DType:
        """The element type of an array; TypeMismatch where the language has none."""
        for dtype in DType:
            if dtype.numpy == array.dtype:
                return dtype
        raise TypeMismatch(f"arrays of {array.dtype} are not supported")


_CONVERTED: dict[str, Callable[[float], float]] = {"float": float, "int": int, "bool": bool}
_FACTS = {
    DType.F16: _Facts("float", 2, "float16", 10, "<e", fraction=10, lowest=-24, highest=15, stand_in="f32"),
    DType.BF16: _Facts("float", 2, "bfloat16", 16, fraction=7, lowest=-133, highest=127, stand_in="f32"),
    DType.F32: _Facts("float", 4, "float32", 1, "<f", fraction=23, lowest=-149, highest=127),
    DType.F64: _Facts("float", 8, "float64", 11, "<d", fraction=52, lowest=-1074, highest=1023),
    DType.I8: _Facts("int", 1, "int8", 3, "<b", range=(-(2**7), 2**7 - 1), stand_in="i32"),
    DType.U8: _Facts("int", 1, "uint8", 2, "<B", range=(0, 2**8 - 1), stand_in="i32"),
    DType.I32: _Facts("int", 4, "int32", 6, "<i", range=(-(2**31), 2**31 - 1)),
    DType.I64: _Facts("int", 8, "int64", 7, "<q", range=(-(2**63), 2**63 - 1)),
    DType.BOOL: _Facts("bool", 1, "bool", 9, "<?", stand_in="u8"),
}
UNSIGNED = {"u16": 4, "u32": 12, "u64": 13}  # ONNX's numbers of types that the language does not have
FLOATS = tuple(dtype.value for dtype in DType if dtype.is_float)  # that a model may be compiled for


@dataclass(frozen=True, slots=True)
class TensorType:
    """`dtype[shape]`; a scalar has the empty shape."""

    dtype: DType
    shape: tuple[Size, ...] = ()

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def elements(self) -> Size:
        """The number of elements."""
        return product(self.shape)

    @property
    def numeric_shape(self) -> tuple[int, ...]:
        """The shape of a type whose sizes are all numbers."""
        assert all(isinstance(size, int) for size in self.shape), f"{self} has sizes known only when the model runs"
        return self.shape  # type: ignore[return-value]

    def with_shape(self, *shape: Size) -> TensorType:
        """This type with another shape."""
        return TensorType(self.dtype, shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        """This type with another dtype."""
        return TensorType(dtype, self.shape)

    def bind(self, sizes: Mapping[str, Size]) -> TensorType:
        """This type with named dims replaced by sizes."""
        return TensorType(self.dtype, tuple(substitute(size, sizes) for size in self.shape))

    def axis(self, axis: int, among: int | None = None) -> int:
        """`axis` counted from the front, of `among` axes or its own rank; TypeMismatch when there is no such axis."""
        rank = self.rank if among is None else among
        if not -rank <= axis < rank:
            raise TypeMismatch(f"{self} has no axis {axis}", f"its axes are 0 to {rank - 1}" if rank else None)
        return axis % rank

    def distinct_axes(self, axes: Sequence[int], among: int | None = None) -> tuple[int, ...]:
        """Axes counted from the front; TypeMismatch for one that does not exist or is repeated."""
        counted = tuple(self.axis(axis, among) for axis in axes)
        if len(set(counted)) < len(counted):
            raise TypeMismatch(f"{list(axes)} names an axis of {self} twice")
        return counted


def broadcast_shapes(left: tuple[Size, ...], right: tuple[Size, ...]) -> tuple[Size, ...]:
    """The common shape by NumPy's rule; TypeMismatch when an axis neither agrees nor is 1."""
    if left == right:
        return left
    rank = max(len(left), len(right))
    padded_left = (1,) * (rank - len(left)) + left
    padded_right = (1,) * (rank - len(right)) + right
    shape: list[Size] = []
    for axis, (a, b) in enumerate(zip(padded_left, padded_right, strict=True)):
        if a != b and a != 1 and b != 1:
            raise TypeMismatch(f"axis {axis - rank} is {a} on one side and {b} on the other{_unknown_equality(a, b)}")
        shape.append(b if a == 1 else a)
    return tuple(shape)


def broadcast(left: TensorType, right: TensorType) -> TensorType:
    """The common type of two operands: equal dtypes, shapes by NumPy's rule."""
    same_dtype(left, right)
    try:
        return TensorType(left.dtype, broadcast_shapes(left.shape, right.shape))
    except TypeMismatch as mismatch:
        raise TypeMismatch(f"{left} and {right} do not broadcast: {mismatch}") from None


def same_dtype(*types: TensorType) -> DType:
    """The one dtype of all the types; TypeMismatch when they differ."""
    first = types[0].dtype
    for other in types[1:]:
        if other.dtype != first:
            raise TypeMismatch(f"{types[0]} and {other} have different dtypes", f"convert one: `cast(x, {first})`")
    return first


def _unknown_equality(a: Size, b: Size) -> str:
    return "" if differ(a, b) else ", which are not known to be equal"
