"""The type of a tensor: element type and shape, both known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from compiler.dims import Size, differ, product, substitute

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class TypeMismatch(Exception):
    """An operator refuses the types it is given; `hint` says what to do where that is known."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


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
    def is_float(self) -> bool:
        return self in (DType.F16, DType.BF16, DType.F32, DType.F64)

    @property
    def is_half(self) -> bool:
        """A float of 16 bits: too short to add up in."""
        return self in (DType.F16, DType.BF16)

    @property
    def wide(self) -> DType:
        """What numbers of this type are added up in: f32 for floats of 16 bits."""
        return DType.F32 if self.is_half else self

    @property
    def is_integer(self) -> bool:
        return self in (DType.I8, DType.U8, DType.I32, DType.I64)

    @property
    def kind(self) -> str:
        """`float`, `int` or `bool`: what does not mix without a cast."""
        return "float" if self.is_float else "int" if self.is_integer else "bool"

    @property
    def bytes(self) -> int:
        return {"f16": 2, "bf16": 2, "f32": 4, "f64": 8, "i8": 1, "u8": 1, "i32": 4, "i64": 8, "bool": 1}[self]

    @property
    def eps(self) -> float:
        """From 1 to the next larger number of a float type."""
        return 2.0 ** -{"f16": 10, "bf16": 7, "f32": 23, "f64": 52}[self]

    @property
    def smallest(self) -> float:
        """The smallest number above 0 of a float type."""
        return 2.0 ** -{"f16": 24, "bf16": 133, "f32": 149, "f64": 1074}[self]

    @property
    def largest(self) -> float:
        """The largest finite number of a float type."""
        return (2 - self.eps) * 2.0 ** {"f16": 15, "bf16": 127, "f32": 127, "f64": 1023}[self]

    @property
    def numpy(self) -> np.dtype[Any]:
        import numpy as np

        if self is DType.BF16:
            import ml_dtypes

            found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
            return found
        names = {"f16": "float16", "f32": "float32", "f64": "float64", "u8": "uint8", "bool": "bool"}
        return np.dtype(names.get(self) or self.replace("i", "int"))

    @staticmethod
    def of(array: Array) -> DType:
        """The element type of an array; TypeMismatch where the language has none."""
        for dtype in DType:
            if dtype.numpy == array.dtype:
                return dtype
        raise TypeMismatch(f"arrays of {array.dtype} have no place in the language")


@dataclass(frozen=True, slots=True)
class TensorType:
    """`dtype[shape]`; a scalar has the empty shape."""

    dtype: DType
    shape: tuple[Size, ...] = ()

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def elements(self) -> Size:
        return product(self.shape)

    def with_shape(self, *shape: Size) -> TensorType:
        return TensorType(self.dtype, shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def bind(self, sizes: Mapping[str, Size]) -> TensorType:
        """This type with named dims replaced by sizes."""
        return TensorType(self.dtype, tuple(substitute(size, sizes) for size in self.shape))

    def axis(self, axis: int, among: int | None = None) -> int:
        """`axis` counted from the front; TypeMismatch when there is no such axis."""
        rank = self.rank if among is None else among
        if not -rank <= axis < rank:
            raise TypeMismatch(f"{self} has no axis {axis}", f"its axes are 0 to {rank - 1}" if rank else None)
        return axis % rank


def broadcast_shapes(left: tuple[Size, ...], right: tuple[Size, ...]) -> tuple[Size, ...]:
    """The common shape by NumPy's rule; TypeMismatch when an axis neither agrees nor is 1."""
    if left == right:
        return left
    rank = max(len(left), len(right))
    ahead = (1,) * (rank - len(left)) + left
    behind = (1,) * (rank - len(right)) + right
    shape: list[Size] = []
    for axis, (a, b) in enumerate(zip(ahead, behind, strict=True)):
        if a != b and a != 1 and b != 1:
            raise TypeMismatch(f"axis {axis - rank} is {a} on one side and {b} on the other{_why(a, b)}")
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
            raise TypeMismatch(f"{types[0]} and {other} do not mix", f"convert one: `cast(x, {first})`")
    return first


def _why(a: Size, b: Size) -> str:
    return "" if differ(a, b) else ", and nothing says that they are equal"
