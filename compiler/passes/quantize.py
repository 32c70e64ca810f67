"""Products with known weights as products of integers, of a compiled model that is only run.

Weights are symmetric, with a scale for each channel of the result. What is not a product stays in floats: sums,
normalizations, softmax. Results are approximate, unlike those of any other pass: `--quantize` asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from compiler.graph import Node, Operator, Value
from compiler.operators.control import Scan
from compiler.operators.convolution import Conv
from compiler.operators.indexing import Take
from compiler.operators.integer_products import ConvInteger, MatMulInteger
from compiler.operators.linear import MatMul
from compiler.operators.making import cast, reshape, unsqueeze
from compiler.operators.packed_products import MatMulNBits
from compiler.operators.quantization import DequantizeLinear, DynamicQuantizeLinear
from compiler.operators.quantized_lstm import DynamicQuantizeLstm
from compiler.operators.recurrent import LSTM, Recurrent
from compiler.passes.integer_weights import FACTORS, STORED, IntegerWeights
from compiler.passes.known_weights import KnownWeights
from compiler.quantization_schemes import Choices
from compiler.rewrite import rewrite
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.record import Record

Change = Callable[[Node], Sequence[Value] | None]


class Quantized(Record):
    """A graph with its tensors, the paths of the weights that became integers, and of those that stay floats."""

    known: KnownWeights
    converted: tuple[str, ...]
    kept: tuple[str, ...]


def quantize(known: KnownWeights, choices: Choices) -> Quantized:
    """A graph whose products are those of integers, without calibration: see `Choices`."""
    weights = IntegerWeights(known, choices)
    changes = DynamicProducts(weights) if choices.scheme.multiplies_integers else PackedProducts(weights)
    return apply_changes(known, weights, changes.change)


def check_excluded(choices: Choices, paths: Collection[str]) -> None:
    """NablacError for a pattern of weights that stay floats which matches none of the weights."""
    for pattern in choices.excluded:
        if not any(fnmatchcase(path, pattern) for path in paths):
            message = f"`{pattern}` matches no weight of the model"
            hint = f"the weights are {', '.join(sorted(paths)[:8])}{', ...' if len(paths) > 8 else ''}"
            raise NablacError(Diagnostic(codes.E918, message, place="exclude", hint=hint))


def apply_changes(known: KnownWeights, weights: IntegerWeights, change: Change) -> Quantized:
    """The graph with its nodes changed, and the tensors that it then reads."""
    graph = rewrite(known.graph, change)
    quantized = KnownWeights(graph, weights.weights(), {**known.derived, **weights.sources})
    kept = tuple(path for path in weights.kept if path not in weights.converted)
    return Quantized(quantized, tuple(weights.converted), kept)


class Products:
    """The changes of nodes that all schemes have in common: tables, and weights of recurrences."""

    def __init__(self, weights: IntegerWeights) -> None:
        self.weights = weights

    def change(self, node: Node) -> Sequence[Value] | None:
        """What takes the place of a node's results; None for one that stays."""
        for kind, change in self.changes().items():
            if isinstance(node.op, kind):
                return change(node)
        return None

    def changes(self) -> Mapping[type[Operator], Change]:
        """The changes by operator; that of the first kind that a node is of counts."""
        return {Take: self.look_up, Scan: self.restore_weights, Recurrent: self.restore_weights}

    def look_up(self, node: Node) -> Sequence[Value] | None:
        """Rows of a table, each with its scale."""
        table, indices = node.operands
        if table.type.rank != 2 or table.type.axis(node.op.axis) or not self.weights.is_worth_it(table):  # type: ignore[attr-defined]
            return None
        q, scales = self.weights.integers(table, (0,), STORED)
        rows, scale = Take(0)(q, indices), Take(0)(scales, indices)
        return (cast(rows, DType.F32) * unsqueeze(scale, (-1,)),)

    def restore_weights(self, node: Node) -> Sequence[Value] | None:
        """The same operator, whose weights are stored as integers and become floats once in each call."""
        operands = tuple(map(self.restored, node.operands))
        if operands == node.operands:
            return None
        return Node(node.op, operands, [result.type for result in node.results], node.origin).results

    def restored(self, operand: Value) -> Value:
        """A weight as floats made of integers, with a scale for each item of its last axis but one."""
        if not self.weights.is_worth_it(operand):
            return operand
        axis = operand.type.rank - 2
        q, scales = self.weights.integers(operand, (axis,), STORED)
        return DequantizeLinear(axis)(q, scales, STORED.zeros(scales.type.numeric_shape))


class PackedProducts(Products):
    """Weights of products in 4 bits, which are multiplied with floats."""

    def changes(self) -> Mapping[type[Operator], Change]:
        """The changes by operator, those of products first."""
        return {**super().changes(), MatMul: self.multiply}

    def multiply(self, node: Node) -> Sequence[Value] | None:
        """A product with a packed matrix."""
        x, w = node.operands
        if w.type.rank != 2 or not self.weights.is_worth_it(w):
            return None
        packed, scales = self.weights.packed(w)
        inner = w.type.numeric_shape[0]
        return (MatMulNBits(inner, self.weights.choices.block)(x, packed, scales),)


class DynamicProducts(Products):
    """Products of integers whose scales are those of each call."""

    def __init__(self, weights: IntegerWeights) -> None:
        super().__init__(weights)
        self.quantized: dict[Value, tuple[Value, Value, Value]] = {}  # what several products read

    def changes(self) -> Mapping[type[Operator], Change]:
        """The changes by operator, those of products first."""
        return {LSTM: self.step_lstm, MatMul: self.multiply, Conv: self.convolve, **super().changes()}

    def integers_of(self, x: Value) -> tuple[Value, Value, Value]:
        """A value as u8, its scale and its zero point."""
        if x not in self.quantized:
            q, scale, zero = DynamicQuantizeLinear().apply(x).results
            self.quantized[x] = (q, scale, zero)
        return self.quantized[x]

    def multiply(self, node: Node) -> Sequence[Value] | None:
        """`x @ w`, of integers of 8 bits."""
        x, w = node.operands
        if w.type.rank != 2 or x.type.rank < 2 or not self.weights.is_worth_it(w):
            return None
        q, scale, zero = self.integers_of(x)
        factors = self.weights.factors
        integers, scales = self.weights.integers(w, (1,), factors)
        product = MatMulInteger()(q, integers, zero, factors.zeros())
        return (cast(product, DType.F32) * (scale * scales),)

    def convolve(self, node: Node) -> Sequence[Value] | None:
        """A convolution of u8 and u8, with the bias added in floats.

        Weights of i8 are no alternative: on x86 processors ConvInteger takes four times as long with them.
        """
        x, w, *bias = node.operands
        op = node.op
        assert isinstance(op, Conv)
        if not self.weights.is_worth_it(w):
            return None
        q, scale, zero = self.integers_of(x)
        integers, scales = self.weights.integers(w, (0,), FACTORS)
        channels = (w.shape[0], *(1 for _ in w.shape[2:]))
        product = ConvInteger(op.strides, op.pads, op.dilations, op.groups)(q, integers, zero, FACTORS.zeros())
        result = cast(product, DType.F32) * (scale * reshape(scales, channels))
        return (result + reshape(bias[0], channels) if bias else result,)

    def step_lstm(self, node: Node) -> Sequence[Value] | None:
        """An LSTM whose inputs and states become integers at each step."""
        x, w, r, b, *rest = node.operands
        op = node.op
        if not isinstance(op, LSTM) or isinstance(op, DynamicQuantizeLstm):
            return None
        if not (self.weights.is_worth_it(w) and self.weights.is_worth_it(r)):
            return self.restore_weights(node)
        factors = self.weights.factors
        (input_weights, input_scales), (state_weights, state_scales) = (
            self.weights.integers(weight, (0, 1), factors, (0, 2, 1)) for weight in (w, r)
        )
        zeros = factors.zeros(input_scales.type.numeric_shape)
        scales = (input_scales, zeros, state_scales, zeros)
        quantized = DynamicQuantizeLstm(*op.attributes)
        return quantized.apply(x, input_weights, state_weights, b, *rest, *scales).results
