"""Products of integers whose scales are fixed, from the ranges that values have on data.

The graph stays one of floats: before and behind a product its numbers are rounded to integers and back, with
QuantizeLinear and DequantizeLinear. A runtime makes a product of integers of what stands between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from compiler.graph import Graph, Node, Operator, Value
from compiler.lazy import LazyModule
from compiler.operators.activations import Relu
from compiler.operators.arithmetic import Add
from compiler.operators.convolution import Conv
from compiler.operators.leaves import Constant
from compiler.operators.linear import MatMul
from compiler.operators.pooling import MaxPool
from compiler.operators.quantization import DequantizeLinear, QuantizeLinear
from compiler.passes.integer_weights import LARGEST_BIAS, IntegerWeights, range_to_scale
from compiler.passes.known import is_weight
from compiler.passes.known_weights import KnownWeights, compute_known
from compiler.passes.quantize import Change, DynamicProducts, Quantized, apply_changes
from compiler.quantization_schemes import Choices

np = LazyModule("numpy")

Ranges = Mapping[Value, tuple[float, float]]


def values_to_measure(graph: Graph) -> list[Value]:
    """The values whose ranges `quantize_static` needs: what products read, and what convolutions result in."""
    values: dict[Value, None] = {}
    for node in graph:
        if isinstance(node.op, (Conv, MatMul)) and not is_weight(node.operands[0]):
            values[node.operands[0]] = None
        if isinstance(node.op, Conv) or (isinstance(node.op, Relu) and isinstance(node.operands[0].node.op, Conv)):
            values[node.result] = None
    return [value for value in values if value.type.dtype.is_float]


def quantize_static(known: KnownWeights, choices: Choices, ranges: Ranges) -> Quantized:
    """A graph whose products are those of integers, with scales from `ranges`; recurrences have those of each step."""
    weights = IntegerWeights(known, choices)
    return apply_changes(known, weights, _StaticProducts(weights, known.graph, ranges).change)


class _StaticProducts(DynamicProducts):
    """`sources` are the nodes as they were, of which `source` is the one that changes now."""

    def __init__(self, weights: IntegerWeights, graph: Graph, ranges: Ranges) -> None:
        super().__init__(weights)
        self.ranges = ranges
        self.sources = iter(graph)
        self.source: Node
        self.users = Counter(operand for node in graph for operand in node.operands)
        self.users.update(graph.ends)
        self.readers = {operand: node for node in graph for operand in node.operands}
        self.scales: dict[Value, tuple[Any, Any]] = {}  # of values as they were
        self.stepped: dict[Value, Value] = {}  # such values, rounded to integers and back

    def change(self, node: Node) -> Sequence[Value] | None:
        """What takes the place of a node's results; None for one that stays."""
        self.source = next(self.sources)
        return super().change(node)

    def changes(self) -> Mapping[type[Operator], Change]:
        """The changes by operator, those of products first."""
        return {Relu: self.drop, Add: self.add_bias, **super().changes()}

    def multiply(self, node: Node) -> Sequence[Value] | None:
        """A product of matrices between integers."""
        x, w = node.operands
        if w.type.rank != 2 or x.type.rank < 2 or not self.weights.is_worth_it(w):
            return None
        return (MatMul()(self.step(x, self.source.operands[0]), self.matrix(w, 1)[0]),)

    def convolve(self, node: Node) -> Sequence[Value] | None:
        """A convolution between integers, with a bias of integers of 32 bits, and the ReLU behind it."""
        x, w, *bias = node.operands
        if not self.weights.is_worth_it(w):
            return None
        source = self.source.operands[0]
        stepped = self.step(x, source)
        matrix, steps = self.matrix(w, 0)
        for operand in bias:
            least = self.least_steps(operand, source)
            if np.any(steps < least):
                matrix, steps = self.matrix(w, 0, least)
        biases = [self.bias(operand, source, steps) for operand in bias]
        result = node.op(stepped, matrix, *biases)
        end = self.source.result
        reader = self.readers.get(end)
        if self.users[end] == 1 and reader is not None and isinstance(reader.op, Relu):
            self.scales[end] = self.scale(reader.result)  # 0 is the least: to clip is to apply the ReLU
        return (self.step(result, end),)

    def drop(self, node: Node) -> Sequence[Value] | None:
        """A ReLU behind what was clipped at 0 before."""
        operand, result = self.source.operands[0], self.source.result
        if operand not in self.stepped or result not in self.scales:
            return None
        self.stepped[result] = self.stepped[operand]
        return node.operands

    def add_bias(self, node: Node) -> Sequence[Value] | None:
        """The bias of a product of two matrices as integers of 32 bits, as onnxruntime's product needs it."""
        for index, source in enumerate(self.source.operands):
            product, bias = node.operands[index], node.operands[1 - index]
            if not isinstance(product.node.op, MatMul) or product.type.rank != 2 or self.users[source] > 1:
                continue
            weights = product.node.operands[1].node
            if not isinstance(weights.op, DequantizeLinear) or bias.type.rank != 1 or not is_weight(bias):
                continue
            steps = self.weights.array_of(weights.operands[1])
            if np.any(steps < self.least_steps(bias, source.node.operands[0])):
                continue
            return (product + self.bias(bias, source.node.operands[0], steps),)
        return None

    def scale(self, value: Value) -> tuple[Any, Any]:
        """The scale and the zero point of a value as it was; those of what it is made of, where that only moves."""
        if value not in self.scales:
            operands = value.node.op.moved_operands(*value.node.operands)
            origin = value.node.operands[0] if isinstance(value.node.op, MaxPool) else None
            origin = operands[0] if len(operands) == 1 else origin
            known = origin is not None and (origin in self.scales or origin in self.stepped)
            self.scales[value] = self.scale(origin) if known and origin else range_to_scale(*self.ranges[value])
        return self.scales[value]

    def step(self, value: Value, source: Value) -> Value:
        """A value rounded to integers and back."""
        if source not in self.stepped:
            scale, zero = (Constant.of(parameter)() for parameter in self.scale(source))
            self.stepped[source] = DequantizeLinear()(QuantizeLinear()(value, scale, zero), scale, zero)
        return self.stepped[source]

    def matrix(self, w: Value, axis: int, least: Any = None) -> tuple[Value, Any]:
        """Weights made of integers, and their scales, one for each item of the axis, none below `least`."""
        factors = self.weights.factors
        q, scales = self.weights.integers(w, (axis,), factors, least=least)
        steps = self.weights.array_of(scales)
        return DequantizeLinear(axis)(q, scales, factors.zeros(steps.shape)), steps

    def least_steps(self, bias: Value, source: Value) -> Any:
        """The scales of weights below which a bias in units of their products takes more than its part of 32 bits.

        Weights that are nearly 0 beside their bias have such scales, as those of channels that training has given up.
        """
        array = compute_known(bias, self.weights.known.weights).astype(np.float64)
        return np.abs(array) / (float(self.scale(source)[0]) * LARGEST_BIAS)

    def bias(self, bias: Value, source: Value, steps: Any) -> Value:
        """A bias made of integers of 32 bits: in units of a product of the integers of `source` and of weights."""
        scales = (self.scale(source)[0] * steps).astype(np.float32)
        array = compute_known(bias, self.weights.known.weights).astype(np.float64)
        integers = np.rint(array / scales).astype(np.int32)
        stored = self.weights.store(bias, "int32", integers), self.weights.store(bias, "scale", scales)
        return DequantizeLinear(0)(*stored, Constant.of(np.zeros(len(scales), np.int32))())
