"""The updates of a training step: the optimizer's equations for each parameter, with small ones combined.

The update of a small parameter is a dozen operators that cost more in overhead than in arithmetic. Small parameters
with the same elementwise equations and the same trailing axes are concatenated and updated as one tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value, origin
from compiler.operators.shaping import Concat, Split
from compiler.rewrite import replace
from grammar.record import Record

SMALL = 2**14  # elements up to which a parameter is combined with others


class Update(Record):
    """The equations for one parameter, over placeholders.

    `operands` maps the placeholders to the parameter, its gradient and its states, all of one type. `results` are the
    next values, by the paths that they update.
    """

    operands: dict[Value, Value]
    results: dict[str, Value]

    def next_values(self) -> dict[str, Value]:
        """The next values by path, with the operands in place of the placeholders."""
        return dict(zip(self.results, replace(list(self.results.values()), self.operands), strict=True))

    def group_key(self) -> object:
        """A key that is equal for updates that can be combined: the same elementwise equations on small tensors."""
        type = next(iter(self.operands)).type
        count = type.elements
        if not type.rank or not isinstance(count, int) or count > SMALL:
            return self
        numbers: dict[Value, object] = {stand_in: number for number, stand_in in enumerate(self.operands)}
        steps: list[object] = []
        for node in Graph({}, self.results):
            if node.result in self.operands:
                continue
            if not _is_elementwise(node):
                return self
            steps.append((node.op, *(numbers[operand] for operand in node.operands)))
            numbers.update({result: (len(steps), index) for index, result in enumerate(node.results)})
        return type.dtype, type.rank, type.shape[1:], tuple(steps), tuple(map(numbers.get, self.results.values()))


def combine_updates(updates: Sequence[Update]) -> dict[str, Value]:
    """The next values by path, in the order of `updates`."""
    groups: dict[object, list[Update]] = {}
    for update in updates:
        groups.setdefault(update.group_key(), []).append(update)
    following: dict[str, Value] = {}
    for group in groups.values():
        following |= group[0].next_values() if len(group) == 1 else _update_concatenated(group)
    return {path: following[path] for update in updates for path in update.results}


def _update_concatenated(group: list[Update]) -> dict[str, Value]:
    """The next values by path of a group, computed on its tensors concatenated along axis 0."""
    first = group[0]
    new: dict[Value, Value] = {}
    for stand_ins in zip(*(update.operands for update in group), strict=True):
        parts = (update.operands[stand_in] for update, stand_in in zip(group, stand_ins, strict=True))
        new[stand_ins[0]] = Concat(0)(*parts)
    for node in Graph({}, first.results):
        if node.result.type.rank and node.result not in new:
            with origin(node.origin.span, node.origin.path):
                new[node.result] = node.op(*(new.get(operand, operand) for operand in node.operands))
    rows = tuple(next(iter(update.operands)).shape[0] for update in group)
    following: dict[str, Value] = {}
    for paths in zip(*(update.results for update in group), strict=True):
        following.update(zip(paths, Split(rows).apply(new[first.results[paths[0]]]).results, strict=True))
    return following


def _is_elementwise(node: Node) -> bool:
    """Whether each element of the result depends on elements at its own index only, as all scalar operations do."""
    return node.op.elementwise or not any(value.type.rank for value in (*node.operands, *node.results))
