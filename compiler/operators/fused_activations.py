"""Activations that are equations in the language; a pass creates these operators from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from compiler.attribute_kinds import Flag
from compiler.dims import Size
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.activations import Softplus, error_function, logistic
from compiler.operators.arithmetic import Elementwise
from compiler.types import DType, TensorType

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class FusedActivation(Elementwise):
    """A function of one float tensor, which is an ONNX operator of its own; 16-bit floats are computed in f32."""

    public = False
    recognised = True
    kinds = ("float",)
    operand_names = ("x",)
    allocates = True
    wide = True
    since: ClassVar[int] = 0  # the opset of the ONNX operator, which onnxruntime runs in f32 alone; 0 for none
    cost: ClassVar[int]  # floating-point operations of an element

    def native_opset(self, x: TensorType) -> int:
        return self.since if x.dtype is DType.F32 else 0

    def lower(self, emit: Emit, x: str) -> str:
        dtype = emit.type(x).dtype
        if not dtype.is_half:
            return self._lower_wide(emit, x, dtype)
        wide = emit("Cast", x, to=DType.F32.onnx)
        return emit("Cast", self._lower_wide(emit, wide, DType.F32), to=dtype.onnx)

    def _lower_wide(self, emit: Emit, x: str, dtype: DType) -> str:
        if dtype is DType.F32 and self.since and emit.opset >= self.since:
            return self.lower_native(emit, x)
        return self.decompose(emit, x, dtype)

    def lower_native(self, emit: Emit, x: str) -> str:
        """The ONNX operator of an f32 operand."""
        return emit(self.onnx, x)

    def decompose(self, emit: Emit, x: str, dtype: DType) -> str:
        """The equations, of an operand of f32 or f64."""
        raise NotImplementedError

    def flops(self, x: TensorType) -> Size:
        return x.elements * self.cost


class Gelu(FusedActivation):
    """x times the normal distribution function of x, or its approximation by `tanh` (Hendrycks and Gimpel 2016)."""

    name, onnx = "gelu", "Gelu"
    since = 20
    cost = 12
    tanh: Flag = False

    def compute(self, x: Array) -> Array:
        number = x.dtype.type
        if self.tanh:
            result = np.square(x)
            result *= number(_CUBIC * _LINEAR)
            result += number(_LINEAR)
            result *= x
            result = np.tanh(result, out=result)
        else:
            result = error_function(x * number(math.sqrt(0.5)))
        result += number(1)
        result *= number(0.5)  # before x, which may be the largest number
        result *= x
        return np.asarray(result)

    def lower_native(self, emit: Emit, x: str) -> str:
        return emit(self.onnx, x, approximate="tanh") if self.tanh else emit(self.onnx, x)

    def decompose(self, emit: Emit, x: str, dtype: DType) -> str:
        number = dtype.numpy.type
        if self.tanh:
            slope = emit("Mul", emit("Mul", x, x), np.asarray(number(_CUBIC * _LINEAR)))
            gate = emit("Tanh", emit("Mul", emit("Add", slope, np.asarray(number(_LINEAR))), x))
        else:
            gate = emit("Erf", emit("Mul", x, np.asarray(number(math.sqrt(0.5)))))
        half = emit("Mul", x, np.asarray(number(0.5)))
        return emit("Mul", half, emit("Add", gate, np.asarray(number(1))))


_CUBIC = 0.044715  # of the approximation tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))
_LINEAR = math.sqrt(2 / math.pi)


class HardSigmoid(FusedActivation):
    """x / 6 + 1/2, limited to 0 to 1: a sigmoid of straight lines (Howard et al. 2019)."""

    name, onnx = "hard_sigmoid", "HardSigmoid"
    since = 17
    cost = 4

    def compute(self, x: Array) -> Array:
        result = np.asarray(x * x.dtype.type(1 / 6))
        result += x.dtype.type(0.5)
        return np.clip(result, 0, 1, out=result)

    def lower_native(self, emit: Emit, x: str) -> str:
        return emit(self.onnx, x, alpha=1 / 6, beta=0.5)

    def decompose(self, emit: Emit, x: str, dtype: DType) -> str:
        number = dtype.numpy.type
        line = emit("Add", emit("Mul", x, np.asarray(number(1 / 6))), np.asarray(number(0.5)))
        return emit("Clip", line, np.asarray(number(0)), np.asarray(number(1)))


class HardSwish(FusedActivation):
    """x times the hard sigmoid of x (Howard et al. 2019)."""

    name, onnx = "hard_swish", "HardSwish"
    since = 17
    cost = 5

    def compute(self, x: Array) -> Array:
        result = HardSigmoid().compute(x)
        result *= x
        return result

    def decompose(self, emit: Emit, x: str, dtype: DType) -> str:
        return emit("Mul", x, HardSigmoid().decompose(emit, x, dtype))


class Mish(FusedActivation):
    """x * tanh(softplus(x)) (Misra 2019)."""

    name, onnx = "mish", "Mish"
    since = 18
    cost = 12

    def compute(self, x: Array) -> Array:
        result = np.tanh(Softplus().compute(x))
        result *= x
        return np.asarray(result)

    def decompose(self, emit: Emit, x: str, dtype: DType) -> str:
        softplus = emit("Softplus", x) if dtype is DType.F32 else Softplus().lower(emit, x)
        return emit("Mul", x, emit("Tanh", softplus))


class Silu(FusedActivation):
    """x * sigmoid(x), also called swish (Elfwing et al. 2017).

    ONNX's Swish becomes onnxruntime's Sigmoid and a product, and that sigmoid is 0 below -18.
    """

    name = "silu"
    cost = 6

    def compute(self, x: Array) -> Array:
        result = np.empty_like(x)
        logistic(x, result)
        result *= x
        return result

    def decompose(self, emit: Emit, x: str, dtype: DType) -> str:
        return emit("Div", x, emit("Add", emit("Exp", emit("Neg", x)), np.ones((), dtype.numpy)))
