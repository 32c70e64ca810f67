"""The meaning of each output of a model for a target: its value, scores of its classes, or its class.

The loss tells: what it compares with a target, and what it makes probabilities of before. A program says it nowhere
else, and the reader of a prediction has to know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from compiler.graph import Graph, Value
from compiler.model_spec import ModelSpec, TrainingSpec
from compiler.operators.activations import Sigmoid, Softplus
from compiler.operators.arithmetic import Neg
from compiler.operators.normalization import LogSoftmax, Softmax
from compiler.operators.ordering import ArgMax
from compiler.types import TensorType

Kind = Literal[
    "value", "logits", "log_probabilities", "probabilities", "binary_logits", "binary_probabilities", "class"
]
CLASS_SCORES = frozenset({"logits", "log_probabilities", "probabilities"})  # along the last axis, one for each class
BINARY_SCORES = frozenset({"binary_logits", "binary_probabilities"})  # of each number by itself: that it is 1


@dataclass(frozen=True)
class Meaning:
    """The meaning of an output, and its target."""

    kind: Kind
    target: str


def output_meanings(model: ModelSpec) -> dict[str, Meaning]:
    """The meanings of outputs, without those whose meaning the loss does not tell.

    `logits` and `binary_logits` are what the loss, or another output, applies softmax or sigmoid to.
    """
    spec = model.training
    if spec is None:
        return {}
    outputs = {name: _scores_of(value) for name, value in model.graph.outputs.items()}
    logits, binary = _operands_of_probabilities(spec, model.graph)
    compared = _compared(spec, frozenset(root for root, _ in outputs.values()))
    meanings: dict[str, Meaning] = {}
    for name, (root, kind) in outputs.items():
        if kind is None:
            kind = "logits" if root in logits else "binary_logits" if root in binary else "value"
        type = model.graph.outputs[name].type
        fitting = [target for target in spec.targets if target in compared.get(root, ())]
        fitting = [target for target in fitting if _fits(kind, type, spec.targets[target].type)]
        if len(fitting) == 1:
            meanings[name] = Meaning(kind, fitting[0])
    return meanings


def _scores_of(output: Value) -> tuple[Value, Kind | None]:
    """The scores that an output was computed from, and the function of them, if any."""
    root = _root(output)
    op = root.node.op
    if isinstance(op, (Softmax, LogSoftmax)) and _is_last(op.axis, root.type):
        kind: Kind = "probabilities" if isinstance(op, Softmax) else "log_probabilities"
        return _root(root.node.operands[0]), kind
    if isinstance(op, Sigmoid):
        return _root(root.node.operands[0]), "binary_probabilities"
    if isinstance(op, ArgMax) and _is_last(op.axis, root.node.operands[0].type):
        scores, _ = _scores_of(root.node.operands[0])
        return scores, "class"
    return root, None


def _root(value: Value) -> Value:
    """The value before changes of shape and float type."""
    while True:
        moved = value.node.op.moved_operands(*value.node.operands)
        if len(moved) != 1 or moved[0].type.elements != value.type.elements:
            return value
        (value,) = moved


def _is_last(axis: int, type: TensorType) -> bool:
    return axis in (-1, type.rank - 1)


def _operands_of_probabilities(spec: TrainingSpec, graph: Graph) -> tuple[set[Value], set[Value]]:
    """The operands of softmax along its last axis, and of sigmoid or its logarithm."""
    logits: set[Value] = set()
    binary: set[Value] = set()
    for node in Graph({}, {"": spec.loss, **graph.outputs}):
        if isinstance(node.op, (Softmax, LogSoftmax)) and _is_last(node.op.axis, node.operands[0].type):
            logits.add(_root(node.operands[0]))
        elif isinstance(node.op, (Sigmoid, Softplus)):
            operand = _root(node.operands[0])
            binary.add(_root(operand.node.operands[0]) if isinstance(operand.node.op, Neg) else operand)
    return logits, binary


def _compared(spec: TrainingSpec, roots: frozenset[Value]) -> Mapping[Value, set[str]]:
    """The targets that each of `roots` reaches in the loss before any other root."""
    met: dict[Value, set[str]] = {}
    scores: dict[Value, frozenset[Value]] = {}
    targets: dict[Value, frozenset[str]] = {value: frozenset({name}) for name, value in spec.targets.items()}
    for node in Graph({}, {"": spec.loss}):
        of_roots = frozenset[Value]().union(*(scores.get(operand, ()) for operand in node.operands))
        of_targets = frozenset[str]().union(*(targets.get(operand, ()) for operand in node.operands))
        if of_roots and of_targets:
            for root in of_roots:
                met.setdefault(root, set()).update(of_targets)
            of_roots, of_targets = frozenset(), frozenset()
        for result in node.results:
            if result in roots:
                scores[result] = frozenset({result})
            elif of_roots:
                scores[result] = of_roots
            if of_targets:
                targets[result] = of_targets
    return met


def _fits(kind: Kind, output: TensorType, target: TensorType) -> bool:
    """Whether an output of this kind can be about each example of a target."""
    one_hot = target.dtype.is_float
    if kind in CLASS_SCORES:
        return output.shape == target.shape if one_hot else output.shape[:-1] == target.shape
    if kind == "class":
        return output.shape == (target.shape[:-1] if one_hot else target.shape)
    # They differ by nothing but axes of length 1.
    return [size for size in output.shape if size != 1] == [size for size in target.shape if size != 1]
