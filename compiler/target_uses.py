"""How a loss or a metric uses its targets: which of them may be scaled, and what scaling would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Sub
from compiler.operators.comparison import Comparison
from compiler.operators.leaves import Placeholder
from compiler.operators.reductions import Mean


@dataclass
class TargetUses:
    """The targets of which a value takes differences, and those whose raw numbers it uses.

    Scaling a target changes its difference with what a model computes by that scale alone. It changes the meaning of a
    product, of a logarithm and of a comparison with a number.
    """

    differences: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    @property
    def measured(self) -> frozenset[str]:
        """Those of which only differences are taken, as by `mse`: both sides are in one unit."""
        return frozenset(self.differences - self.others)


def target_uses(value: Value, targets: Mapping[str, Value]) -> TargetUses:
    """How `value`, a loss, uses each target before it is combined with anything that the model computes."""
    uses = TargetUses()
    numbers = {value: frozenset({name}) for name, value in targets.items()}  # a target's own, moved or not
    means: dict[Value, frozenset[str]] = {}
    nothing: frozenset[str] = frozenset()
    graph = Graph({}, {"": value})
    varying = _varying(graph)
    for node in graph:
        operands = node.operands
        names = nothing.union(*(numbers.get(operand, means.get(operand, nothing)) for operand in operands))
        if not names:
            continue
        kept = node.op.moved_operands(*node.operands)
        if kept and all(operand in numbers for operand in kept):
            numbers.update(dict.fromkeys(node.results, names))
        elif isinstance(node.op, Mean) or (kept and all(operand in numbers or operand in means for operand in kept)):
            means.update(dict.fromkeys(node.results, names))
        elif not _in_one_unit(node, varying):
            uses.others |= names
        elif isinstance(node.op, Sub):
            uses.differences |= nothing.union(*(numbers.get(operand, nothing) for operand in operands))
    return uses


def _in_one_unit(node: Node, varying: set[Value]) -> bool:
    """Whether a node requires its operands to be in one unit, and none of them is a constant."""
    return bool(node.op.same_unit) and all(node.operands[index] in varying for index in node.op.same_unit)


def targets_counted_from_zero(value: Value, targets: Mapping[str, Value]) -> frozenset[str]:
    """The targets that `value`, a metric, divides by, takes the logarithm of or compares with a constant.

    On scaled numbers, which have another zero, it has another meaning: `mape` is not a percentage then.
    """
    nothing: frozenset[str] = frozenset()
    names_from_zero = nothing
    counted = {value: frozenset({name}) for name, value in targets.items()}  # what is computed before any difference
    graph = Graph({}, {"": value})
    varying = _varying(graph)
    for node in graph:
        read = [counted.get(operand, nothing) for operand in node.operands]
        names = nothing.union(*read)
        alike = all(operand in varying for operand in node.operands)
        if isinstance(node.op, Comparison):
            names_from_zero |= nothing if alike else names
            continue
        names_from_zero |= nothing.union(*(read[index] for index in node.op.counts_from_zero))
        if names and not (isinstance(node.op, Sub) and alike):
            counted.update(dict.fromkeys(node.results, names))
    return names_from_zero


def _varying(graph: Graph) -> set[Value]:
    """The values that depend on data or weights: all but constants."""
    varying: set[Value] = set()
    for node in graph:
        if isinstance(node.op, Placeholder) or any(operand in varying for operand in node.operands):
            varying.update(node.results)
    return varying
