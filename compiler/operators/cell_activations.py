"""The activation functions of ONNX's recurrent operators that onnxruntime computes right.

Its Softplus overflows, so that it is not among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.operators.activations import logistic, logistic_of_negative
from grammar.record import ValueRecord

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Activation(ValueRecord):
    """A function by its name in ONNX, with the numbers that it takes: alpha, then beta."""

    name: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.numbers))})" if self.numbers else self.name

    @property
    def is_symmetric(self) -> bool:
        """Whether 1 - f(x) is f(-x)."""
        return self.name == "Sigmoid" or (self.name == "HardSigmoid" and self.numbers[1] == 0.5)

    @property
    def sign(self) -> int:
        """-1 where the function begins by negating its argument, which the weights before it may do once; else 1."""
        return -1 if self.name == "Sigmoid" else 1

    def of_signed(self, x: Array, out: Array) -> None:
        """The function of `x * sign` into `out`, which may be `x` itself."""
        if self.name == "Sigmoid":
            logistic_of_negative(x, out)
        else:
            self.compute(x, out)

    def compute(self, x: Array, out: Array) -> None:
        """The function of `x` into `out`, which may be `x` itself."""
        if self.name == "Tanh":
            np.tanh(x, out=out)
        elif self.name == "Sigmoid":
            logistic(x, out)
        elif self.name == "Relu":
            np.maximum(x, 0, out=out)
        elif self.name == "HardSigmoid":
            alpha, beta = self.numbers
            np.multiply(x, alpha, out=out)
            np.add(out, beta, out=out)
            np.clip(out, 0, 1, out=out)
        elif self.name == "LeakyRelu":
            out[...] = np.where(x > 0, x, self.numbers[0] * x)
        elif self.name == "Softsign":
            np.divide(x, 1 + np.abs(x), out=out)
        else:
            raise NotImplementedError(self.name)


TANH, SIGMOID, RELU, SOFTSIGN = Activation("Tanh"), Activation("Sigmoid"), Activation("Relu"), Activation("Softsign")
