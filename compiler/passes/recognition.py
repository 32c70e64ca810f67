"""The rules by which equations that compute an operator become that operator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from compiler.graph import Operator
from compiler.operators.casting import Cast
from compiler.passes.rules import Rule, pattern_of, rule, variables
from compiler.types import DType

# Its parts are not used elsewhere, as by a gradient: they would be computed anyway.
recognition: Callable[..., Rule] = partial(rule, keeps="rounding", closed=True)


def in_f32(name: str, *operators: type[Operator]) -> Rule:
    """The rule that operators computed in f32 between casts of 16 bits are of 16 bits: they are computed so anyway."""
    (x,) = variables("x")
    cast = pattern_of(Cast)
    return recognition(
        name,
        cast(pattern_of(*operators)(cast(x, dtype=DType.F32)).named("wide")),
        lambda x, wide: wide.node.op(x),
        when=lambda x: x.type.dtype.is_half,
    )
