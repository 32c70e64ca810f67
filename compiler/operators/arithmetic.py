"""Operators that work element by element on numbers; operands of one dtype broadcast as in NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

from compiler.attribute_kinds import OptionalNumber
from compiler.dims import Size
from compiler.graph import MixedPrecision, Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.leaves import constant
from compiler.operators.making import (
    batch_broadcast,
    equal,
    floor_div,
    greater,
    incremental_broadcast,
    less,
    number_of,
    sign,
    sum_to,
    where,
)
from compiler.types import DType, TensorType, TypeMismatch, broadcast
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Elementwise(Operator):
    """One NumPy function and, mostly, one ONNX operator; operands have one dtype, of one of the `kinds`."""

    safe_sums = True
    elementwise = True
    mixed: ClassVar[MixedPrecision] = "operands"
    compiles: ClassVar[bool] = True  # whether a compiled loop is as fast as NumPy's function, and has its bits
    onnx: ClassVar[str]
    ufunc: ClassVar[str]  # NumPy's universal function that computes it, where one does
    kinds: ClassVar[tuple[str, ...]] = ("float", "int")
    operand_names: ClassVar[tuple[str, ...]] = ("x", "y")

    @property
    def universal_function(self) -> str | None:
        return self.ufunc if type(self).compute is Elementwise.compute else None

    def element_code(self, *operands: str) -> str | None:
        return f"np.{self.ufunc}({', '.join(operands)})" if self.compiles and self.universal_function else None

    def infer(self, *operands: Any, **none: Any) -> TensorType:
        for operand in operands:
            self.check_kind(operand)
        result: TensorType = reduce(broadcast, operands)
        return result

    def check_kind(self, operand: TensorType) -> None:
        """TypeMismatch for a dtype that is not of the operator's kinds."""
        if operand.dtype.kind not in self.kinds:
            target = {"float": "f32", "int": "i64", "bool": "bool"}[self.kinds[0]]
            convert = f"compare it, as in `x != 0`, or convert it: `cast(x, {target})`"
            hint = convert if target == "bool" else f"convert it: `cast(x, {target})`"
            raise TypeMismatch(f"expected {' or '.join(self.kinds)} tensors, got {operand}", hint)

    def compute(self, *operands: Any, **none: Any) -> Array:
        return np.asarray(getattr(np, self.ufunc)(*operands))  # scalars must stay arrays

    def lower(self, emit: Emit, *operands: Any, **none: Any) -> str:
        return emit(self.onnx, *operands)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        return batch_broadcast(self, mapped, operands)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        return incremental_broadcast(self, window, axis, operands)


class Unary(Elementwise):
    """A function of one variable, with its derivative."""

    compiles = False  # NumPy's exp, tanh and others are vectorised, the C library's are not
    kinds: ClassVar[tuple[str, ...]] = ("float",)
    operand_names: ClassVar[tuple[str, ...]] = ("x",)

    def derivative(self, x: Value, result: Value) -> Value:
        """The derivative at `x`, where the function's value is `result`."""
        raise NotImplementedError

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value | None]:
        return (grad * self.derivative(x, result),)


class PiecewiseConstant(Elementwise):
    """A function whose derivative is zero wherever it has one."""

    rounds = False
    cheap = True
    kinds: ClassVar[tuple[str, ...]] = ("float",)
    operand_names: ClassVar[tuple[str, ...]] = ("x",)

    @property
    def discontinuous(self) -> bool:
        return True

    def pullback(self, grad: Value, *operands: Value, result: Value) -> tuple[None, ...]:
        return (None,) * len(operands)


class Add(Elementwise):
    """`x + y`."""

    name, onnx, ufunc = "add", "Add", "add"
    cheap = True
    sign = "+"
    commutative = True

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        x, y = operands
        if number_of(y) is not None:
            yield x, result - y
        elif number_of(x) is not None:
            yield y, result - x

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        return sum_to(x.type, grad), sum_to(y.type, grad)


class Sub(Elementwise):
    """`x - y`."""

    name, onnx, ufunc = "sub", "Sub", "subtract"
    cheap = True
    sign = "-"
    same_unit = (0, 1)

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        x, y = operands
        if number_of(y) is not None:
            yield x, result + y
        elif number_of(x) is not None:
            yield y, x - result

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        return sum_to(x.type, grad), sum_to(y.type, -grad)


class Mul(Elementwise):
    """`x * y`."""

    name, onnx, ufunc = "mul", "Mul", "multiply"
    cheap = True
    sign = "*"
    commutative = True

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        x, y = operands
        if (factor := number_of(y)) is not None:
            if factor:
                yield x, result / y
        elif number_of(x):
            yield y, result / x

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        return sum_to(x.type, grad * y), sum_to(y.type, grad * x)


class Div(Elementwise):
    """`x / y`, of floats; integers divide by `//`."""

    name, onnx, ufunc = "div", "Div", "divide"
    sign = "/"
    counts_from_zero = (1,)
    kinds = ("float",)

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        x, y = operands
        if number_of(y):
            yield x, result * y

    def check_kind(self, operand: TensorType) -> None:
        if operand.dtype.is_integer:
            raise TypeMismatch(
                f"expected floats, got {operand}", "`//` divides integers, and `cast(x, f32)` makes floats"
            )
        super().check_kind(operand)

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        return sum_to(x.type, grad / y), sum_to(y.type, -(grad * result / y))

    def lower(self, emit: Emit, x: str, y: str) -> str:
        if emit.follows_from_sizes(y) and not emit.target.divides_by_sizes:
            return emit("Mul", x, emit("Reciprocal", y))
        return emit("Div", x, y)


class FloorDiv(PiecewiseConstant):
    """`x // y`: the quotient rounded down, of integers or floats, as in Python."""

    name, ufunc = "floor_div", "floor_divide"
    sign = "//"
    operand_names = ("x", "y")
    kinds = ("int", "float")

    def compute(self, x: Array, y: Array) -> Array:
        return np.asarray(np.floor_divide(x, _divisor(y)))

    def lower(self, emit: Emit, x: str, y: str) -> str:
        dtype = emit.type(x).dtype
        if dtype == DType.U8:
            return emit("Div", x, y)
        one = np.ones((), dtype.numpy)
        if dtype.is_float:
            rest = emit("Mod", x, y, fmod=1)
            quotient = emit("Round", emit("Div", emit("Sub", x, rest), y))
        else:
            # onnxruntime crashes on the lowest integer over -1, which its dtype cannot hold: it wraps around, as -x.
            minus = emit("Equal", y, -one)
            quotient = emit("Div", x, emit("Where", minus, one, y))
            quotient = emit("Where", minus, emit("Neg", x), quotient)
            rest = emit("Sub", x, emit("Mul", quotient, y))
        lower = emit("Sub", quotient, one)  # ONNX rounds towards 0
        floor = emit("Where", _differs_in_sign(emit, rest, y), lower, quotient)
        if not dtype.is_float:
            return floor
        return emit("Where", emit("Equal", y, np.zeros((), dtype.numpy)), emit("Div", x, y), floor)


class Mod(Elementwise):
    """`x % y`: the remainder of `x // y`, with the sign of `y`, of integers or floats, as in Python."""

    name, ufunc = "mod", "remainder"
    sign = "%"
    kinds = ("int", "float")

    @property
    def discontinuous(self) -> bool:
        return True

    def compute(self, x: Array, y: Array) -> Array:
        return np.asarray(np.remainder(x, _divisor(y)))

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        return sum_to(x.type, grad), sum_to(y.type, -(grad * floor_div(x, y)))

    def lower(self, emit: Emit, x: str, y: str) -> str:
        return lower_mod(emit, x, y)


def _divisor(y: Array) -> Array:
    """`y`, checked: ZeroDivisionError for an integer 0, by which NumPy would silently give 0; onnxruntime fails too."""
    if y.dtype.kind in "iu" and not y.all():
        raise ZeroDivisionError("an integer is divided by 0")
    return y


def lower_mod(emit: Emit, x: str, y: str) -> str:
    """`x % y` by ONNX's Mod, which has the sign of `y` for integers, but of `x` for floats."""
    dtype = emit.type(x).dtype
    if dtype.is_integer:
        return emit("Mod", x, y)
    rest = emit("Mod", x, y, fmod=1)
    return emit("Where", _differs_in_sign(emit, rest, y), emit("Add", rest, y), rest)


def _differs_in_sign(emit: Emit, rest: str, y: str) -> str:
    """Whether the remainder is not 0 and its sign differs from that of `y`."""
    zero = np.zeros((), emit.type(y).dtype.numpy)
    apart = emit("Xor", emit("Less", rest, zero), emit("Less", y, zero))
    return emit("And", apart, emit("Not", emit("Equal", rest, zero)))


class Neg(Elementwise):
    """`-x`, of floats and signed integers."""

    name, onnx, ufunc = "neg", "Neg", "negative"
    reads_as_operand = True
    cheap = True
    operand_names = ("x",)

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        yield operands[0], -result

    def check_kind(self, operand: TensorType) -> None:
        if operand.dtype == DType.U8:
            raise TypeMismatch(f"{operand} is unsigned and cannot be negated", "convert it: `cast(x, i32)`")
        super().check_kind(operand)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (-grad,)


class Abs(Unary):
    """The absolute value; its gradient at 0 is 0."""

    name, onnx, ufunc = "abs", "Abs", "absolute"
    compiles = True
    number_function = abs
    kinds = ("float", "int")

    def lower(self, emit: Emit, x: str) -> str:
        dtype = emit.type(x).dtype
        if dtype.is_float or emit.target.has_integer_abs:
            return super().lower(emit, x)
        return emit("Where", emit("Less", x, np.zeros((), dtype.numpy)), emit("Neg", x), x)

    def derivative(self, x: Value, result: Value) -> Value:
        return sign(x)


class Sign(PiecewiseConstant):
    """-1, 0 or 1: the sign of each number."""

    name, onnx, ufunc = "sign", "Sign", "sign"
    kinds = ("float", "int")


class Reciprocal(Unary):
    """`1 / x`."""

    name, onnx, ufunc = "reciprocal", "Reciprocal", "reciprocal"
    mixed = "f32"
    compiles = True
    counts_from_zero = (0,)

    def derivative(self, x: Value, result: Value) -> Value:
        return -(result * result)


class Maximum(Elementwise):
    """The larger of `x` and `y`; equal ones get half of the gradient each."""

    name, onnx, ufunc = "maximum", "Max", "maximum"
    same_unit = (0, 1)
    number_function = staticmethod(max)
    commutative = True

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        return _split_gradient(grad, x, y, less(x, y), greater(x, y))


class Minimum(Elementwise):
    """The smaller of `x` and `y`; equal ones get half of the gradient each."""

    name, onnx, ufunc = "minimum", "Min", "minimum"
    same_unit = (0, 1)
    number_function = staticmethod(min)
    commutative = True

    def pullback(self, grad: Value, x: Value, y: Value, *, result: Value) -> tuple[Value, Value]:
        return _split_gradient(grad, x, y, greater(x, y), less(x, y))


def _split_gradient(grad: Value, x: Value, y: Value, not_x: Value, not_y: Value) -> tuple[Value, Value]:
    """The gradients of `x` and `y`: all of it for the selected one, half for each where they are equal, as in PyTorch.

    That is the derivative of (x + y + |x - y|) / 2 with 0 for that of |0|, so that a smooth function that is a sum of
    such pieces has the right derivative at their corners too. Where one is NaN both get all of it.
    """
    zero = constant(0, grad.type.dtype)
    either = where(equal(x, y), grad * 0.5, grad)
    return sum_to(x.type, where(not_x, zero, either)), sum_to(y.type, where(not_y, zero, either))


class Clip(Elementwise):
    """`x` limited to `low` to `high`, either of which may be omitted; no gradient flows where it was changed."""

    name, onnx = "clip", "Clip"
    positions = "some"
    operand_names = ("x",)
    low: OptionalNumber = None
    high: OptionalNumber = None

    def infer(self, x: TensorType) -> TensorType:
        self.check_kind(x)
        for bound in (self.low, self.high):
            if bound is not None and x.dtype.is_float and not x.dtype.holds(bound):
                beyond = "0" if abs(bound) < 1 else "infinite"
                raise TypeMismatch(f"the bound {bound} would be {beyond} in {x.dtype}", "convert `x`, as by `widen(x)`")
            if bound is not None and x.dtype.is_integer and not x.dtype.holds(bound):
                low, high = x.dtype.range
                raise TypeMismatch(f"{bound} is not a valid bound for {x}", f"use a whole number from {low} to {high}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise TypeMismatch(f"the lower bound {self.low} is above the upper bound {self.high}", "swap the bounds")
        return x

    def compute(self, x: Array) -> Array:
        if self.low is None and self.high is None:
            return x
        return np.asarray(np.clip(x, *self._bounds(x.dtype)), x.dtype)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        # Where nothing was changed; a bound itself counts as inside, as in PyTorch.
        return (where(equal(x, result), grad, constant(0, grad.type.dtype)),)

    def lower(self, emit: Emit, x: str) -> str:
        dtype = emit.type(x).dtype
        low, high = self._bounds(dtype.numpy)
        if dtype.is_float:  # an absent bound is the largest finite number in onnxruntime
            low = np.array(-np.inf, dtype.numpy) if low is None else low
            high = np.array(np.inf, dtype.numpy) if high is None else high
        return emit("Clip", x, low, high)

    def _bounds(self, dtype: np.dtype[np.generic]) -> tuple[Array | None, Array | None]:
        low, high = (None if bound is None else np.array(bound, dtype) for bound in (self.low, self.high))
        return low, high


class Floor(PiecewiseConstant):
    """Rounded down to a whole number."""

    name, onnx, ufunc = "floor", "Floor", "floor"
    number_function = math.floor


class Ceil(PiecewiseConstant):
    """Rounded up to a whole number."""

    name, onnx, ufunc = "ceil", "Ceil", "ceil"
    number_function = math.ceil


class Round(PiecewiseConstant):
    """Rounded to the nearest whole number, halves to the even one."""

    name, onnx, ufunc = "round", "Round", "rint"
    number_function = round
