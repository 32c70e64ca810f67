"""A model that was trained on scaled data, in the units that the data had before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.graph import Graph, Value
from compiler.operators.arithmetic import Sub
from compiler.operators.source import Constant, Input
from compiler.rewrite import replace
from compiler.types import TensorType

_MOVERS = ("reshape", "squeeze", "unsqueeze", "transpose", "cast")  # which hand all of their operand's numbers on


def measured(loss: Value, targets: Mapping[str, Value]) -> dict[str, list[Value]]:
    """Of each target the values that the loss takes its difference from, as `y` in `mean((y - target) ** 2)`.

    What is subtracted has one unit; a target that a loss does otherwise with, as class probabilities, is not here.
    """
    names = {value: name for name, value in targets.items()}
    found: dict[str, list[Value]] = {}
    for node in Graph({}, {"loss": loss}):
        if isinstance(node.op, Sub):
            for value, other in (node.operands, node.operands[::-1]):
                name = names.get(_source(value))
                if name is not None:
                    found.setdefault(name, []).append(_source(other))
    return found


def outputs_in_units(graph: Graph, measured: Mapping[str, list[Value]]) -> dict[str, str]:
    """Of each output that is measured against a target, that target's name."""
    found: dict[str, str] = {}
    for name, value in graph.outputs.items():
        for target, others in measured.items():
            if _source(value) in others:
                found[name] = target
    return found


def in_raw_units(
    graph: Graph,
    scalings: Mapping[str, tuple[Any, Any]],
    measured: Mapping[str, list[Value]],
    shapes: Mapping[str, Any],
) -> Graph:
    """A model that takes and gives what its data was before it was scaled: `raw = scaled * scale + offset`.

    `scalings` are offsets and scales by name. Outputs that are `measured` against a target, of its shape or its only
    column, are given in its units.
    """
    ends = dict(graph.outputs)
    for name, target in outputs_in_units(graph, measured).items():
        source = _source(graph.outputs[name])
        if target in scalings and (scalings[target][0].size == 1 or source.shape == shapes[target]):
            offset, scale = (_numbers(each, source.type) for each in scalings[target])
            (ends[name],) = replace([graph.outputs[name]], {source: source * scale + offset})
    changes: dict[Value, Value] = {}
    inputs = dict(graph.inputs)
    for name, value in graph.inputs.items():
        if name in scalings:
            offset, scale = (_numbers(each, value.type) for each in scalings[name])
            inputs[name] = Input(name, value.type)()
            changes[value] = (inputs[name] - offset) / scale
    changed = replace([*ends.values(), *graph.updates.values()], changes)
    outputs = dict(zip(ends, changed, strict=False))
    updates = dict(zip(graph.updates, changed[len(outputs) :], strict=True))
    return Graph(inputs, outputs, updates, graph.name, graph.doc, graph.layers)


def _source(value: Value) -> Value:
    """The value whose numbers these are, before they were moved."""
    while value.node.op.name in _MOVERS:
        value = value.node.operands[0]
    return value


def _numbers(array: Any, like: TensorType) -> Value:
    result: Value = Constant.of(array.astype(like.dtype.numpy))()
    return result
