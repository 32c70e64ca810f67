"""Operators that fold axes."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.operators.reductions import All, Any_, LogSumExp, Max, Mean, Min, Prod, Sum
from compiler.types import DType
from tests.compiler.operators.harness import OperatorCases, booleans, case, distinct, each, normal, refuses

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

ties = np.array([[1.0, 3, 3], [2, 2, 2]])
holes = np.array([[1.0, 0, 3], [0, 0, 2], [4, 5, 6]])

CASES = (
    case("the sum of all", Sum(), x=(2, 3), oracle=torch.sum),
    case("the sum over one axis", Sum((1,)), x=(2, 3, 4), oracle=lambda x: x.sum(1)),
    case("the sum over two axes kept", Sum((0, -1), keep=True), x=(2, 3, 4),
         oracle=lambda x: x.sum((0, 2), keepdim=True)),
    case("the sum over no axis", Sum(()), x=(2, 3), oracle=lambda x: x + 0),
    case("the sum of a scalar", Sum(), x=(), oracle=torch.sum),
    case("the sum of nothing", Sum((0,)), x=(0, 3), oracle=lambda x: x.sum(0)),
    case("the mean of all", Mean(), x=(2, 3), oracle=torch.mean),
    case("the mean over one axis", Mean((-1,), keep=True), x=(2, 3), oracle=lambda x: x.mean(-1, keepdim=True)),
    case("the largest of all", Max(), x=distinct((2, 3)), oracle=torch.amax),
    case("the largest over an axis", Max((1,)), x=distinct((2, 3, 4)), oracle=lambda x: x.amax(1)),
    case("the largest of equals", Max((1,)), x=ties, oracle=lambda x: x.amax(1)),
    case("the smallest over an axis", Min((0,), keep=True), x=distinct((2, 3)),
         oracle=lambda x: x.amin(0, keepdim=True)),
    case("the product of all", Prod(), x=(2, 3), oracle=torch.prod),
    case("the product over an axis", Prod((1,)), x=(2, 3), oracle=lambda x: x.prod(1)),
    case("a product with zeros", Prod((1,), keep=True), x=holes, order=3, oracle=lambda x: x.prod(1, keepdim=True)),
    case("a product of seven with one zero", Prod(), x=np.array([3.0, -1, 0, 2, 5, -0.5, 4]), order=3,
         oracle=torch.prod),
    case("a product of zeros over two axes", Prod((0, 2)), x=np.where(np.arange(24) % 5, 1.5, 0).reshape(2, 3, 4),
         oracle=lambda x: x.permute(1, 0, 2).reshape(3, 8).prod(1)),
    case("a product with an infinity", Prod(), x=np.array([np.inf, 2, 3]), order=2, dtypes=(DType.F32, DType.F64),
         oracle=lambda x: x[0] * x[1] * x[2]),
    case("a product of one", Prod((0,)), x=np.zeros((1, 3)), oracle=lambda x: x.prod(0)),
    case("a product of nothing", Prod((0,)), x=(0, 3), oracle=lambda x: x.prod(0), named={}),
    case("a product of a scalar", Prod(), x=np.array(0.0), oracle=torch.prod),
    case("a product over no axis", Prod(()), x=(2, 3), oracle=lambda x: x + 0),
    case("the soft maximum of all", LogSumExp(), x=(2, 3), oracle=lambda x: torch.logsumexp(x, (0, 1))),
    case("the soft maximum over an axis", LogSumExp((-1,)), x=(2, 3), oracle=lambda x: torch.logsumexp(x, -1)),
    case("the soft maximum of far numbers", LogSumExp((1,), keep=True), x=normal((2, 3), scale=900),
         oracle=lambda x: torch.logsumexp(x, 1, keepdim=True), dtypes=(DType.F32, DType.F64)),
    case("the soft maximum of numbers that are no numbers", LogSumExp((1,)),
         x=np.array([[-np.inf, -np.inf], [0, np.inf]]), order=0, dtypes=(DType.F64,),
         oracle=lambda x: torch.logsumexp(x, 1)),
    case("all over an axis", All((1,)), x=booleans((4, 2)), oracle=lambda x: x.all(1)),
    case("all of all", All(), x=booleans((2, 2)), oracle=torch.all),
    case("any over an axis", Any_((1,), keep=True), x=booleans((4, 2)), oracle=lambda x: x.any(1, keepdim=True)),
)  # fmt: skip


@each(CASES)
class TestReductions(OperatorCases):
    pass


@pytest.mark.parametrize(
    ("op", "type", "message"),
    [
        (Sum((2,)), "f32[n, 3]", "f32[n, 3] has no axis 2"),
        (Sum((0, -2)), "f32[n, 3]", "[0, -2] names an axis of f32[n, 3] twice"),
        (Sum(), "bool[n]", "expected float or int tensors, got bool[n]"),
        (Mean(), "i64[n]", "expected float tensors, got i64[n]"),
        (Mean(), "f32[0]", "cannot reduce an empty axis: f32[0]"),
        (All(), "f32[n]", "expected bool tensors, got f32[n]"),
    ],
)
def test_what_does_not_fit_is_refused(op: Sum | Mean | All, type: str, message: str) -> None:
    assert str(refuses(op, type)) == message
