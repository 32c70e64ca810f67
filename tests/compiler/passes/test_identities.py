"""Identities of what moves elements: what changes nothing is gone."""

from __future__ import annotations

import pytest

from compiler.dims import Dim
from compiler.graph import Graph, Operator
from compiler.operators.casting import Cast
from compiler.operators.leaves import Input
from compiler.operators.shaping import Expand, Reshape, Transpose
from compiler.operators.slicing import Slice
from compiler.passes.rules import apply_rules
from compiler.passes.simplify import IDENTITIES
from compiler.types import DType, TensorType

N = Dim.named("n")


@pytest.mark.parametrize(
    ("op", "gone"),
    [
        (Slice((0,), (0,), (N,)), True),
        (Slice((0, 1), (None, 0), (None, 3)), True),
        (Slice((1,), (0,), (2,)), False),
        (Reshape((N, 3)), True),
        (Expand((N, 3)), True),
        (Transpose((0, 1)), True),
        (Transpose((1, 0)), False),
        (Cast(DType.F32), True),
        (Cast(DType.F64), False),
    ],
    ids=str,
)
def test_what_changes_nothing_goes(op: Operator, gone: bool) -> None:
    x = Input("x", TensorType(DType.F32, (N, 3)))()
    found = apply_rules(Graph({"x": x}, {"y": op(x)}), IDENTITIES).outputs["y"]
    assert (found is x) == gone
