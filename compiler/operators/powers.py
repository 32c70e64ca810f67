"""Powers and roots, exponentials and logarithms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compiler.graph import Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.arithmetic import Elementwise, Unary
from compiler.operators.leaves import Constant, constant
from compiler.operators.making import cast, equal, exp, greater_equal, log, logical_and, sum_to, where
from compiler.types import DType, TensorType, broadcast

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Pow(Elementwise):
    """`x ** y`: floats to the power of floats, or of integers."""

    name, onnx, ufunc = "pow", "Pow", "power"
    mixed = "f32"
    sign = "**"
    wide = True
    kinds = ("float",)

    def infer(self, x: TensorType, y: TensorType) -> TensorType:
        self.check_kind(x)
        if y.dtype.is_integer:
            return broadcast(x, y.with_dtype(x.dtype))
        self.check_kind(y)
        return broadcast(x, y)

    def compute(self, x: Array, y: Array) -> Array:
        if y.ndim == 0:
            exponent = y.item()
            if exponent == 0.5:
                return np.asarray(np.sqrt(x))
            if exponent == int(exponent) and 1 <= abs(exponent) <= 64:
                return np.asarray(_whole_power(x, int(exponent)))
        return np.asarray(np.power(x, y.astype(x.dtype, copy=False)))

    def lower(self, emit: Emit, x: str, y: str) -> str:
        dtype = emit.type(x).dtype
        return emit("Pow", x, y if emit.type(y).dtype == dtype else emit("Cast", y, to=dtype.onnx))

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value | None, Value | None]:
        exponent = y.node.op.scalar() if isinstance(y.node.op, Constant) else None
        if exponent == 0:
            return None, None
        if exponent == 1:
            return sum_to(x.type, grad), None
        if exponent == 2:
            return sum_to(x.type, grad * (x * 2)), None
        if exponent is not None:
            power = x ** constant(exponent - 1, x.type.dtype)
            return sum_to(x.type, grad * (power * exponent)), None
        has_gradient = y.type.dtype.is_float
        y = cast(y, x.type.dtype)
        zero, one = constant(0, x.type.dtype), constant(1, x.type.dtype)
        nothing = equal(x, zero)
        # x ** 0 is 1 for every x: its derivative at 0 is 0, where 0 * 0 ** -1 would be NaN.
        flat = logical_and(nothing, equal(y, zero))
        by_base = sum_to(x.type, grad * (y * x ** (where(flat, one, y) - 1)))
        if not has_gradient:
            return by_base, None
        # 0 ** y is 0 for every y above 0: its derivative is 0, not 0 times the logarithm of 0.
        still = logical_and(nothing, greater_equal(y, zero))
        return by_base, sum_to(y.type, grad * (result * log(where(still, one, x))))


def _whole_power(x: Array, exponent: int) -> Array:
    """`x` to a whole power by repeated squaring: `power(x, 3)` costs 13 times `x * x * x`."""
    if exponent < 0:
        return np.reciprocal(_whole_power(x, -exponent))
    result, square = None, x
    while exponent:
        if exponent & 1:
            result = square if result is None else result * square
        exponent >>= 1
        if exponent:
            square = square * square
    assert result is not None
    return result


class Exp(Unary):
    """e to the power of `x`."""

    name, onnx, ufunc = "exp", "Exp", "exp"
    mixed = "f32"
    latex = r"\exp"
    number_function = math.exp

    def derivative(self, x: Value, result: Value) -> Value:
        return result


class Log(Unary):
    """The natural logarithm."""

    name, onnx, ufunc = "log", "Log", "log"
    mixed = "f32"
    latex = r"\log"
    counts_from_zero = (0,)
    number_function = math.log

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad / x,)


class Log1p(Unary):
    """`log(1 + x)`, exact for small `x`."""

    name, ufunc = "log1p", "log1p"
    mixed = "f32"
    counts_from_zero = (0,)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad / (x + 1),)

    def lower(self, emit: Emit, x: str) -> str:
        return lower_log1p(emit, x, emit.type(x).dtype)


def lower_log1p(emit: Emit, x: str, dtype: DType) -> str:
    """`log(1 + x)` in Kahan's form, after N. Higham, Accuracy and Stability of Numerical Algorithms, section 1.14.1."""
    one = np.ones((), dtype.numpy)
    above = emit("Add", x, one)
    lost, whole = emit("Equal", above, one), emit("Equal", above, x)
    step = emit("Where", lost, one, emit("Sub", above, one))  # never 0 beneath the fraction
    ratio = emit("Where", whole, one, emit("Div", x, step))  # and no infinity over another
    return emit("Where", lost, x, emit("Mul", emit("Log", above), ratio))


class Expm1(Unary):
    """`exp(x) - 1`, exact for small `x`."""

    name, ufunc = "expm1", "expm1"
    mixed = "f32"

    def derivative(self, x: Value, result: Value) -> Value:
        return exp(x)  # far below 0, `result + 1` would have lost it

    def lower(self, emit: Emit, x: str) -> str:
        # exp(x) - 1 = tanh(x / 2) * (exp(x) + 1), without a difference of near numbers; beyond 1 the plain form is
        # exact enough, and does not multiply an infinity.
        dtype = emit.type(x).dtype.numpy
        one, half = np.ones((), dtype), np.array(0.5, dtype)
        power = emit("Exp", x)
        small = emit("Less", emit("Abs", x), one)
        near = emit("Where", small, x, np.zeros((), dtype))
        exact = emit("Mul", emit("Tanh", emit("Mul", near, half)), emit("Add", emit("Exp", near), one))
        return emit("Where", small, exact, emit("Sub", power, one))


class Sqrt(Unary):
    """The square root."""

    name, onnx, ufunc = "sqrt", "Sqrt", "sqrt"
    mixed = "f32"
    compiles = True
    number_function = math.sqrt

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad * 0.5 / result,)
