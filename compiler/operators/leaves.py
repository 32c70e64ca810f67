"""Where tensors enter the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from compiler.attribute_kinds import INTERNAL, Extent, Text
from compiler.dims import Dim, Size
from compiler.graph import Graph, Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.types import DType, TensorType

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Source(Operator):
    """An operator without operands."""

    rounds = False
    public = False

    def infer(self) -> TensorType:
        result: TensorType = vars(self).get("type") or getattr(type(self), "type")  # noqa: B009
        return result

    def pullback(self, grad: Value, *, result: Value) -> tuple[()]:
        return ()

    def flops(self) -> Size:
        return 0


class Placeholder(Source):
    """A source whose array comes from outside: runtimes and the exporter supply it by name."""

    def compute(self) -> Array:
        raise AssertionError(f"{self} is fed, never computed")

    def lower(self, emit: Emit) -> str:
        raise AssertionError(f"{self} is an input or an initializer, never a node")


class Input(Placeholder):
    """A tensor that the caller passes in."""

    name = "input"
    label: Text
    type: Annotated[TensorType, INTERNAL]


class Stored(Placeholder):
    """A tensor that a model stores, by its path; `initial` is a graph of one output, which may take the `seed`."""

    path: Text
    type: Annotated[TensorType, INTERNAL]
    initial: Annotated[Graph | None, INTERNAL] = None


class Parameter(Stored):
    """A trained tensor."""

    name = "parameter"


class Buffer(Stored):
    """A tensor that a step itself updates, such as the running mean of a batch norm."""

    name = "buffer"


class Derived(Stored):
    """A tensor computed from stored ones before the graph runs: a packed, transposed or scaled weight."""

    name = "derived"
    sources: Annotated[tuple[str, ...], INTERNAL] = ()  # the paths of the tensors that it was computed from


class Constant(Source):
    """A tensor known at compile time; `data` is its bytes, little-endian, row by row."""

    name = "constant"
    type: Annotated[TensorType, INTERNAL]
    data: Annotated[bytes, INTERNAL]

    @staticmethod
    def of(array: Array) -> Constant:
        return Constant(TensorType(DType.of(array), array.shape), np.ascontiguousarray(array).tobytes())

    def compute(self) -> Array:
        return np.frombuffer(self.data, self.type.dtype.numpy).reshape(self.type.shape)

    def lower(self, emit: Emit) -> str:
        return emit("Identity", self.compute())

    def scalar(self) -> int | float | bool | None:
        """The number, if the constant has one element."""
        return self.type.dtype.unpack(self.data) if self.type.elements == 1 else None

    def __str__(self) -> str:
        number = self.scalar()
        return f"constant({number if number is not None else '...'}: {self.type})"


class SizeOf(Source):
    """A size as an i64 scalar."""

    name = "size_of"
    size: Extent
    type: ClassVar[TensorType] = TensorType(DType.I64)

    def compute(self) -> Array:
        return np.array(self.size, np.int64)

    def lower(self, emit: Emit) -> str:
        return emit("Squeeze", emit.sizes((self.size,)), np.array([0]))


def label_of(value: Value) -> str:
    """The label of an input."""
    assert isinstance(value.node.op, Input)
    return value.node.op.label


def constant(value: float | bool | Sequence[int], dtype: DType) -> Value:
    """A scalar constant, or one axis of integers."""
    if isinstance(value, (int, float)):
        return Constant(TensorType(dtype), dtype.pack(value))()
    return Constant(TensorType(dtype, (len(value),)), b"".join(map(dtype.pack, value)))()


def size_of(size: Size) -> Value:
    """A size as an i64 scalar, a constant where it is known at compile time."""
    return SizeOf(size)() if isinstance(size, Dim) else constant(size, DType.I64)
