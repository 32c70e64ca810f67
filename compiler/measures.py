"""The loss and the metrics of a batch in parts that add up over batches.

A mean is a sum and a count, and so is what masks padding: over many batches they are the quotients of the sums, or a
batch of few items would count as much as one of many. What is computed of means, as a perplexity, a root of a mean
square or a share of explained variance, is computed of the whole ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.build import Elaborated
from compiler.dims import Size, product, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Elementwise
from compiler.operators.casting import Cast
from compiler.operators.reductions import Max, Mean, Min, Reduction, Sum, count_of
from compiler.operators.source import Constant, Input, SizeOf, constant
from compiler.rewrite import reached
from compiler.types import DType, TensorType

# How the parts of two batches become those of both; "mean" is weighted by the examples, where nothing better is known.
KINDS = {Sum: "sum", Max: "max", Min: "min"}


@dataclass(frozen=True, eq=False)
class Part:
    """A scalar of one batch, and how those of many become one: by `sum`, `max`, `min` or `mean`, or as the `last`."""

    value: Value
    kind: str


@dataclass(frozen=True, eq=False)
class Measure:
    """What is measured, as a function of parts: `after` takes them by name, in f64, and gives `value`."""

    parts: dict[str, Part]
    after: Graph


def measures_of(elaborated: Elaborated) -> dict[str, Measure]:
    """The loss and the metrics of a train block, by name."""
    spec = elaborated.training
    assert spec is not None and spec.loss is not None
    fed = [*elaborated.graph.inputs.values(), *spec.targets.values()]
    batch = {name for value in fed for name in symbols(value.shape[0])} if all(v.shape for v in fed) else set()
    model = set(elaborated.graph)
    values = {"loss": spec.loss, **spec.metrics}
    return {name: _Reader(name, value, model, batch).read() for name, value in values.items()}


def as_it_is(name: str, value: Value) -> Measure:
    """What no batch adds to: the last one's value."""
    part = f"{name}/0"
    last = Input(part, TensorType(DType.F64))()
    return Measure({part: Part(value, "last")}, Graph({part: last}, {"value": last}))


def with_parts(graph: Graph, measures: Mapping[str, Measure]) -> Graph:
    """`graph` with the parts of what it measures as outputs too."""
    parts = {name: part.value for measure in measures.values() for name, part in measure.parts.items()}
    return Graph(graph.inputs, {**graph.outputs, **parts}, graph.updates, graph.name, graph.doc, graph.layers)


def quotient(measure: Measure) -> tuple[Value, float] | None:
    """Where a measure is a sum divided by another, the other one, and what it counts as at the least."""
    node = measure.after.outputs["value"].node
    if node.op.name != "div":
        return None
    over, under = node.operands
    least = 0.0
    if under.node.op.name == "maximum":
        for value, floor in (under.node.operands, under.node.operands[::-1]):
            if isinstance(floor.node.op, Constant):
                under, least = value, float(floor.node.op.compute())
    named = {value: name for name, value in measure.after.inputs.items()}
    if over not in named or under not in named:
        return None
    first, second = measure.parts[named[over]], measure.parts[named[under]]
    return (second.value, least) if first.kind == second.kind == "sum" else None


class _Reader:
    """Takes a scalar apart, down to what folds the batch."""

    def __init__(self, name: str, value: Value, model: set[Node], batch: set[str]) -> None:
        self.name, self.value, self.model, self.batch = name, value, model, batch
        self.graph = Graph({}, {"value": value})
        self.moving = reached([value], [node.result for node in self.graph if isinstance(node.op, Input)])
        self.parts: dict[str, Part] = {}
        self.inputs: dict[str, Value] = {}

    def read(self) -> Measure:
        new: dict[Value, Value] = {}
        scalars = self._scalars()
        for node in self.graph:
            if node in scalars:
                new[node.result] = self._again(node, new)
        return Measure(self.parts, Graph(self.inputs, {"value": new[self.value]}))

    def _scalars(self) -> dict[Node, None]:
        """The nodes from the measure down to its parts, which are computed of them."""
        found: dict[Node, None] = {}
        waiting = [self.value.node]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found[node] = None
                if _computed(node):
                    waiting.extend(operand.node for operand in node.operands)
        return found

    def _again(self, node: Node, new: Mapping[Value, Value]) -> Value:
        """A scalar in f64, made of the parts."""
        if isinstance(node.op, Constant):
            return constant(float(node.op.compute()), DType.F64)
        if isinstance(node.op, Cast) and _computed(node):
            return new[node.operands[0]]
        if _computed(node):
            made: Value = node.op(*(new[operand] for operand in node.operands))
            return made
        if isinstance(node.op, Mean) and self._adds_up(node.operands[0]):
            x = node.operands[0]
            count = count_of(product(x.shape), x.type.dtype)
            return self._part(node.result * count, "sum") / self._part(count, "sum")
        return self._part(node.result, self._kind(node))

    def _kind(self, node: Node) -> str:
        if isinstance(node.op, SizeOf):
            return "sum" if self._once((node.op.size,)) else "mean"
        if isinstance(node.op, Reduction) and type(node.op) in KINDS and self._adds_up(node.operands[0]):
            return KINDS[type(node.op)]
        return "mean"

    def _part(self, value: Value, kind: str) -> Value:
        name = f"{self.name}/{len(self.parts)}"
        self.parts[name] = Part(value, kind)
        self.inputs[name] = Input(name, TensorType(DType.F64))()
        return self.inputs[name]

    def _adds_up(self, x: Value) -> bool:
        """Whether each example has its own share of a tensor: nothing on the way to it has folded the batch.

        What the model itself makes of its inputs counts as given, as batch normalisation does.
        """
        waiting, seen = [x], set[Node]()
        while waiting:
            value = waiting.pop()
            if isinstance(value.node.op, SizeOf) and symbols(value.node.op.size) & self.batch:
                return False
            if value is not x and (value.node in seen or value.node not in self.moving):
                continue
            if not self._once(value.shape):
                return False
            seen.add(value.node)
            if value.node not in self.model:
                waiting.extend(value.node.operands)
        return True

    def _once(self, shape: tuple[Size, ...]) -> bool:
        """Whether the examples are along one axis."""
        return sum(bool(symbols(size) & self.batch) for size in shape) == 1


def _computed(node: Node) -> bool:
    """Whether a scalar is computed of other scalars."""
    if len(node.results) != 1 or node.result.type.rank or any(operand.type.rank for operand in node.operands):
        return False
    if isinstance(node.op, Cast):
        return node.op.dtype.is_float
    return isinstance(node.op, Elementwise) and all(
        value.type.dtype.is_float for value in (node.result, *node.operands)
    )
