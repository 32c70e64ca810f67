"""Rotary positions as one operator, on heads with an axis of their own or side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.attribute_kinds import Integer
from compiler.dims import Size
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.orders import lower_positions
from compiler.types import DType, TensorType, TypeMismatch, same_dtype

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class RotaryEmbedding(Operator):
    """Coordinates i and i + d/2 of each head as points that are rotated by an angle of the position (Su et al. 2021).

    `x: [batch, heads, T, d]`, or `[batch, T, heads * d]` where `heads` is not 0; `across, up: [T, d/2]` are the cosine
    and sine of the angles. (a, b) becomes (a across - b up, b across + a up).
    """

    name = "rotary_embedding"
    public = False
    recognised = True
    allocates = True
    heads: Integer = 0

    def infer(self, x: TensorType, across: TensorType, up: TensorType) -> TensorType:
        same_dtype(x, across, up)
        length, width = self._length_and_width(x)
        if not x.dtype.is_float or across.shape != (length, width // 2) or up.shape != across.shape:
            raise TypeMismatch(f"expected two tables [{length}, {width // 2}] for {x}, got {across} and {up}")
        return x

    def _length_and_width(self, x: TensorType) -> tuple[Size, int]:
        """The number of positions, and the width of a head."""
        if x.rank == (3 if self.heads else 4) and isinstance(x.shape[-1], int):
            heads = self.heads or 1
            if x.shape[-1] % (2 * heads) == 0:
                return x.shape[-2], x.shape[-1] // heads
        expected = (
            f"[batch, T, {self.heads} heads of an even width]" if self.heads else "[batch, heads, T, an even width]"
        )
        raise TypeMismatch(f"expected {expected}, got {x}")

    def compute(self, x: Array, across: Array, up: Array) -> Array:
        if self.heads:
            apart = x.reshape(*x.shape[:2], self.heads, x.shape[2] // self.heads)
            return self._rotate(apart, across[:, None], up[:, None]).reshape(x.shape)
        return self._rotate(x, across, up)

    def _rotate(self, x: Array, across: Array, up: Array) -> Array:
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * across - b * up, b * across + a * up], axis=-1)

    def native_opset(self, x: TensorType, *tables: TensorType) -> int:
        return 23 if x.dtype is DType.F32 else 0

    def lower(self, emit: Emit, x: str, across: str, up: str) -> str:
        type = emit.type(x)
        length, width = self._length_and_width(type)
        if self.native_opset(type) and emit.opset >= 23:
            positions = emit("Expand", lower_positions(emit, length), emit.sizes((type.shape[0], length)))
            return emit("RotaryEmbedding", x, across, up, positions, num_heads=self.heads or None)
        if self.heads:
            x = emit("Reshape", x, emit.sizes((*type.shape[:2], self.heads, width)), allowzero=1)
            across, up = (emit("Unsqueeze", table, np.array([1])) for table in (across, up))
        a, b = emit.many(2, "Split", x, np.array([width // 2] * 2), axis=-1)
        left = emit("Sub", emit("Mul", a, across), emit("Mul", b, up))
        right = emit("Add", emit("Mul", b, across), emit("Mul", a, up))
        result = emit("Concat", left, right, axis=-1)
        return emit("Reshape", result, emit.sizes(type.shape), allowzero=1) if self.heads else result

    def flops(self, x: TensorType, *tables: TensorType) -> Size:
        return 3 * x.elements
