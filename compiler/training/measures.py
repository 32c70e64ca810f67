"""The loss and the metrics of a batch as parts that can be combined over batches.

A mean, also one that masks padding, is a sum divided by a count: over several batches it is the quotient of the added
sums and counts, so that each example has the same weight. A function of means, such as a perplexity, a root mean square
or a fraction of explained variance, is computed from the means over all batches. A metric that compares examples with
each other, such as the area under a curve or a median, has no such parts: its operands are collected from every batch,
and it is computed once. So is a metric `over epoch`. A loss of that kind is minimised batch by batch, and reported as
the mean over batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from compiler.dims import Dim, Size, product, symbols
from compiler.example_axis import relates_examples
from compiler.graph import Graph, Node, Value
from compiler.model_spec import TrainingSpec
from compiler.operators.arithmetic import Elementwise
from compiler.operators.casting import Cast, StopGradient
from compiler.operators.indexing import Iota
from compiler.operators.leaves import Constant, Input, SizeOf, Stored, constant
from compiler.operators.making import count_of
from compiler.operators.random import Draw
from compiler.operators.reductions import Mean, Reduction
from compiler.rewrite import reached, replace
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.record import Record
from grammar.source import Span

PartKind = Literal["sum", "max", "min", "mean", "last", "rows"]
ROWS: Final = "rows"
LAST: Final = "last"


class Part(Record):
    """A scalar of one batch, and how it is combined over batches: by `sum`, `max`, `min` or `mean`, or the `last` one.

    `rows`, which have an example at each index of axis 0, are concatenated.
    """

    value: Value
    kind: PartKind


class Measure(Record):
    """A loss or metric as a function of parts: `after` takes them by name, scalars in f64, and outputs `value`."""

    parts: dict[str, Part]
    after: Graph
    by_batches: bool = False  # whether it compares the examples of a batch, and so depends on how they are batched

    @property
    def rows(self) -> dict[str, Value]:
        """The values that are collected from every example, for a measure that is computed over all at once."""
        return {name: part.value for name, part in self.parts.items() if part.kind == ROWS}


def measures_of(graph: Graph, training: TrainingSpec) -> dict[str, Measure]:
    """The loss and the metrics of a model, by name; NablacError for a metric `over epoch` that cannot be one."""
    batch_inputs, batch = examples_of(graph, training)
    model = set(graph)
    batch_inputs += training.weights.values()
    measures = {}
    for name, value in {"loss": training.objective, **training.metrics}.items():
        if name in training.over_epoch:
            _check_over_epoch(value, model, batch, training.over_epoch[name])
            measures[name] = _measure_all_examples(name, value, model, batch)
            continue
        measure = MeasureReader(name, value, model, batch, batch_inputs).read()
        compares = measure.by_batches and name in training.metrics
        measures[name] = _measure_all_examples(name, value, model, batch) if compares else measure
    return measures


def examples_of(graph: Graph, training: TrainingSpec) -> tuple[list[Value], set[str]]:
    """The inputs and targets that have an axis of examples, and the dims of which its size is made."""
    batch_inputs = [value for value in (*graph.inputs.values(), *training.targets.values()) if value.shape]
    return batch_inputs, {name for value in batch_inputs for name in symbols(value.shape[0])}


def last_value(name: str, value: Value) -> Measure:
    """The measure of a value that is taken from the last batch."""
    part = f"{name}/0"
    last = Input(part, TensorType(DType.F64))()
    return Measure({part: Part(value, LAST)}, Graph({part: last}, {"value": last}))


def parts_of(measures: Mapping[str, Measure]) -> dict[str, Value]:
    """The parts of measures by name."""
    return {name: part.value for measure in measures.values() for name, part in measure.parts.items()}


def with_parts(graph: Graph, measures: Mapping[str, Measure]) -> Graph:
    """`graph` with the parts of these measures as additional outputs."""
    return Graph(
        graph.inputs, {**graph.outputs, **parts_of(measures)}, graph.updates, graph.name, graph.doc, graph.layers
    )


class MeasureReader:
    """Splits a scalar into parts, down to the reductions over the batch."""

    def __init__(
        self, name: str, value: Value, model: set[Node], batch: set[str], batch_inputs: Sequence[Value]
    ) -> None:
        self.name, self.value, self.model, self.batch = name, value, model, batch
        self.graph = Graph({}, {"value": value})
        # the nodes that depend on examples, not only on the step and the seed
        self.of_examples = reached([value], batch_inputs)
        sizes = [node.result for node in self.graph if _counts_examples(node, batch)]
        self.sized = reached([value], sizes) if sizes else set()  # the nodes that depend on the number of examples
        self.by_batches = False
        self.parts: dict[str, Part] = {}
        self.inputs: dict[str, Value] = {}

    def read(self) -> Measure:
        """The measure of the scalar."""
        new: dict[Value, Value] = {}
        scalars = self.scalars()
        for node in self.graph:
            if node in scalars:
                new[node.result] = self._rebuild_scalar(node, new)
        return Measure(self.parts, Graph(self.inputs, {"value": new[self.value]}), self.by_batches)

    def scalars(self) -> dict[Node, None]:
        """The nodes from the measure down to its parts, inclusive."""
        scalars: dict[Node, None] = {}
        waiting = [self.value.node]
        while waiting:
            node = waiting.pop()
            if node not in scalars:
                scalars[node] = None
                if is_scalar_computation(node):
                    waiting.extend(operand.node for operand in node.operands)
        return scalars

    def _rebuild_scalar(self, node: Node, new: Mapping[Value, Value]) -> Value:
        """A scalar in f64, computed from parts."""
        if isinstance(node.op, Constant) and (number := node.op.scalar()) is not None:  # not an array: NumPy is large
            return constant(float(number), DType.F64)
        if isinstance(node.op, (Cast, StopGradient)) and is_scalar_computation(node):
            return new[node.operands[0]]
        if is_scalar_computation(node):
            return node.op(*(new[operand] for operand in node.operands))
        if isinstance(node.op, Mean) and self.adds_up(node.operands[0]):
            x = node.operands[0]
            count = count_of(product(x.shape), x.type.dtype)
            return self._part(node.result * count, "sum") / self._part(count, "sum")
        kind = self.kind_of(node)
        sized = isinstance(node.op, SizeOf) and symbols(node.op.size) & self.batch
        self.by_batches |= kind == "mean" and (node in self.of_examples or bool(sized))
        return self._part(node.result, kind)

    def kind_of(self, node: Node) -> PartKind:
        """How a part other than a mean is combined over batches; a `mean` of a part that depends on them by batches."""
        if isinstance(node.op, SizeOf):
            return "sum" if self.has_one_example_axis((node.op.size,)) else "mean"
        if isinstance(node.op, Reduction) and node.op.combines and self.adds_up(node.operands[0]):
            return node.op.combines
        return "mean"

    def _part(self, value: Value, kind: PartKind) -> Value:
        name = f"{self.name}/{len(self.parts)}"
        self.parts[name] = Part(value, kind)
        self.inputs[name] = Input(name, TensorType(DType.F64))()
        return self.inputs[name]

    def adds_up(self, x: Value) -> bool:
        """Whether each element of a tensor belongs to one example: no operand was reduced over the batch.

        Values of the model itself count as inputs, even if it reduces over the batch, as batch normalisation does.
        """
        waiting, seen = [x], set[Node]()
        while waiting:
            value = waiting.pop()
            if value.node in self.sized and value.node not in self.of_examples:
                return False
            if value is not x and (value.node in seen or value.node not in self.of_examples):
                continue
            if not self.has_one_example_axis(value.shape):
                return False
            seen.add(value.node)
            if value.node not in self.model:
                if relates_examples(value.node, self.batch):
                    return False
                waiting.extend(value.node.operands)
        return True

    def has_one_example_axis(self, shape: tuple[Size, ...]) -> bool:
        """Whether exactly one axis counts examples."""
        return sum(bool(symbols(size) & self.batch) for size in shape) == 1


def _measure_all_examples(name: str, value: Value, model: set[Node], batch: set[str]) -> Measure:
    """A measure over all examples at once; its parts are the results of the model, inputs, targets and draws."""
    parts: dict[str, Part] = {}
    inputs: dict[str, Value] = {}
    changes: dict[Value, Value] = {}
    waiting, seen = [value.node], {value.node}
    while waiting:
        node = waiting.pop()
        kind = _part_kind(node, model, batch)
        if kind is None:
            following = dict.fromkeys(operand.node for operand in node.operands if operand.node not in seen)
            waiting += following
            seen.update(following)
            continue
        for result in node.results:
            label = f"{name}/{len(parts)}"
            parts[label] = Part(result, kind)
            inputs[label] = changes[result] = Input(label, result.type)()
    (after,) = replace([_before_rounding(value)], changes)
    return Measure(parts, Graph(inputs, {"value": after}), True)


def _before_rounding(value: Value) -> Value:
    """A measure before it is cast to a shorter float, which would only lose digits."""
    while isinstance(value.node.op, Cast) and value.node.operands[0].type.dtype.is_float:
        (value,) = value.node.operands
    return value


def _check_over_epoch(value: Value, model: set[Node], batch: set[str], span: Span | None) -> None:
    """NablacError where a metric reads no examples, or something that cannot be collected example by example."""
    kinds: set[PartKind | None] = set()
    waiting, seen = [value.node], {value.node}
    while waiting:
        node = waiting.pop()
        kind = _part_kind(node, model, batch)
        kinds.add(kind)
        if kind is not None:
            continue
        if isinstance(node.op, Input):
            message = f"this reads `{node.op.label}`, {node.result.type}, and only its first axis may count examples"
            hint = "without `over epoch` it is the mean over batches"
            raise NablacError(Diagnostic(codes.E619, message, span, hint=hint))
        following = dict.fromkeys(operand.node for operand in node.operands if operand.node not in seen)
        waiting += following
        seen.update(following)
    if ROWS not in kinds:
        message = "this reads nothing of the examples, so that there is nothing to compute over an epoch"
        raise NablacError(Diagnostic(codes.E619, message, span, hint="leave out `over epoch`"))


def _part_kind(node: Node, model: set[Node], batch: set[str]) -> PartKind | None:
    """How the results of a node that a measure reads are collected; None where they are computed from other parts."""
    if isinstance(node.op, (Constant, SizeOf)):
        return None
    sizes = [[bool(symbols(size) & batch) for size in result.shape] for result in node.results]
    if isinstance(node.op, Stored) or (isinstance(node.op, Input) and not any(sizes[0])):
        return LAST
    if not isinstance(node.op, (Input, Draw)) and node not in model:
        return None
    axes = [Dim.named(symbol) for symbol in batch]
    by_example = all(result.shape and result.shape[0] in axes for result in node.results)
    return ROWS if by_example and not any(any(others) for _, *others in sizes) else None


def _counts_examples(node: Node, batch: set[str]) -> bool:
    return isinstance(node.op, (Iota, SizeOf)) and bool(symbols(node.op.size) & batch)


def is_scalar_computation(node: Node) -> bool:
    """Whether a node computes a scalar from other scalars."""
    if len(node.results) != 1 or node.result.type.rank or any(operand.type.rank for operand in node.operands):
        return False
    if isinstance(node.op, StopGradient):
        return node.result.type.dtype.is_float
    if isinstance(node.op, Cast):
        return node.op.dtype.is_float
    return isinstance(node.op, Elementwise) and all(
        value.type.dtype.is_float for value in (node.result, *node.operands)
    )
