"""What a loss or a metric does with its targets: which of them may be scaled, and what then means something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler.comparisons import moved
from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Div, Log, Log1p, Maximum, Minimum, Reciprocal, Sub
from compiler.operators.comparison import Comparison, IsInf, IsNan, Where
from compiler.operators.reductions import Mean
from compiler.operators.source import Buffer, Input, Parameter


@dataclass
class TargetUses:
    """The targets that a value takes the difference of, and those whose raw numbers it asks for.

    Scaled, a difference of a target and of what a model computes is the same but for its scale. A product, a logarithm
    or a comparison with a number is another one.
    """

    differences: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    @property
    def measured(self) -> frozenset[str]:
        """Those of which nothing but differences is taken, as `mse` does: what is subtracted has one unit."""
        return frozenset(self.differences - self.others)


def target_uses(value: Value, targets: Mapping[str, Value]) -> TargetUses:
    """What `value`, a loss, does with each target before anything that the model computes is beside it."""
    uses = TargetUses()
    numbers = {value: frozenset({name}) for name, value in targets.items()}  # a target's own, moved or not
    means: dict[Value, frozenset[str]] = {}
    nothing: frozenset[str] = frozenset()
    graph = Graph({}, {"": value})
    varying = _varying(graph)
    for node in graph:
        operands = node.operands
        names = nothing.union(*(numbers.get(each, means.get(each, nothing)) for each in operands))
        if not names:
            continue
        kept = moved(node)
        if kept and all(each in numbers for each in kept):
            numbers.update(dict.fromkeys(node.results, names))
        elif isinstance(node.op, Mean) or (kept and all(each in numbers or each in means for each in kept)):
            means.update(dict.fromkeys(node.results, names))
        elif not _in_one_unit(node, varying):
            uses.others |= names
        elif isinstance(node.op, Sub):
            uses.differences |= nothing.union(*(numbers.get(each, nothing) for each in operands))
    return uses


def _in_one_unit(node: Node, varying: set[Value]) -> bool:
    """Whether a step takes its operands as numbers of one unit, none of them a constant."""
    if isinstance(node.op, (IsNan, IsInf)):
        return True
    alike = node.operands[1:] if isinstance(node.op, Where) else node.operands
    return isinstance(node.op, (Sub, Maximum, Minimum, Comparison, Where)) and all(each in varying for each in alike)


def targets_counted_from_zero(value: Value, targets: Mapping[str, Value]) -> frozenset[str]:
    """The targets that `value`, a metric, divides by, takes the logarithm of or compares with a constant.

    Of scaled numbers, which have another zero, it says something else: `mape` is no percentage.
    """
    nothing: frozenset[str] = frozenset()
    found = nothing
    counted = {value: frozenset({name}) for name, value in targets.items()}  # what is computed before any difference
    graph = Graph({}, {"": value})
    varying = _varying(graph)
    for node in graph:
        read = [counted.get(each, nothing) for each in node.operands]
        names = nothing.union(*read)
        alike = all(each in varying for each in node.operands)
        if isinstance(node.op, Comparison):
            found |= nothing if alike else names
            continue
        if isinstance(node.op, (Log, Log1p, Reciprocal)):
            found |= names
        elif isinstance(node.op, Div):
            found |= read[1]
        if names and not (isinstance(node.op, Sub) and alike):
            counted.update(dict.fromkeys(node.results, names))
    return found


def _varying(graph: Graph) -> set[Value]:
    """The values that data or weights take part in: all but constants."""
    found: set[Value] = set()
    for node in graph:
        if isinstance(node.op, (Input, Parameter, Buffer)) or any(each in found for each in node.operands):
            found.update(node.results)
    return found
