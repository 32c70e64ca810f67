"""Values of a graph as expressions of the language, in the notation that a textbook would choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from compiler.attribute_kinds import format_attribute, kinds_of
from compiler.dims import Dim, Size, quotient, symbols
from compiler.formulas.expression_makers import NOWHERE, binary, call, name, number, outer, transposed
from compiler.formulas.readable import Adjoint
from compiler.graph import Node, Operator, Value
from compiler.operators.activations import Relu
from compiler.operators.arithmetic import Add, Div, Mul, Neg
from compiler.operators.casting import Cast
from compiler.operators.leaves import Constant, Input, SizeOf, Stored
from compiler.operators.linear import MatMul
from compiler.operators.reductions import Sum
from compiler.operators.shaping import Concat, DataMovement, Expand, Reshape, Transpose, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.types import DType
from grammar import syntax
from grammar.expression_printer import print_expression
from grammar.record import Record
from grammar.source import Source

_NEUTRAL = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0}  # what an absent list of these means
# Of a fraction: the number in front, and the factors above and below the line
Factors = tuple[float, list[syntax.Expression], list[syntax.Expression]]


class Summed(Record):
    """An expression of one item, summed over axes by name."""

    over: tuple[str, ...]
    item: syntax.Expression


def is_transparent(node: Node) -> bool:
    """Whether a node only moves its operand to another type or shape, and is not read as an operation of its own."""
    return node.op.reads_as_operand


def _swaps_last(node: Node) -> bool:
    op = node.op
    if not isinstance(op, Transpose) or len(op.permutation) < 2:
        return False
    rank = len(op.permutation)
    return op.permutation == (*range(rank - 2), rank - 1, rank - 2)


class Writer:
    """Writes values as expressions: `name_of` is the name of a value that has one, else None.

    `columns` are the weights that the model writes before their operand, as `W x`; `late` are written last in a sum;
    `rectified` are results of `relu`.
    """

    def __init__(
        self,
        name_of: Callable[[Value], syntax.Expression | None],
        columns: Collection[Value] = (),
        late: Collection[Value] = (),
        rectified: Collection[Value] = (),
    ) -> None:
        self.name_of, self.columns, self.late, self.rectified = name_of, columns, late, rectified

    def operand(self, value: Value) -> syntax.Expression:
        """A value where it is used: its name, or its expression."""
        return self.name_of(value) or self.expression(value)

    def expression(self, value: Value) -> syntax.Expression:
        """A value by the operator that computes it."""
        node, op = value.node, value.node.op
        match op:
            case Constant():
                return self._constant(op)
            case SizeOf(size):
                return self.size(size)
            case Input(label=text):
                return name(text)
            case Stored(path=path):
                return name(path)
            case Adjoint(function=function, source=source):
                return call(function, list(map(self.operand, node.operands)), **self._attributes(source))
            case Cast():
                return self._cast(node)
            case Mul() | Div():
                return self._product(value)
            case Neg():
                return self._product(value)
            case DataMovement():
                return self._moved(node)
            case MatMul():
                return self._matmul(node)
            case Add() if node.operands[0] in self.late:
                return self._infix("+", *map(self.operand, reversed(node.operands)))
            case _ if op.sign and len(node.operands) == 2:
                return self._infix(op.sign, *map(self.operand, node.operands))
        return self._call(node, value.index)

    def summed(self, value: Value) -> Summed | None:
        """A value as a sum over axes with names, of an expression of one item; None for any other."""
        return self._summed(value)

    def size(self, size: Size) -> syntax.Expression:
        """A size: a number, the name of a dim, or an expression of them."""
        if not isinstance(size, Dim):
            return number(size)
        text = str(size)
        if symbols(size) == {text}:
            return name(text)
        from grammar.parser import parse

        (function,) = parse(Source("<size>", f"fn size() = {text}\n")).declarations
        assert isinstance(function, syntax.Definition) and isinstance(function.body[0], syntax.Output)
        return function.body[0].value

    def attribute(self, value: Any) -> syntax.Expression:
        """An attribute of an operator."""
        match value:
            case tuple():
                return syntax.ListOf(tuple(map(self.attribute, value)), NOWHERE)
            case bool():
                return syntax.Boolean(value, NOWHERE)
            case int() | float():
                return number(value)
            case Dim():
                return self.size(value)
            case DType():
                return name(str(value))
            case str():
                return syntax.Text(value, NOWHERE)
        return name(format_attribute(value))

    def _call(self, node: Node, index: int) -> syntax.Expression:
        """An operator as a function."""
        operands = [self.operand(operand) for operand in node.operands]
        written = call(node.op.name, operands, **self._attributes(node.op))
        return syntax.Index(written, (number(index),), NOWHERE) if len(node.results) > 1 else written

    # Operators with a notation of their own

    def _moved(self, node: Node) -> syntax.Expression:
        """Elements in another order or shape."""
        match node.op:
            case Expand():
                return self.operand(node.operands[0])
            case Unsqueeze(axes=axes) if self._leading(axes, node.result.type.rank):
                return self.operand(node.operands[0])
            case Transpose() if _swaps_last(node) and self._is_product(node.operands[0]):
                left, right = node.operands[0].node.operands
                return binary("@", self._turned(right), self._turned(left))
            case Transpose() if _swaps_last(node):
                return transposed(self.operand(node.operands[0]))
            case Transpose(permutation=permutation):
                return call("transpose", [self.operand(node.operands[0]), self.attribute(permutation)])
            case Reshape(shape=shape):
                return call("reshape", [self.operand(node.operands[0]), self.attribute(shape)])
            case Concat(axis=axis):
                items = syntax.ListOf(tuple(map(self.operand, node.operands)), NOWHERE)
                return call("concat", [items], axis=number(axis))
            case Slice():
                return self._slice(node, node.op)
        return self._call(node, 0)

    def _constant(self, op: Constant) -> syntax.Expression:
        scalar = op.scalar()
        if isinstance(scalar, bool):
            return syntax.Boolean(scalar, NOWHERE)
        if scalar is not None:
            return number(_shortest(scalar, op.type.dtype))
        array = op.compute()
        if array.size and (array == array.flat[0]).all():
            return number(_shortest(array.flat[0].item(), op.type.dtype))
        if array.size <= 8:
            return self.attribute(_nested(array.tolist()))
        return name(f"constant{list(array.shape)}")

    def _cast(self, node: Node) -> syntax.Expression:
        """A cast between numbers is not written; of a number to a condition it is `x != 0`, of a rectifier `x > 0`."""
        (x,) = node.operands
        if node.result.type.dtype == DType.BOOL and x.type.dtype != DType.BOOL:
            is_rectified = x in self.rectified or isinstance(x.node.op, Relu)
            return binary(">" if is_rectified else "!=", self.operand(x), number(0))
        return self.operand(x)

    def _infix(self, sign: str, left: syntax.Expression, right: syntax.Expression) -> syntax.Expression:
        if sign == "+" and isinstance(right, syntax.Binary) and right.operator in "+-":
            return binary(right.operator, self._infix("+", left, right.left), right.right)
        if sign == "+" and isinstance(right, syntax.Unary) and right.operator == "-":
            return binary("-", left, right.operand)
        return binary(sign, left, right)

    def _product(self, value: Value) -> syntax.Expression:
        """Products and quotients as one fraction, with one number in front."""
        factor, above, below = self._factors(value, root=True)
        top: syntax.Expression | None = None
        merged: list[syntax.Expression] = []
        for item in above:
            previous = merged[-1] if merged else None
            if previous is not None and _same(previous, item):
                merged[-1] = binary("**", item, number(2))
            else:
                merged.append(item)
        if abs(factor) != 1 or not merged:
            merged.insert(0, number(abs(factor)))
        for item in merged:
            top = item if top is None else binary("*", top, item)
        assert top is not None
        for item in below:
            top = binary("/", top, item)
        return syntax.Unary("-", top, NOWHERE) if factor < 0 else top

    def _factors(self, value: Value, root: bool = False) -> Factors:
        """The number, the factors above and those below the line of a fraction."""
        node = value.node
        constant = node.op.scalar() if isinstance(node.op, Constant) else None
        if constant is not None and not isinstance(constant, bool):
            return _shortest(constant, value.type.dtype), [], []
        if root or self.name_of(value) is None:
            if isinstance(node.op, (Expand, Neg)) or (isinstance(node.op, Cast) and _is_number_cast(node)):
                factor, above, below = self._factors(node.operands[0])
                return (-factor if isinstance(node.op, Neg) else factor), above, below
            if isinstance(node.op, Unsqueeze) and self._leading(node.op.axes, value.type.rank):
                return self._factors(node.operands[0])
            if isinstance(node.op, (Mul, Div)):
                left, right = (self._factors(operand) for operand in node.operands)
                if isinstance(node.op, Div):
                    left, right = self._reduced(left, right, node.operands[1])
                if isinstance(node.op, Mul):
                    return left[0] * right[0], left[1] + right[1], left[2] + right[2]
                if right[0]:
                    under = right[1] if abs(right[0]) == 1 else [number(abs(right[0])), *right[1]]
                    sign = -1 if right[0] < 0 else 1
                    if not right[1] and abs(right[0]) != 1:
                        under = [number(abs(right[0]))]
                    joined = [_joined(under)] if under else []
                    return sign * left[0], left[1] + right[2], left[2] + joined
        return 1.0, [self.operand(value)], []

    def _reduced(self, left: Factors, right: Factors, divisor: Value) -> tuple[Factors, Factors]:
        """A number over a size with their common factor taken out: `2 / (2 * batch)` is `1 / batch`."""
        while isinstance(divisor.node.op, (Cast, Expand)):
            (divisor,) = divisor.node.operands
        op = divisor.node.op
        if isinstance(op, SizeOf) and isinstance(op.size, Dim):
            common = math.gcd(*(factor for _, factor in op.size.terms))
            if common > 1 and left[0] % common == 0:
                return (left[0] / common, *left[1:]), (1.0, [self.size(quotient(op.size, common))], [])
        return left, right

    def _matmul(self, node: Node) -> syntax.Expression:
        x, y = node.operands
        weight = y.node.operands[0] if _swaps_last(y.node) and self.name_of(y) is None else None
        if weight is not None and weight in self.columns:  # x @ W^T
            return binary(" ", self.operand(weight), self.operand(x))
        if y in self.columns:  # g @ W
            return binary(" ", transposed(self.operand(y)), self.operand(x))
        return binary("@", self.operand(x), self.operand(y))

    def _is_product(self, value: Value) -> bool:
        return isinstance(value.node.op, MatMul) and self.name_of(value) is None

    def _turned(self, value: Value) -> syntax.Expression:
        """The transpose of an operand."""
        if _swaps_last(value.node) and self.name_of(value) is None:
            return self.operand(value.node.operands[0])
        return transposed(self.operand(value))

    def _slice(self, node: Node, op: Slice) -> syntax.Expression:
        (x,) = node.operands
        items: list[syntax.Slice] = [syntax.Slice(None, None, None, NOWHERE) for _ in range(x.type.rank)]
        last = 0
        for axis, start, stop, step in op.bounds(x.type):
            first = None if start == 0 else self.size(start)
            end = None if stop == x.shape[axis] else self.size(stop)
            items[axis] = syntax.Slice(first, end, number(step) if step != 1 else None, NOWHERE)
            last = max(last, axis)
        return syntax.Index(self.operand(x), tuple(items[: last + 1]), NOWHERE)

    def _attributes(self, op: Operator) -> dict[str, syntax.Expression]:
        """The attributes that differ from their defaults, as the language names them."""
        written: dict[str, syntax.Expression] = {}
        for key in kinds_of(type(op)):
            value = getattr(op, key)
            if hasattr(type(op), key) and value == getattr(type(op), key):
                continue
            if isinstance(value, DType) and value.is_float:  # as casts between floats, it is not written
                continue
            if key in _NEUTRAL and isinstance(value, tuple) and set(value) <= {_NEUTRAL[key]}:
                continue
            if key == "axes" and isinstance(value, tuple) and len(value) == 1:
                key, value = "axis", value[0]
            written[key] = self.attribute(value)
        return written

    @staticmethod
    def _leading(axes: tuple[int, ...], rank: int) -> bool:
        """Whether new axes of length 1 are the first, which broadcasting adds by itself."""
        return sorted(axis % rank for axis in axes) == list(range(len(axes)))

    # Sums over axes with names

    def _summed(self, value: Value) -> Summed | None:
        node, op = value.node, value.node.op
        if isinstance(op, Cast) and _is_number_cast(node):
            return self._summed(node.operands[0])
        if isinstance(op, Neg):
            inner = self._summed(node.operands[0])
            return inner and Summed(inner.over, syntax.Unary("-", inner.item, NOWHERE))
        if isinstance(op, Add):
            left, right = map(self._summed, node.operands)
            if left is None or right is None or left.over != right.over:
                return None
            return Summed(left.over, self._infix("+", left.item, right.item))
        if isinstance(op, Sum):
            return self._plain_sum(node, op)
        if _swaps_last(node) and isinstance(node.operands[0].node.op, MatMul):  # (x^T @ g)^T
            return self._outer(node.operands[0].node, turned=True)
        if isinstance(op, MatMul):
            return self._outer(node, turned=False)
        return None

    def _plain_sum(self, node: Node, op: Sum) -> Summed | None:
        (x,) = node.operands
        folded = op.folded_axes(x.type.rank)
        sizes = [x.shape[axis] for axis in folded]
        if op.keep or folded != tuple(range(len(folded))):
            return None
        over = _axis_names(sizes)
        if over is None:
            return None
        inner = self._summed(x) if self.name_of(x) is None else None
        if inner is not None and not set(inner.over) & set(over):
            return Summed((*over, *inner.over), inner.item)
        return Summed(over, self.operand(x))

    def _outer(self, node: Node, turned: bool) -> Summed | None:
        """The gradient of a weight: `g x^T` summed over all items, or `x^T @ g`, which sums over axis -2.

        The first, `turned`, is of a weight written before its operand, and the second of one written behind it.
        """
        left, right = node.operands
        if not _swaps_last(left.node) or self.name_of(left) is not None:
            return None
        x, g = _rows(left.node.operands[0]), _rows(right)
        if x is None or g is None or x.shape[:-1] != g.shape[:-1] or (not turned and x.type.rank < 3):
            return None
        over = _axis_names(x.shape[:-1] if turned else x.shape[:-2])
        if over is None:
            return None
        if turned:
            return Summed(over, outer(self.operand(g), self.operand(x)))
        return Summed(over, binary("@", transposed(self.operand(x)), self.operand(g)))


def _rows(value: Value) -> Value | None:
    """The tensor [..., n] whose rows a matrix holds."""
    op = value.node.op
    if value.type.rank != 2:
        return None
    if isinstance(op, Reshape) and value.node.operands[0].shape[-1:] == value.shape[-1:]:
        return value.node.operands[0]
    if isinstance(op, Unsqueeze) and op.axes in ((0,), (-2,)):
        return value.node.operands[0]
    return value


def _axis_names(sizes: Sequence[Size]) -> tuple[str, ...] | None:
    """The names of axes by their sizes; None where one has none, or two have the same."""
    names = tuple(str(size) for size in sizes if isinstance(size, Dim) and symbols(size) == {str(size)})
    return names if len(set(names)) == len(sizes) else None


def _is_number_cast(node: Node) -> bool:
    return DType.BOOL not in (node.result.type.dtype, node.operands[0].type.dtype)


def _joined(factors: Sequence[syntax.Expression]) -> syntax.Expression:
    first, *rest = factors
    for factor in rest:
        first = binary("*", first, factor)
    return first


def _same(left: syntax.Expression, right: syntax.Expression) -> bool:
    return print_expression(left) == print_expression(right)


def _shortest(value: float, dtype: DType) -> float:
    """The number with the fewest digits that is this one in its dtype."""
    if not dtype.is_float or dtype == DType.F64:
        return float(value)
    for digits in range(1, 10):
        shorter = float(f"{value:.{digits}g}")
        with suppress(OverflowError):
            if dtype.unpack(dtype.pack(shorter)) == value:
                return shorter
    return float(value)


def _nested(items: Any) -> Any:
    return tuple(map(_nested, items)) if isinstance(items, list) else items


ExpressionsByValue = Mapping[Value, syntax.Expression]
