"""An operator over all workers of a data-parallel training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from compiler.attribute_kinds import Flag, Text
from compiler.graph import NotDifferentiable, Operator, Value
from compiler.lowering import Emit
from compiler.types import TensorType, TypeMismatch

if TYPE_CHECKING:
    from compiler.types import Array

_IDENTITIES = {"sum": 0.0, "max": -math.inf, "min": math.inf}


class AllReduce(Operator):
    """The elementwise `by` (sum, max or min) of the workers' tensors `x`, which each of them receives.

    Every worker's own gradient of the result is a part of the whole one, so that the gradient of a sum is the sum of
    these; with `alike` each has the whole already, as for a loss that is computed of sums over all workers. A graph is
    cut at these operators before it runs (see `compiler.training.segments`). Run by itself it has one worker.
    """

    name = "all_reduce"
    public = False
    by: Text = "sum"
    alike: Flag = False

    @property
    def identity(self) -> float:
        """What changes no reduction: the part of a worker that has none."""
        return _IDENTITIES[self.by]

    def infer(self, x: TensorType) -> TensorType:
        if self.by not in _IDENTITIES:
            raise TypeMismatch(f"`by` must be sum, max or min, not {self.by}")
        if not x.dtype.is_float:
            raise TypeMismatch(f"expected a float tensor, got {x}")
        return x

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        return ()

    def compute(self, x: Array) -> Array:
        return x.copy()

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        if self.by != "sum":
            raise NotDifferentiable(f"{self.name} by {self.by}")
        return (grad if self.alike else AllReduce()(grad),)

    def lower(self, emit: Emit, x: str) -> str:
        return emit("Identity", x)
