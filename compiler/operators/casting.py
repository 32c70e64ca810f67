"""Operators that change a tensor's dtype or its role in differentiation, not where its elements are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from compiler.attribute_kinds import ElementType
from compiler.dims import Size
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.types import DType, TensorType
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Cast(Operator):
    """The elements of `x` as `dtype`. Floats lose their fraction on the way to integers; bool is 0 and 1."""

    name = "cast"
    reads_as_operand = True
    elementwise = True
    allocates = True
    positions = "all"
    edges = ("a float that the integers of `dtype` cannot hold, NaN and infinity: depends on the processor",)
    dtype: ElementType

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        return operands if self.dtype.is_float and operands[0].type.dtype.is_float else ()

    def keeps_last_axis(self, x: TensorType) -> bool:
        return True

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        if operands[0].type.dtype.is_float:
            yield operands[0], Cast(operands[0].type.dtype)(result)

    @property
    def discontinuous(self) -> bool:
        return not self.dtype.is_float

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def compute(self, x: Array) -> Array:
        return x.astype(self.dtype.numpy)

    def element_code(self, *operands: str) -> str | None:
        (x,) = operands
        if self.dtype.kind == "bool":
            return f"{x} != 0"
        return x if self.dtype.is_float else None  # the loop converts each result to its dtype

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value | None]:
        return (Cast(x.type.dtype)(grad) if x.type.dtype.is_float and self.dtype.is_float else None,)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        return self(*operands)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        return self(window.of(x, axis))

    def lower(self, emit: Emit, x: str) -> str:
        source = emit.type(x).dtype
        if self.dtype == DType.BOOL != source and not emit.target.casts_to_truth:
            return emit("Not", emit("Equal", x, np.zeros((), source.numpy)))
        return emit("Cast", x, to=self.dtype.onnx)


class StopGradient(Operator):
    """`x` itself, through which no gradient flows."""

    name = "stop_gradient"
    mixed = "operands"
    positions = "all"
    views_operand = True

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        return operands

    def keeps_last_axis(self, x: TensorType) -> bool:
        return True

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        yield operands[0], result

    def infer(self, x: TensorType) -> TensorType:
        return x

    def compute(self, x: Array) -> Array:
        return x

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[None]:
        return (None,)

    def lower(self, emit: Emit, x: str) -> str:
        return emit("Identity", x)

    def flops(self, x: TensorType) -> Size:
        return 0
