"""What a loss compares: values of the model, and the data that they are compared with."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from compiler.graph import Graph, Node, Value, apply
from compiler.operators.arithmetic import Sub
from compiler.operators.leaves import Input, Stored


class Form(StrEnum):
    """What an operand of a loss is, in relation to the data that it is compared with."""

    LOCATION = "location"  # in the data's units
    SCALE = "scale"  # a standard deviation or other spread, in the data's units
    VARIANCE = "variance"
    LOG_SCALE = "log_scale"
    LOG_VARIANCE = "log_variance"

    def unscaled(self, value: Value, scale: Value, offset: Value) -> Value:
        """`value` in raw units; `scale` and `offset` are those of the data that it is compared with."""
        match self:
            case Form.LOCATION:
                return value * scale + offset
            case Form.SCALE:
                return value * scale
            case Form.VARIANCE:
                return value * (scale * scale)
            case Form.LOG_SCALE:
                return value + apply("log", scale)
            case Form.LOG_VARIANCE:
                return value + apply("log", scale) * 2


@dataclass(frozen=True, eq=False)
class Comparison:
    """An operand of the loss, and the data that it is compared with: inputs or targets in the layout of the loss.

    With `less` it is compared with a difference, `data - less` or `less - data`, which has a scale and no offset.
    """

    value: Value
    data: Value
    sources: tuple[str, ...]
    form: Form = Form.LOCATION
    less: Value | None = None


def moved_from(value: Value, known: Container[Value]) -> frozenset[Value]:
    """The values among `known` whose elements make up `value`, moved or not; empty where it holds any others."""
    sources: set[Value] = set()
    waiting, seen = [value], {value}
    while waiting:
        current = waiting.pop()
        if current in known:
            sources.add(current)
            continue
        operands = current.node.op.moved_operands(*current.node.operands)
        if not operands:
            return frozenset()
        waiting += [operand for operand in operands if operand not in seen]
        seen.update(operands)
    return frozenset(sources)


def sources_of(value: Value, names: Mapping[Value, str]) -> tuple[str, ...]:
    """The sorted names of the data that make up `value`, moved or not; empty where it holds anything else."""
    return tuple(sorted({names[source] for source in moved_from(value, names)}))


def comparisons(
    loss: Value,
    targets: Mapping[str, Value],
    inputs: Mapping[str, Value],
    declared: Sequence[tuple[Value, Value, Form]] = (),
) -> list[Comparison]:
    """The comparisons of a loss: the differences that it takes between a trained value and data.

    A difference with an input is a comparison only where no weights act on it afterwards: otherwise, as in
    `x - mean(x)` of a layer, it is a step of the model. `declared` are the spreads that a loss declares.
    """
    graph = Graph({}, {"loss": loss})
    trained, weights = trained_values(graph)
    names = {value: name for name, value in {**inputs, **targets}.items()}
    target_names = {value: name for name, value in targets.items()}
    by_operands: dict[tuple[Value, Value], Comparison] = {}

    def compared(node: Node, known: Mapping[Value, str]) -> bool:
        if not isinstance(node.op, Sub):
            return False
        for value, data in (node.operands, node.operands[::-1]):
            if value not in trained:
                continue
            sources = sources_of(data, known)
            if sources:
                by_operands.setdefault((value, data), Comparison(value, data, sources))
                return True
            if isinstance(data.node.op, Sub) and all(sources_of(operand, names) for operand in data.node.operands):
                of = tuple(sorted({name for operand in data.node.operands for name in sources_of(operand, names)}))
                left, right = data.node.operands
                by_operands.setdefault((value, data), Comparison(value, left, of, Form.SCALE, right))
                return True
        return False

    for known, through_weights in ((names, False), (target_names, True)):
        waiting, seen = [loss.node], {loss.node}
        while waiting:
            node = waiting.pop()
            if compared(node, known):
                continue
            if not through_weights and any(
                operand in weights and operand.type.elements != 1 for operand in node.operands
            ):
                continue
            following = dict.fromkeys(operand.node for operand in node.operands if operand.node not in seen)
            waiting += following
            seen.update(following)
    for value, data, form in declared:
        sources = sources_of(data, names)
        if sources:
            by_operands[value, data] = Comparison(value, data, sources, form)
    return list(by_operands.values())


def trained_values(graph: Graph) -> tuple[set[Value], set[Value]]:
    """The values that depend on parameters or buffers, and those of them that depend on no input."""
    trained: set[Value] = set()
    from_inputs: set[Value] = set()
    for node in graph:
        if isinstance(node.op, Stored) or any(operand in trained for operand in node.operands):
            trained.update(node.results)
        if isinstance(node.op, Input) or any(operand in from_inputs for operand in node.operands):
            from_inputs.update(node.results)
    return trained, trained - from_inputs


def keeps_columns(value: Value, names: Mapping[Value, str]) -> bool:
    """Whether the last axis of `value` is that of the data it is made of, index for index."""
    while value not in names:
        op = value.node.op
        operands = op.moved_operands(*value.node.operands)
        if len(operands) != 1:
            return False
        (operand,) = operands
        if not op.keeps_last_axis(operand.type):
            return False
        value = operand
    return True
