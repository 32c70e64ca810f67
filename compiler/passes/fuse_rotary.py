"""Rotary positions, written as equations, become one operator where a runtime has it.

The form is the one of the library and of LLaMA: a head's halves `a` and `b` become `a c - b s` and `b c + a s`.
"""

from __future__ import annotations

from compiler.graph import Value
from compiler.operators.arithmetic import Add, Mul, Sub
from compiler.operators.rotary_embedding import RotaryEmbedding
from compiler.operators.shaping import Concat, Reshape, Transpose
from compiler.operators.slicing import Slice
from compiler.passes.rules import Rules, pattern_of, rule, variables

x, c, s, axis = variables("x c s axis")
slice_, mul = pattern_of(Slice), pattern_of(Mul)
_a, _b = slice_(x).named("a"), slice_(x).named("b")
_SWAPPED = (0, 2, 1, 3)


def _are_halves(x: Value, a: Value, b: Value, c: Value, s: Value, axis: int) -> bool:
    """Whether `a` and `b` are the halves of heads `[batch, heads, T, d]`, and `c` and `s` the tables of positions."""
    width = x.shape[-1]
    if x.type.rank != 4 or not isinstance(width, int) or width % 2 or axis not in (-1, 3):
        return False
    if RotaryEmbedding().native_opset(x.type) == 0 or any(table.shape != (x.shape[2], width // 2) for table in (c, s)):
        return False
    halves = (Slice((3,), (0,), (width // 2,)), Slice((3,), (width // 2,), (width,)))
    return (a.node.op, b.node.op) == halves


ROTATED: Rules = (
    rule(
        "rotated halves",
        pattern_of(Concat)(pattern_of(Sub)(mul(_a, c), mul(_b, s)), pattern_of(Add)(mul(_b, c), mul(_a, s)), axis=axis),
        lambda x, c, s: RotaryEmbedding()(x, c, s),
        when=_are_halves,
        keeps="rounding",
    ),
    rule(
        "rotated before heads are split",
        pattern_of(RotaryEmbedding)(
            pattern_of(Transpose)(pattern_of(Reshape)(x).named("split"), permutation=_SWAPPED).only_use, c, s, heads=0
        ),
        lambda x, c, s, split: _by_heads(RotaryEmbedding(split.shape[2])(x, c, s), split),
        when=lambda x, split: x.type.rank == 3 and x.shape[:2] == split.shape[:2] and isinstance(split.shape[2], int),
        keeps="rounding",
    ),
)


def _by_heads(x: Value, split: Value) -> Value:
    return Transpose(_SWAPPED)(split.node.op(x))
