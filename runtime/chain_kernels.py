"""The NumPy functions that a chain calls: one for each operator, and one for draws of which only some are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.graph import Node, Operator, Value
from compiler.numpy_kernels import kernel_of
from compiler.operators.comparison import Where

if TYPE_CHECKING:
    from compiler.types import Array

Kernel = tuple[Node, Operator, tuple[Value, ...], Callable[..., Any]]


def kernels_of(nodes: Sequence[tuple[Node, Operator]], outputs: Collection[Value]) -> Iterator[Kernel]:
    """Each node with an operator whose facts apply to the function, the values that it reads, and the function.

    Draws that are used only where a condition is true are part of the kernel of that `where`, as in an initializer that
    draws again what is out of bounds.
    """
    uses = Counter([*(operand for node, _ in nodes for operand in node.operands), *outputs])
    operators = dict(nodes)
    producers = {node.result: node for node in operators if uses[node.result] == 1}
    branches: dict[Node, list[Node]] = {}
    for node in operators:
        if isinstance(node.op, Where):
            branch = _branch(node.operands[1], producers)
            if any(operators[inner].by_index for inner in branch):
                branches[node] = branch
    inside = {inner for branch in branches.values() for inner in branch}
    for node, op in nodes:
        if node in branches:
            condition, _, otherwise = node.operands
            computing = [(inner, operators[inner]) for inner in branches[node]]
            computed = {inner.result for inner, _ in computing}
            scalars = dict.fromkeys(
                value for inner, _ in computing for value in inner.operands if value not in computed
            )
            fill = next(op for _, op in computing if op.by_index)
            function = partial(_fill_where, _Branch(computing, list(scalars)))
            yield node, fill, (condition, otherwise, *scalars), function
        elif node not in inside:
            yield node, op, node.operands, op.writer or _function(node, op)


def _function(node: Node, op: Operator) -> Callable[..., Any]:
    if op.by_index:
        return op.fill
    function: Callable[..., Any] = getattr(np, op.universal_function) if op.universal_function else kernel_of(node, op)
    return function


def _branch(end: Value, producers: Mapping[Value, Node]) -> list[Node]:
    """The nodes in order that compute `end` and nothing else, of scalars; empty where there are other operands."""
    branch: dict[Node, None] = {}
    waiting = [end]
    while waiting:
        value = waiting.pop()
        if value in producers:
            branch[producers[value]] = None
            waiting.extend(producers[value].operands)
        elif value.type.rank:
            return []
    return list(reversed(branch))


class _Branch:
    """Operators of which single elements can be computed."""

    def __init__(self, nodes: Sequence[tuple[Node, Operator]], scalars: Sequence[Value]) -> None:
        register = {value: number for number, value in enumerate(scalars)}
        self.links: list[tuple[bool, Callable[..., Any], tuple[int, ...], np.dtype[Any]]] = []
        for node, op in nodes:
            operands = tuple(register[operand] for operand in node.operands)
            register[node.result] = len(register)
            self.links.append((op.by_index, _function(node, op), operands, node.result.type.dtype.numpy))

    def __call__(self, indices: range | Array, scalars: Sequence[Array]) -> Array:
        """The elements of the last operator's result at these indices."""
        registers: list[Any] = list(scalars)
        for by_index, function, numbers, dtype in self.links:
            operands = [registers[number] for number in numbers]
            if by_index:
                registers.append(np.empty(len(indices), dtype))
                function(indices, registers[-1], *operands)
            else:
                registers.append(function(*operands))
        result: Array = registers[-1]
        return result


def _fill_where(
    branch: _Branch, indices: range, part: Array, condition: Array, otherwise: Array, *scalars: Array
) -> None:
    """Write `where(condition, branch, otherwise)` for a block of consecutive elements."""
    condition = np.broadcast_to(condition, part.shape)
    chosen = np.flatnonzero(condition)
    part[...] = otherwise
    if len(chosen) * 4 > part.size:  # all of them take less time
        np.copyto(part, branch(indices, scalars).reshape(part.shape), where=condition)
    elif len(chosen):
        np.put(part, chosen, branch(chosen + indices.start, scalars))
