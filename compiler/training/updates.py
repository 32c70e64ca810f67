"""The updates of a training step: the optimizer's equations for each parameter, for many small ones at once.

A small parameter's update is a dozen operators that each take longer to begin than to run. Where the equations are the
same and work element by element, the small parameters that fit behind one another are updated as one tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.graph import Graph, Node, Value, origin
from compiler.operators.arithmetic import Elementwise
from compiler.operators.comparison import Where
from compiler.operators.shaping import Concat, Split
from compiler.rewrite import replace

SMALL = 2**14


@dataclass(frozen=True, eq=False)
class Update:
    """The equations for one parameter, over stand-ins.

    `taken` says what the stand-ins stand for: the parameter, its gradient and its states, all of one type. `given` are
    the next values, by the paths that they update.
    """

    taken: dict[Value, Value]
    given: dict[str, Value]

    def alone(self) -> dict[str, Value]:
        """The next values by path."""
        return dict(zip(self.given, replace(list(self.given.values()), self.taken), strict=True))

    def likeness(self) -> object:
        """Equal for updates that can be one: the same equations, element by element, of small tensors."""
        type = next(iter(self.taken)).type
        count = type.elements
        if not type.rank or not isinstance(count, int) or count > SMALL:
            return self
        places: dict[Value, object] = {stand_in: place for place, stand_in in enumerate(self.taken)}
        steps: list[object] = []
        for node in Graph({}, self.given):
            if node.result in self.taken:
                continue
            if not _elementwise(node):
                return self
            steps.append((node.op, *(places[operand] for operand in node.operands)))
            places.update({result: (len(steps), place) for place, result in enumerate(node.results)})
        return type.dtype, type.rank, type.shape[1:], tuple(steps), tuple(map(places.get, self.given.values()))


def next_of_all(updates: Sequence[Update]) -> dict[str, Value]:
    """The next values by path, in the order of `updates`."""
    groups: dict[object, list[Update]] = {}
    for update in updates:
        groups.setdefault(update.likeness(), []).append(update)
    found: dict[str, Value] = {}
    for group in groups.values():
        found |= group[0].alone() if len(group) == 1 else _together(group)
    return {path: found[path] for update in updates for path in update.given}


def _together(group: list[Update]) -> dict[str, Value]:
    """The first one's equations over all tensors of the group, one behind the other along axis 0."""
    first = group[0]
    new: dict[Value, Value] = {}
    for stand_ins in zip(*(update.taken for update in group), strict=True):
        parts = (update.taken[each] for update, each in zip(group, stand_ins, strict=True))
        new[stand_ins[0]] = Concat(0)(*parts)
    for node in Graph({}, first.given):
        if node.result.type.rank and node.result not in new:
            with origin(node.origin.span, node.origin.path):
                new[node.result] = node.op(*(new.get(operand, operand) for operand in node.operands))
    rows = tuple(next(iter(update.taken)).shape[0] for update in group)
    found: dict[str, Value] = {}
    for paths in zip(*(update.given for update in group), strict=True):
        found.update(zip(paths, Split(rows).apply(new[first.given[paths[0]]]).results, strict=True))
    return found


def _elementwise(node: Node) -> bool:
    """Whether an item of the result depends on items at its own place only; what is one number depends on no place."""
    if isinstance(node.op, (Elementwise, Where)):
        return True
    return not any(value.type.rank for value in (*node.operands, *node.results))
