"""Operators that run along one axis."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.operators.ordering import ArgMax, ArgMin, CumSum, TopK
from tests.compiler.operators.harness import OperatorCases, case, distinct, each, integers, refuses

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

CASES = (
    case("the place of the largest", ArgMax(), x=distinct((2, 5)), oracle=lambda x: x.argmax(-1)),
    case("the place of the largest, kept", ArgMax(0, keep=True), x=distinct((3, 2)),
         oracle=lambda x: x.argmax(0, True)),
    case("the first of equals", ArgMax(0), x=np.array([1.0, 3, 3]), oracle=lambda x: torch.tensor(1)),
    case("the place of the smallest", ArgMin(1), x=distinct((2, 3, 4)), oracle=lambda x: x.argmin(1)),
    case("a running sum", CumSum(), x=(2, 5), oracle=lambda x: x.cumsum(-1)),
    case("a running sum from the end", CumSum(0, reverse=True), x=(4, 3), oracle=lambda x: x.flip(0).cumsum(0).flip(0)),
    case("a running sum of what came before", CumSum(1, exclusive=True), x=(2, 4), order=2,
         oracle=lambda x: torch.cat([0 * x[:, :1], x[:, :-1].cumsum(1)], 1)),
    case("a running sum of what follows", CumSum(1, exclusive=True, reverse=True), x=(2, 4),
         oracle=lambda x: torch.cat([x[:, 1:].flip(1).cumsum(1).flip(1), 0 * x[:, :1]], 1)),
    case("the largest few", TopK(2), x=distinct((3, 5)), oracle=lambda x: torch.topk(x, 2)),
    case("the largest few along the first axis", TopK(3, axis=0), x=distinct((4, 2)),
         oracle=lambda x: torch.topk(x, 3, 0)),
    case("the largest few of equals", TopK(3), x=integers((2, 6), 3)),
)  # fmt: skip  # fmt: skip


@each(CASES)
class TestOrdering(OperatorCases):
    pass


def test_an_axis_has_no_more_largest_elements_than_elements() -> None:
    assert str(refuses(TopK(4), "f32[2, 3]")) == "cannot take 4 elements of axis 1 of f32[2, 3]"


def test_the_least_integer_is_ordered_last() -> None:
    values, places = TopK(3).compute(np.array([-128, 127, 0], np.int8))
    assert values.tolist() == [127, 0, -128]
    assert places.tolist() == [1, 2, 0]
