"""Comparisons, logic and choice."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.operators.comparison import (
    Equal,
    Greater,
    GreaterEqual,
    IsInf,
    IsNan,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    LogicalXor,
    NotEqual,
    Where,
)
from tests.compiler.operators.harness import OperatorCases, booleans, case, each, refuses

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

left = np.array([[1.0, 2, 3], [4, 5, 6]])
right = np.array([1.0, 3, 3])
odd = np.array([1.0, np.nan, np.inf, -np.inf])

CASES = (
    case("equal", Equal(), x=left, y=right, oracle=torch.eq),
    case("equal truths", Equal(), x=booleans((2, 3)), y=booleans((3,)), oracle=torch.eq),
    case("not equal", NotEqual(), x=left, y=right, oracle=torch.ne),
    case("less", Less(), x=left, y=right, oracle=torch.lt),
    case("less of scalars", Less(), x=(), y=(), oracle=torch.lt),
    case("less or equal", LessEqual(), x=left, y=right, oracle=torch.le),
    case("greater", Greater(), x=left, y=right, oracle=torch.gt),
    case("greater or equal", GreaterEqual(), x=left, y=right, oracle=torch.ge),
    case("not a number", IsNan(), x=odd, oracle=torch.isnan),
    case("infinite", IsInf(), x=odd, oracle=torch.isinf),
    case("and", LogicalAnd(), x=booleans((2, 3)), y=booleans((3,)), oracle=torch.logical_and),
    case("or", LogicalOr(), x=booleans((2, 3)), y=booleans((3,)), oracle=torch.logical_or),
    case("exclusive or", LogicalXor(), x=booleans((2, 3)), y=booleans((3,)), oracle=torch.logical_xor),
    case("not", LogicalNot(), x=booleans((2, 3)), oracle=torch.logical_not),
    case("a choice", Where(), condition=booleans((2, 3)), x=(2, 3), y=(2, 3), oracle=torch.where),
    case("a choice that broadcasts", Where(), condition=booleans((4, 1, 1)), x=(2, 1), y=(3,), oracle=torch.where),
    case("a choice of scalars", Where(), condition=np.array(True), x=(), y=(), oracle=torch.where),
    case("a choice of truths", Where(), condition=booleans((2, 3)), x=booleans((2, 1)), y=booleans((3,)),
         oracle=torch.where),
)  # fmt: skip


@each(CASES)
class TestComparison(OperatorCases):
    pass


def test_the_condition_of_a_choice_is_bool() -> None:
    refused = refuses(Where(), "f32[2]", "f32[2]", "f32[2]")
    assert str(refused) == "the condition must be bool, not f32[2]"
    assert refused.hint == "compare it, as in `x != 0`"


def test_logic_takes_bool_only() -> None:
    refused = refuses(LogicalAnd(), "f32[2]", "bool[2]")
    assert str(refused) == "expected bool tensors, got f32[2]"
