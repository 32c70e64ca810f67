"""A bias added to a product of matrices, and a transpose before it, become part of ONNX's operator for both.

In f32 and f64 only: onnxruntime has no kernel for 16 bits.
"""

from __future__ import annotations

import math

from compiler.graph import Value
from compiler.operators.arithmetic import Add, Mul
from compiler.operators.gemm import Gemm
from compiler.operators.linear import MatMul
from compiler.operators.making import number_of
from compiler.operators.shaping import Transpose
from compiler.passes.rules import Rules, pattern_of, rule, variables
from compiler.types import DType

x, y, b, number = variables("x y b number")
add, mul, matmul, gemm = pattern_of(Add), pattern_of(Mul), pattern_of(MatMul), pattern_of(Gemm)
turned = pattern_of(Transpose)
product = pattern_of(MatMul, Gemm)(x, y).named("product").only_use


def _takes(product: Value, b: Value) -> bool:
    """Whether a product is of two matrices, and a bias fits it; one that has more axes than the product does not."""
    matrices = all(operand.type.rank == 2 for operand in product.node.operands)
    if not matrices or product.type.dtype not in (DType.F32, DType.F64):
        return False
    return _fits(product, b)


def _gemm(product: Value) -> Gemm:
    """The operator of a product, to be changed into one with a bias."""
    op = product.node.op
    return op if isinstance(op, Gemm) else Gemm()


def _fits(product: Value, b: Value) -> bool:
    sizes = zip(reversed(product.shape), reversed(b.shape), strict=False)
    return b.type.rank <= 2 and all(size in (whole, 1) for whole, size in sizes)


def _is_finite(value: Value) -> bool:
    number = number_of(value)
    return number is not None and math.isfinite(number)


def _is_matrix(x: Value) -> bool:
    return x.type.rank == 2 and x.type.dtype in (DType.F32, DType.F64)


GEMM: Rules = (
    rule(
        "x @ y^T",
        matmul(x, turned(y, permutation=(1, 0))),
        lambda x, y: Gemm(right_transposed=True)(x, y),
        when=_is_matrix,
        keeps="rounding",
    ),
    rule(
        "x^T @ y",
        matmul(turned(x, permutation=(1, 0)), y),
        lambda x, y: Gemm(left_transposed=True)(x, y),
        when=lambda x, y: _is_matrix(x) and y.type.rank == 2,
        keeps="rounding",
    ),
    rule(
        "x^T @ y^T",
        gemm(turned(x, permutation=(1, 0)), y, left_transposed=False).named("product"),
        lambda x, y, product: product.node.op.replace(left_transposed=True)(x, y),
        keeps="rounding",
    ),
    rule(
        "x @ y + b",
        add(product, b),
        lambda x, y, b, product: _gemm(product)(x, y, b),
        when=_takes,
        keeps="rounding",
    ),
    rule(
        "number * (x @ y) + b",
        add(mul(product, number).only_use, b),
        lambda x, y, b, product, number: _gemm(product).replace(alpha=number_of(number))(x, y, b),
        when=lambda product, b, number: _takes(product, b) and _is_finite(number),
        keeps="rounding",
    ),
)
