"""Gradient accumulation: the gradients of several batches combined into that of one large batch, by their weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.dims import Dim, Size
from compiler.graph import Graph, Node, Value
from compiler.model_spec import TrainingSpec
from compiler.operators.arithmetic import Add, Div, Maximum, Mul, Neg, Sub
from compiler.operators.casting import Cast
from compiler.operators.comparison import Where
from compiler.operators.leaves import Constant, Parameter, SizeOf, constant
from compiler.operators.making import filled
from compiler.training.measures import Measure, Part
from compiler.training.own_state import OwnState, buffer_of
from compiler.training.precision import widen
from compiler.training.split import WEIGHT, Handover
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


@dataclass(frozen=True)
class Weight:
    """The weight of a batch in an average, at least `least`; its value is None where losses are summed instead."""

    value: Value | None
    least: float = 0.0


def weight_of(measure: Measure) -> Weight | None:
    """The weight of a batch in the loss over several batches; None if that loss is not a weighted average.

    There is a weight if the loss is a sum over the examples, or a sum of means over equally many items, each times a
    number. A mean plus a sum, two means with different masks, and a function of a mean, such as its root, have none.
    """
    if measure.by_batches:
        return None
    terms = _terms(measure.after.outputs["value"], _Parts(measure))
    if terms is None:
        return None
    means = [term for term in terms if term.value is not None]
    if not means:
        return Weight(None) if terms else None
    if len(means) < len(terms):
        return None
    first = means[0]
    if all(term.value is first.value and term.least == first.least for term in means):
        return None if _has_parameters(first.value) else first
    counts = [_count(term.value) for term in means]
    alike = all(count is not None and count == counts[0] for count in counts)
    return Weight(first.value) if alike and counts[0] is not None else None


class Accumulation:
    """The gradients of all batches since the last update as if they were one batch: a transform with running sums.

    `sums` are the next values of its states, which are reset where `apply` is true. It takes the weight of a batch
    over from the gradient graph.
    """

    def __init__(self, weight: Weight, apply: Value, handover: Handover) -> None:
        if weight.value is not None:
            weight = replace(weight, value=handover.stand_in(WEIGHT, weight.value))
        self.weight, self.apply = weight, apply
        self.sums: dict[OwnState, Value] = {}

    def add(self, gradients: dict[str, Value]) -> dict[str, Value]:
        """The accumulated gradients by path."""
        weight = self.weight
        if weight.value is None:
            return {path: self._total(OwnState("accumulated", path), gradient) for path, gradient in gradients.items()}
        floor = constant(weight.least, weight.value.type.dtype)
        weight_now, weights = (
            Maximum()(weight_value, floor) if weight.least else weight_value
            for weight_value in (weight.value, self._total(OwnState("accumulated"), weight.value))
        )
        return {
            path: self._total(OwnState("accumulated", path), grad * weight_now) / weights
            for path, grad in gradients.items()
        }

    def _total(self, state: OwnState, value: Value) -> Value:
        summed = buffer_of(state, value.type, 0.0) + value
        self.sums[state] = Where()(self.apply, filled(0, value.type), summed)
        return summed


def batch_weight(spec: TrainingSpec, loss: Measure, graph: Graph) -> Weight:
    """The weight of a batch, computed by `graph`, which has the parts of the measured `loss` as outputs.

    NablacError if the loss of several batches is neither a sum nor an average of theirs.
    """
    weight = weight_of(loss)
    if weight is None:
        raise _not_additive_error(spec)
    return _weight_in_graph(weight, loss, graph)


def _weight_in_graph(weight: Weight, measure: Measure, graph: Graph) -> Weight:
    """A weight as a float of at least 32 bits, computed by `graph`."""
    if weight.value is None:
        return weight
    value = next(graph.outputs[name] for name, part in measure.parts.items() if part.value is weight.value)
    if not value.type.dtype.is_float:
        value = Cast(graph.outputs["loss"].type.dtype.wide)(value)
    return replace(weight, value=widen(value))


def _not_additive_error(spec: TrainingSpec) -> NablacError:
    message = "`accumulate` adds up the gradients of batches, but this loss does not add up over batches"
    note = "it adds up if it is a constant times a mean or sum over examples, or a sum of means over equally many items"
    hint = "use a larger `batch` instead of `accumulate`"
    return NablacError(Diagnostic(codes.E618, message, spec.span, note=note, hint=hint))


class _Parts:
    """The parts of a measure, by their inputs in the graph that combines them."""

    def __init__(self, measure: Measure) -> None:
        self._by_value = {value: measure.parts[name] for name, value in measure.after.inputs.items()}

    def sum_at(self, value: Value) -> Part | None:
        part = self._by_value.get(value)
        return part if part is not None and part.kind == "sum" else None

    def is_alike(self, value: Value) -> bool:
        """Whether a value is the same for every batch: a number, or computed from parameters and the step alone."""
        waiting = [value]
        while waiting:
            current = waiting.pop()
            part = self._by_value.get(current)
            if part is not None and part.kind != "mean":
                return False
            waiting += current.node.operands
        return True


def _terms(value: Value, parts: _Parts) -> list[Weight] | None:
    """The weights of the terms of a loss; None where it is not a sum of weighted terms."""
    node = value.node
    if parts.is_alike(value):
        return []
    if parts.sum_at(value) is not None:
        return [Weight(None)]
    match node.op:
        case Add() | Sub():
            left, right = (_terms(operand, parts) for operand in node.operands)
            return None if left is None or right is None else [*left, *right]
        case Neg():
            return _terms(node.operands[0], parts)
        case Mul() | Div():
            return _scaled_terms(node, parts)
        case _:
            return None


def _scaled_terms(node: Node, parts: _Parts) -> list[Weight] | None:
    """The terms of a product with a number, or of a sum divided by a count."""
    left, right = node.operands
    if parts.is_alike(right):
        return _terms(left, parts)
    if isinstance(node.op, Mul):
        return _terms(right, parts) if parts.is_alike(left) else None
    least, under = 0.0, right
    if isinstance(under.node.op, Maximum):
        for count, floor in (under.node.operands, under.node.operands[::-1]):
            if isinstance(floor.node.op, Constant):
                under, least = count, float(floor.node.op.compute())
    over, count_part = parts.sum_at(left), parts.sum_at(under)
    return [Weight(count_part.value, least)] if over is not None and count_part is not None else None


def _has_parameters(value: Value | None) -> bool:
    return value is not None and any(isinstance(node.op, Parameter) for node in Graph({}, {"weight": value}))


def _count(value: Value | None) -> Size | None:
    """A number of items that depends on sizes alone, without its constant factor; None for any other value."""
    while value is not None and isinstance(value.node.op, Cast):
        value = value.node.operands[0]
    size = value.node.op.size if value is not None and isinstance(value.node.op, SizeOf) else None
    if not isinstance(size, Dim) or len(size.terms) != 1:
        return None
    return Dim(((size.terms[0][0], 1),), size.names)
