"""Attention between the transposes that give its heads an axis of their own takes the heads side by side instead.

Only where ONNX's operator computes the attention: it takes both layouts, and the reshapes and transposes before and
after it go. Elsewhere the scores need the axis of heads.
"""

from __future__ import annotations

from compiler.graph import Value
from compiler.operators.attention import Attention
from compiler.operators.packed_attention import PackedAttention
from compiler.operators.shaping import Reshape, Transpose
from compiler.passes.recognition import recognition
from compiler.passes.rules import Application, Pattern, Rules, either, pattern_of, variables

q, k, v, bias, mask = variables("q k v bias mask")
_SWAPPED = (0, 2, 1, 3)


def _by_heads(x: Pattern, name: str) -> Application:
    """The pattern of `[batch, T, heads * d]` as `[batch, heads, T, d]`; its value is bound to the name."""
    return pattern_of(Transpose)(pattern_of(Reshape)(x), permutation=_SWAPPED).named(name)


_operands = (_by_heads(q, "queries"), _by_heads(k, "keys"), _by_heads(v, "values"))
_fused = either(
    pattern_of(Attention)(*_operands).named("fused"),
    pattern_of(Attention)(*_operands, mask).named("fused"),
    pattern_of(Attention)(*_operands, bias, mask).named("fused"),
)


def _are_side_by_side(q: Value, k: Value, v: Value, queries: Value, keys: Value, values: Value, fused: Value) -> bool:
    pairs = ((q, queries), (k, keys), (v, values))
    split = all(x.type.rank == 3 and (x.shape[0], x.shape[1]) == (heads.shape[0], heads.shape[2]) for x, heads in pairs)
    return split and fused.node.op.native_opset(queries.type) > 0


def _pack(q: Value, k: Value, v: Value, bias: Value | None, mask: Value | None, keys: Value, fused: Value) -> Value:
    op, heads, groups = fused.node.op, fused.shape[1], keys.shape[1]
    assert isinstance(op, Attention) and isinstance(heads, int) and isinstance(groups, int)
    others = [other for other in (bias, mask) if other is not None]
    return PackedAttention(heads, groups, op.scale, op.steps, op.zeroed, op.finite_biases)(q, k, v, *others)


PACKED: Rules = (
    recognition(
        "heads side by side",
        pattern_of(Reshape)(pattern_of(Transpose)(_fused, permutation=_SWAPPED)),
        _pack,
        when=_are_side_by_side,
    ),
)
