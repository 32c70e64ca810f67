"""Activation functions; others, such as GELU, are equations in the standard library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compiler.graph import Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.arithmetic import Unary
from compiler.operators.making import cast, exp
from compiler.operators.powers import lower_log1p
from compiler.types import DType

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Tanh(Unary):
    """The hyperbolic tangent."""

    name, onnx, ufunc = "tanh", "Tanh", "tanh"
    latex = r"\tanh"
    number_function = math.tanh

    def derivative(self, x: Value, result: Value) -> Value:
        return 1 - result * result


class Sigmoid(Unary):
    """The logistic function `1 / (1 + exp(-x))`."""

    name, onnx = "sigmoid", "Sigmoid"
    latex = r"\sigma"
    allocates = True
    wide = True

    def compute(self, x: Array) -> Array:
        result = np.empty_like(x)
        logistic(x, result)
        return result

    def derivative(self, x: Value, result: Value) -> Value:
        return result * (1 - result)

    def lower(self, emit: Emit, x: str) -> str:
        # onnxruntime's Sigmoid is 0 below -18, and off by a fifth above that.
        dtype = emit.type(x).dtype
        wide = emit("Cast", x, to=DType.F32.onnx) if dtype.is_half else x  # in f16 exp overflows from 11 on
        one = np.ones((), np.float32 if dtype.is_half else dtype.numpy)
        result = emit("Reciprocal", emit("Add", emit("Exp", emit("Neg", wide)), one))
        return emit("Cast", result, to=dtype.onnx) if dtype.is_half else result


def logistic(x: Array, out: Array) -> None:
    """1 / (1 + exp(-x)) into `out`: 0 where exp overflows, and accurate to the last digits down to there.

    (1 + tanh(x / 2)) / 2 is faster by a third on long arrays, but has lost all digits at -17 in f32.
    """
    np.negative(x, out=out)
    logistic_of_negative(out, out)


def logistic_of_negative(x: Array, out: Array) -> None:
    """1 / (1 + exp(x)) into `out`, which may be `x` itself."""
    np.exp(x, out=out)
    out += 1
    np.reciprocal(out, out=out)


class Softplus(Unary):
    """`log(1 + exp(x))`, without overflow."""

    name = "softplus"
    mixed = "f32"
    wide = True

    def compute(self, x: Array) -> Array:
        return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))

    def derivative(self, x: Value, result: Value) -> Value:
        return Sigmoid()(x)

    def lower(self, emit: Emit, x: str) -> str:
        # onnxruntime has a kernel for f32 alone; elsewhere it may take ONNX's own function, whose exp overflows.
        dtype = emit.type(x).dtype
        if dtype.is_half:
            wide = emit("Cast", x, to=DType.F32.onnx)
            return emit("Cast", emit("Softplus", wide), to=dtype.onnx)
        if dtype == DType.F32:
            return emit("Softplus", x)
        small = lower_log1p(emit, emit("Exp", emit("Neg", emit("Abs", x))), dtype)
        return emit("Add", emit("Max", x, np.zeros((), dtype.numpy)), small)


class Relu(Unary):
    """`maximum(x, 0)`; its gradient at 0 is 0."""

    name, onnx = "relu", "Relu"
    allocates = True

    def compute(self, x: Array) -> Array:
        return np.asarray(np.maximum(x, x.dtype.type(0)))

    @property
    def writer(self) -> Callable[..., Any]:
        return _rectify

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        # From the result, so that `x` need not be kept; in onnxruntime two casts and a product take half the time of a
        # Sign, and an eighth of a Where.
        return (grad * cast(cast(result, DType.BOOL), result.type.dtype),)


def _rectify(x: Array, out: Array) -> Array:
    return np.asarray(np.maximum(x, x.dtype.type(0), out=out))


class Erf(Unary):
    """The error function `2 / sqrt(pi) * integral of exp(-t**2) from 0 to x`."""

    name, onnx = "erf", "Erf"
    number_function = math.erf

    def compute(self, x: Array) -> Array:
        return np.asarray(error_function(np.asarray(x)), x.dtype)

    def derivative(self, x: Value, result: Value) -> Value:
        return exp(-(x * x)) * (2 / math.sqrt(math.pi))


# W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969),
# 631-637, with the coefficients of his SPECFUN: erf(x) is x times a rational function of x**2 up to 0.46875, and
# 1 - exp(-x**2) times a rational function of x beyond. Highest power first, here and below.
_SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_LARGE = (
    (
        *(2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1),
        *(2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3),
        1.23033935479799725e3,
    ),
    (
        *(1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2),
        *(1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3),
        1.23033935480374942e3,
    ),
)
_LEFT_OF_LARGE = 0.46875
_ONE_FROM = 6.0  # erf is 1 to the last bit of f64 from 5.93

# For f32, x times a rational function of x**2 up to 4, from where on erf is 1 to the last bit: the coefficients that
# Eigen and XLA use.
_SINGLE = (
    (
        *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05),
        *(-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
    ),
    (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02),
)
_ONE_FROM_SINGLE = 4.0
_BLOCK = 32768  # elements that stay in the processor's cache through all passes over them


def error_function(x: Array) -> Array:
    """Erf of floats, in a new array of f64 for those, and of f32 for narrower ones."""
    wide = x.astype(np.float64 if x.dtype.itemsize == 8 else np.float32).reshape(-1)
    kernel = _erf_double if x.dtype.itemsize == 8 else _erf_single
    for start in range(0, wide.size, _BLOCK):
        block = wide[start : start + _BLOCK]
        block[...] = kernel(block)
    return wide.reshape(x.shape)


def _erf_single(x: Array) -> Array:
    near = np.clip(x, np.float32(-_ONE_FROM_SINGLE), np.float32(_ONE_FROM_SINGLE))
    result = _rational(near * near, *_SINGLE)
    result *= near
    return np.clip(result, -1, 1, out=result)  # the rational function passes 1 by two units in the last place


def _erf_double(x: Array) -> Array:
    size = np.minimum(np.abs(x), _ONE_FROM)
    square = size * size
    beyond = 1 - np.exp(-square) * _rational(size, *_LARGE)
    near = size * _rational(np.minimum(square, _LEFT_OF_LARGE**2), *_SMALL)
    result: Array = np.copysign(np.where(size <= _LEFT_OF_LARGE, near, beyond), x)
    return result


def _rational(x: Array, numerator: tuple[float, ...], denominator: tuple[float, ...]) -> Array:
    quotient = _polynomial(x, numerator)
    quotient /= _polynomial(x, denominator)
    return quotient


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """Horner's rule, in one buffer."""
    total: Array = x * x.dtype.type(coefficients[0])
    for coefficient in coefficients[1:-1]:
        total += x.dtype.type(coefficient)
        total *= x
    total += x.dtype.type(coefficients[-1])
    return total
