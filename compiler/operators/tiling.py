"""The operator that repeats a whole tensor along its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.attribute_kinds import Extents
from compiler.graph import Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.making import sum_
from compiler.operators.shaping import DataMovement, Reshape
from compiler.types import TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Tile(DataMovement):
    """`x` repeated `repeats[i]` times along axis `i`."""

    name = "tile"
    positions = "all"
    repeats: Extents

    def infer(self, x: TensorType) -> TensorType:
        if len(self.repeats) != x.rank or any(isinstance(times, int) and times < 0 for times in self.repeats):
            raise TypeMismatch(f"{x} needs {x.rank} counts of at least 0, not {list(self.repeats)}")
        return x.with_shape(*(size * times for size, times in zip(x.shape, self.repeats, strict=True)))

    def compute(self, x: Array) -> Array:
        return np.tile(x, self.repeats)  # type: ignore[arg-type]

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        pairs = tuple(size for pair in zip(self.repeats, x.shape, strict=True) for size in pair)
        return (sum_(Reshape(pairs)(grad), tuple(range(0, len(pairs), 2))),) if pairs else (grad,)

    def lower(self, emit: Emit, x: str) -> str:
        return emit("Tile", x, emit.sizes(self.repeats)) if self.repeats else emit("Identity", x)
