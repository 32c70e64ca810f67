"""Matrix products."""

from __future__ import annotations

import pytest

from compiler.operators.linear import MatMul
from tests.compiler.operators.harness import OperatorCases, case, each, refuses, tensor_type

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

CASES = (
    case("two matrices", MatMul(), x=(2, 3), y=(3, 4), oracle=torch.matmul),
    case("a batch by a matrix", MatMul(), x=(5, 2, 3), y=(3, 4), oracle=torch.matmul),
    case("two batches by a matrix", MatMul(), x=(6, 5, 2, 3), y=(3, 4), oracle=torch.matmul),
    case("a matrix by a batch", MatMul(), x=(2, 3), y=(5, 3, 4), oracle=torch.matmul),
    case("a batch by a batch", MatMul(), x=(5, 2, 3), y=(5, 3, 4), oracle=torch.matmul),
    case("batches that broadcast", MatMul(), x=(5, 1, 2, 3), y=(6, 3, 4), oracle=torch.matmul),
    case("a row by a matrix", MatMul(), x=(3,), y=(3, 4), oracle=torch.matmul),
    case("a row by a batch", MatMul(), x=(3,), y=(5, 3, 4), oracle=torch.matmul),
    case("a matrix by a column", MatMul(), x=(2, 3), y=(3,), oracle=torch.matmul),
    case("a batch by a column", MatMul(), x=(5, 2, 3), y=(3,), oracle=torch.matmul),
    case("a row by a column", MatMul(), x=(3,), y=(3,), oracle=torch.matmul),
)


@each(CASES)
class TestLinear(OperatorCases):
    pass


def test_a_product_counts_a_multiplication_and_an_addition_for_each_pair() -> None:
    assert str(MatMul().flops(tensor_type("f32[n, 3]"), tensor_type("f32[3, 4]"))) == "24*n"


@pytest.mark.parametrize(
    ("types", "message", "hint"),
    [
        (("f32[n, 3]", "f32[4, 3]"),
         "f32[n, 3] @ f32[4, 3]: inner dimensions differ: 3 (left) and 4 (right)",
         "transpose the right side: `x @ y^T`"),
        (("f32[3, n]", "f32[3, 4]"),
         "f32[3, n] @ f32[3, 4]: inner dimensions differ: n (left) and 3 (right)",
         "transpose the left side: `x^T @ y`"),
        (("f32[2]", "f32[3]"),
         "f32[2] @ f32[3]: inner dimensions differ: 2 (left) and 3 (right)", None),
        (("f32[2, 1, 3]", "f32[4, 3, 1]"),
         "f32[2, 1, 3] @ f32[4, 3, 1]: batch dimensions do not broadcast: "
         "axis -1 is 2 on one side and 4 on the other", None),
        (("f32[]", "f32[3]"),
         "both sides must have at least one axis: f32[] @ f32[3]", "a scalar multiplies by `*`"),
        (("f32[3]", "i64[3]"), "f32[3] and i64[3] have different dtypes", "convert one: `cast(x, f32)`"),
        (("bool[3]", "bool[3]"), "expected numbers, got bool[3] and bool[3]", "convert them: `cast(x, f32)`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(types: tuple[str, str], message: str, hint: str | None) -> None:
    refused = refuses(MatMul(), *types)
    assert (str(refused), refused.hint) == (message, hint)
