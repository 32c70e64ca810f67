"""Comparisons, logic, and the selection between two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from compiler.dims import Size
from compiler.graph import Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.arithmetic import PiecewiseConstant
from compiler.operators.is_nan_lowering import lower_is_nan
from compiler.operators.leaves import constant
from compiler.operators.making import batch_broadcast, incremental_broadcast, sum_to
from compiler.types import DType, TensorType, TypeMismatch, broadcast
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Comparison(PiecewiseConstant):
    """A predicate on numbers, with bool results."""

    same_unit: ClassVar[tuple[int, ...]] = (0, 1)
    kinds: ClassVar[tuple[str, ...]] = ("float", "int")
    operand_names: ClassVar[tuple[str, ...]] = ("x", "y")

    def infer(self, *operands: Any, **none: Any) -> TensorType:
        return super().infer(*operands).with_dtype(DType.BOOL)


class Equal(Comparison):
    """`x == y`."""

    name, onnx, ufunc = "equal", "Equal", "equal"
    sign = "=="
    commutative = True
    kinds = ("float", "int", "bool")

    def lower(self, emit: Emit, x: str, y: str) -> str:
        if emit.type(x).dtype is DType.BOOL and not emit.target.compares_truths:
            return emit("Not", emit("Xor", x, y))
        return emit("Equal", x, y)


class NotEqual(Comparison):
    """`x != y`."""

    name, ufunc = "not_equal", "not_equal"
    sign = "!="
    commutative = True
    kinds = ("float", "int", "bool")

    def lower(self, emit: Emit, x: str, y: str) -> str:
        if emit.type(x).dtype is DType.BOOL and not emit.target.compares_truths:
            return emit("Xor", x, y)
        return emit("Not", emit("Equal", x, y))


class Less(Comparison):
    """`x < y`."""

    name, onnx, ufunc = "less", "Less", "less"
    sign = "<"


class LessEqual(Comparison):
    """`x <= y`."""

    name, onnx, ufunc = "less_equal", "LessOrEqual", "less_equal"
    sign = "<="


class Greater(Comparison):
    """`x > y`."""

    name, onnx, ufunc = "greater", "Greater", "greater"
    sign = ">"


class GreaterEqual(Comparison):
    """`x >= y`."""

    name, onnx, ufunc = "greater_equal", "GreaterOrEqual", "greater_equal"
    sign = ">="


class IsNan(Comparison):
    """Whether each number is "not a number"."""

    name, onnx, ufunc = "isnan", "IsNaN", "isnan"
    same_unit = (0,)
    operand_names = ("x",)
    kinds = ("float",)

    def lower(self, emit: Emit, x: str) -> str:
        return lower_is_nan(emit, x)


class IsInf(Comparison):
    """Whether each number is infinite, of either sign."""

    name, ufunc = "isinf", "isinf"
    same_unit = (0,)
    operand_names = ("x",)
    kinds = ("float",)

    def lower(self, emit: Emit, x: str) -> str:
        # ONNX's IsInf takes f16 from opset 20 on only.
        return emit("Equal", emit("Abs", x), np.array(np.inf, emit.type(x).dtype.numpy))


class Logical(PiecewiseConstant):
    """Logic on bool tensors."""

    kinds: ClassVar[tuple[str, ...]] = ("bool",)
    operand_names: ClassVar[tuple[str, ...]] = ("x", "y")


class LogicalAnd(Logical):
    """Whether both are true: `x and y`."""

    name, onnx, ufunc = "logical_and", "And", "logical_and"
    sign = "and"
    commutative = True


class LogicalOr(Logical):
    """Whether at least one is true: `x or y`."""

    name, onnx, ufunc = "logical_or", "Or", "logical_or"
    sign = "or"
    commutative = True


class LogicalXor(Logical):
    """Whether exactly one is true."""

    name, onnx, ufunc = "logical_xor", "Xor", "logical_xor"
    commutative = True


class LogicalNot(Logical):
    """Whether it is false: `not x`."""

    name, onnx, ufunc = "logical_not", "Not", "logical_not"
    operand_names = ("x",)


class Where(Operator):
    """`x` where `condition` is true, `y` elsewhere; all three broadcast."""

    name = "where"
    mixed = "operands"
    elementwise = True
    allocates = True
    cheap = True
    same_unit = (1, 2)
    positions = "some"

    def infer(self, condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
        if condition.dtype != DType.BOOL:
            raise TypeMismatch(f"the condition must be bool, not {condition}", "compare it, as in `x != 0`")
        either = broadcast(x, y)
        return broadcast(condition, either.with_dtype(DType.BOOL)).with_dtype(either.dtype)

    def compute(self, condition: Array, x: Array, y: Array) -> Array:
        return np.where(condition, x, y)

    def element_code(self, *operands: str) -> str:
        condition, x, y = operands
        return f"{x} if {condition} else {y}"

    def pullback(
        self, grad: Value, condition: Value, x: Value, y: Value, *, result: Value
    ) -> tuple[None, Value, Value]:
        zero = constant(0, grad.type.dtype)
        return None, sum_to(x.type, self(condition, grad, zero)), sum_to(y.type, self(condition, zero, grad))

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        return batch_broadcast(self, mapped, operands)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        return incremental_broadcast(self, window, axis, operands)

    def lower(self, emit: Emit, condition: str, x: str, y: str) -> str:
        if emit.type(x).dtype == DType.BOOL:  # onnxruntime's Where has no kernel for bool
            return emit("Or", emit("And", condition, x), emit("And", emit("Not", condition), y))
        return emit("Where", condition, x, y)
