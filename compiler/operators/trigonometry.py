"""Circular and hyperbolic functions, element by element, and their inverses."""

from __future__ import annotations

import math

from compiler.graph import Value
from compiler.operators.arithmetic import Unary
from compiler.operators.making import sqrt


class Sin(Unary):
    """The sine of an angle in radians."""

    name, onnx, ufunc = "sin", "Sin", "sin"
    mixed = "f32"
    number_function = math.sin

    def derivative(self, x: Value, result: Value) -> Value:
        return Cos()(x)


class Cos(Unary):
    """The cosine of an angle in radians."""

    name, onnx, ufunc = "cos", "Cos", "cos"
    mixed = "f32"
    number_function = math.cos

    def derivative(self, x: Value, result: Value) -> Value:
        return -Sin()(x)


class Tan(Unary):
    """The tangent of an angle in radians."""

    name, onnx, ufunc = "tan", "Tan", "tan"
    mixed = "f32"
    number_function = math.tan

    def derivative(self, x: Value, result: Value) -> Value:
        return result * result + 1


class Asin(Unary):
    """The angle, from -pi/2 to pi/2, whose sine is `x`."""

    name, onnx, ufunc = "asin", "Asin", "arcsin"
    mixed = "f32"

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad / sqrt(1 - x * x),)


class Acos(Unary):
    """The angle, from 0 to pi, whose cosine is `x`."""

    name, onnx, ufunc = "acos", "Acos", "arccos"
    mixed = "f32"

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (-(grad / sqrt(1 - x * x)),)


class Atan(Unary):
    """The angle, from -pi/2 to pi/2, whose tangent is `x`."""

    name, onnx, ufunc = "atan", "Atan", "arctan"
    mixed = "f32"

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad / (x * x + 1),)


class Sinh(Unary):
    """The hyperbolic sine."""

    name, onnx, ufunc = "sinh", "Sinh", "sinh"
    mixed = "f32"

    def derivative(self, x: Value, result: Value) -> Value:
        return Cosh()(x)


class Cosh(Unary):
    """The hyperbolic cosine."""

    name, onnx, ufunc = "cosh", "Cosh", "cosh"
    mixed = "f32"

    def derivative(self, x: Value, result: Value) -> Value:
        return Sinh()(x)


class Asinh(Unary):
    """The inverse of the hyperbolic sine."""

    name, onnx, ufunc = "asinh", "Asinh", "arcsinh"
    mixed = "f32"

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad / sqrt(x * x + 1),)


class Acosh(Unary):
    """The inverse of the hyperbolic cosine, of numbers from 1."""

    name, onnx, ufunc = "acosh", "Acosh", "arccosh"
    mixed = "f32"

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad / sqrt(x * x - 1),)


class Atanh(Unary):
    """The inverse of the hyperbolic tangent, of numbers between -1 and 1."""

    name, onnx, ufunc = "atanh", "Atanh", "arctanh"
    mixed = "f32"

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (grad / (1 - x * x),)
