"""Products of a matrix and vectors in textbook notation: `W x`, `W^T x`, `U (r * h)`, `W [h, x]`."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.elaborate.primitives import operate
from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, CompileTimeValue, describe
from compiler.graph import Operator, Value
from compiler.operators.shaping import Transpose
from grammar import codes, syntax
from grammar.diagnostics import Label
from grammar.record import Record
from grammar.source import Span


class _Operand(Record):
    """A tensor, and the span of its expression."""

    value: Value
    span: Span

    @property
    def argument(self) -> Argument:
        return Argument(None, self.value, self.span)


def side_by_side(session: Session, expression: syntax.Binary, left: CompileTimeValue, right: CompileTimeValue) -> Value:
    """`W x`: the matrix [out, in] times the vectors on the last axis of `x` [..., in]."""
    if not (isinstance(left, Value) and isinstance(right, Value)):
        raise session.fault(
            codes.E415,
            f"a product without a sign takes a matrix and a tensor, not {describe(left)} and {describe(right)}",
            expression.span,
            hint="multiply numbers with `*`",
        )
    matrix, vectors = _Operand(left, expression.left.span), _Operand(right, expression.right.span)
    return _product(session, matrix, vectors, expression.span)


def applied(
    session: Session, call: syntax.Call, callee: CompileTimeValue, arguments: Sequence[Argument]
) -> Value | None:
    """`U (r * h)`: a matrix times the vectors in parentheses; None for a call."""
    if not (isinstance(callee, Value) and callee.type.rank > 1) or len(arguments) != 1:
        return None
    (vectors,) = arguments
    if vectors.name is not None or not isinstance(vectors.value, Value):
        return None
    return _product(session, _Operand(callee, call.callee.span), _Operand(vectors.value, vectors.span), call.span)


def joined(session: Session, expression: syntax.Index, matrix: Value, items: Sequence[Argument]) -> Value | None:
    """`W [h, x]`: a matrix times the vectors concatenated along their last axis; None for an index.

    It is a product if all items are float tensors, which cannot be indices.
    """
    if matrix.type.rank < 2 or len(items) < 2:
        return None
    for item in items:
        if not (isinstance(item.value, Value) and item.value.type.dtype.is_float and item.value.type.rank > 0):
            return None
    operator = Operator.registry["concat"]
    span = items[0].span.to(items[-1].span)
    vectors = operate(session, operator, {"axis": -1}, items, span, sign=f"[{span.text}]")
    assert isinstance(vectors, Value)
    return _product(session, _Operand(matrix, expression.value.span), _Operand(vectors, span), expression.span)


def transposed(session: Session, value: Value, span: Span) -> Value:
    """A tensor with its last two axes exchanged."""
    rank = value.type.rank
    if rank < 2:
        hint = "the dot product of vectors is `x @ w`, which sums along the last axis" if rank else None
        message = f"`^T` swaps the last two axes, but {value.type} has {rank}"
        raise session.fault(codes.E316, message, span, hint=hint)
    axes = (*range(rank - 2), rank - 1, rank - 2)
    return session.make(lambda: Transpose(axes)(value), span)


def _product(session: Session, matrix: _Operand, vectors: _Operand, span: Span) -> Value:
    """The product of a matrix [out, in] with the vectors on the last axis of a tensor [..., in]."""
    left, right, written = matrix.value, vectors.value, matrix.span.text
    if left.type.rank != 2:
        raise session.fault(
            codes.E301,
            f"`{span.text}` multiplies by a matrix, but `{written}` is {left.type}",
            matrix.span,
            hint=_other_product(left, right),
        )
    if right.type.rank and left.shape[1] != right.shape[-1]:
        raise session.fault(
            codes.E301,
            f"`{span.text}`: inner dimensions differ: {left.shape[1]} (matrix) and {right.shape[-1]} (vectors)",
            span,
            labels=(Label(matrix.span, f"this is {left.type}"), Label(vectors.span, f"this is {right.type}")),
            hint=_other_side(matrix, vectors),
        )
    turned = Argument(None, transposed(session, left, matrix.span), matrix.span)
    operands = [vectors.argument, turned]
    product = operate(session, Operator.registry["matmul"], {}, operands, span, sign=span.text, at=span)
    assert isinstance(product, Value)
    return product


def _other_product(left: Value, right: Value) -> str:
    """The hint which operator multiplies by a tensor that is not a matrix."""
    if left.type.rank == 3 and right.type.rank == 2:
        return 'with one matrix per example write `einsum("b i j, b j -> b i", A, x)`'
    if left.type.rank == 1:
        return "for an elementwise product write `*`, for a dot product `x @ w`"
    return "for an elementwise product write `*`, for a batched matrix product `@`"


def _other_side(matrix: _Operand, vectors: _Operand) -> str:
    """The hint for operands whose sizes would match in another order or transposed."""
    left, right = matrix.value.type, vectors.value.type
    names = matrix.span.text, vectors.span.text
    if right.rank == 2 and left.shape[-1] == right.shape[0]:
        return f"the matrix comes first: `{names[0]} @ {names[1]}` multiplies from the right"
    if left.shape[0] == right.shape[-1]:
        return f"its rows would fit: `{names[0]}^T {names[1]}`, or `{names[1]} @ {names[0]}`"
    return "for an elementwise product write `*`"
