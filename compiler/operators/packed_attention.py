"""Attention whose heads lie side by side on the last axis, as products with weights leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from compiler.attribute_kinds import INTERNAL, Flag, Integer, Number
from compiler.dims import Size
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.attention import Attention
from compiler.types import TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class PackedAttention(Operator):
    """Attention of `q: [batch, T, heads * d]`, `k: [batch, S, groups * d]` and `v: [batch, S, groups * e]`.

    The result is `[batch, T, heads * e]`. The other attributes, and what `steps` take as operands, are those of
    `Attention`. ONNX's operator takes these axes too, from opset 24 on; below it, heads get an axis of their own.
    """

    name = "packed_attention"
    public = False
    recognised = True
    sums = True
    heads: Integer
    groups: Integer
    scale: Number
    steps: Annotated[tuple[tuple[str, float], ...], INTERNAL] = ()
    zeroed: Flag = False
    finite_biases: Flag = False

    @property
    def by_heads(self) -> Attention:
        """The operator on tensors with an axis of heads."""
        return Attention(self.scale, self.steps, 0, self.zeroed, self.finite_biases)

    def infer(self, q: TensorType, k: TensorType, v: TensorType, *others: TensorType) -> TensorType:
        apart = (self._apart(q, self.heads), self._apart(k, self.groups), self._apart(v, self.groups))
        result = self.by_heads.infer(*apart, *others)
        width = v.shape[2]
        assert isinstance(width, int)
        return result.with_shape(*q.shape[:2], self.heads * (width // self.groups))

    def _apart(self, x: TensorType, heads: int) -> TensorType:
        """The type of an operand with an axis of heads: `[batch, heads, length, d]`."""
        if x.rank != 3 or not isinstance(x.shape[2], int) or heads < 1 or x.shape[2] % heads:
            raise TypeMismatch(f"expected [batch, length, {heads} heads of a width], got {x}")
        batch, length, width = x.shape
        return x.with_shape(batch, heads, length, width // heads)

    def compute(self, q: Array, k: Array, v: Array, *others: Array) -> Array:
        def apart(x: Array, heads: int) -> Array:
            return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).swapaxes(1, 2)

        result = self.by_heads.compute(apart(q, self.heads), apart(k, self.groups), apart(v, self.groups), *others)
        return result.swapaxes(1, 2).reshape(*q.shape[:2], self.heads * result.shape[-1])

    def native_opset(self, q: TensorType, *others: TensorType) -> int:
        return self.by_heads.native_opset(self._apart(q, self.heads))

    def lower(self, emit: Emit, q: str, k: str, v: str, *others: str) -> str:
        types = [emit.type(operand) for operand in (q, k, v)]
        apart = [self._apart(type, self.groups if index else self.heads) for index, type in enumerate(types)]
        native = self.native_opset(types[0])
        if native and emit.opset >= native:
            mask = self.by_heads.native_mask(emit, apart, others)
            attributes = {"scale": float(self.scale), "is_causal": int(self.by_heads.causal)}
            heads = {"q_num_heads": self.heads, "kv_num_heads": self.groups}
            return emit("Attention", q, k, v, mask, **attributes, **heads)
        operands = []
        for name, type in zip((q, k, v), apart, strict=True):
            batch, heads_of_it, length, width = type.shape
            split = emit("Reshape", name, emit.sizes((batch, length, heads_of_it, width)), allowzero=1)
            operands.append(emit("Transpose", split, perm=(0, 2, 1, 3)))
        result = emit("Transpose", self.by_heads.lower_typed(emit, operands, apart, others), perm=(0, 2, 1, 3))
        return emit("Reshape", result, emit.sizes(self.infer(*types, *map(emit.type, others)).shape), allowzero=1)

    def flops(self, q: TensorType, k: TensorType, v: TensorType, *others: TensorType) -> Size:
        types = (self._apart(q, self.heads), self._apart(k, self.groups), self._apart(v, self.groups))
        return self.by_heads.flops(*types, *others)
