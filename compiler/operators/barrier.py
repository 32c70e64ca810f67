"""An operator that changes no value, but when a value may be computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.graph import Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.shaping import DataMovement
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Barrier(DataMovement):
    """`x` itself, once `after` has been computed: what is computed of it is computed late.

    It also keeps what is computed of it apart from what is computed of `x` directly, as JAX's `optimization_barrier`
    does.
    """

    name = "barrier"
    public = False
    views_operand = True

    def infer(self, x: TensorType, after: TensorType) -> TensorType:
        if not after.dtype.is_float:
            raise TypeMismatch(f"expected a float tensor to wait for, got {after}")
        return x

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        return operands[:1]

    def keeps_last_axis(self, x: TensorType) -> bool:
        return True

    def compute(self, x: Array, after: Array) -> Array:
        return x

    def pullback(self, grad: Value, x: Value, after: Value, *, result: Value) -> tuple[Value, None]:
        return grad, None

    def lower(self, emit: Emit, x: str, after: str) -> str:
        """A reshape to the same shape, to which `after` adds zeros: onnxruntime cannot tell that they are zeros.

        It drops an Identity, and then computes equal nodes once; a Reshape takes over the memory of its operand.
        """
        shape = emit.type(x).shape
        first = emit("Slice", emit("Reshape", after, np.array([-1])), np.array([0]), np.array([1]), np.array([0]))
        zero = emit("Cast", emit("Greater", first, first), to=DType.I64.onnx)
        if not shape:
            one = emit("Add", zero, np.array([1]))
            return emit("Squeeze", emit.keep(emit("Reshape", x, one)), np.array([0]))
        return emit.keep(emit("Reshape", x, emit("Add", emit.sizes(shape), zero), allowzero=1))
