"""Which values are known before a graph runs: those that depend on stored tensors and constants alone.

A value that a graph updates is not known. Passes put an `Input` in the place of such a tensor (`behind_inputs`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from compiler.graph import Graph, Node, Value
from compiler.operators.leaves import Constant, Input, Stored
from compiler.rewrite import with_replaced

_LARGEST_EXPRESSION = 200  # nodes of a known value; larger ones are taken to be unknown


def is_known(value: Value) -> bool:
    """Whether a value depends on stored tensors and constants alone."""
    return _leaves(value) is not None


def is_weight(value: Value) -> bool:
    """Whether a value is known, and not only from the constants of the model's own text."""
    leaves = _leaves(value)
    return leaves is not None and any(isinstance(leaf.op, Stored) for leaf in leaves)


def weight_leaves(value: Value) -> list[Node]:
    """The stored tensors and constants that a known value depends on."""
    return _leaves(value) or []


def bytes_of(value: Value) -> int | None:
    """The bytes that a value takes; None where its size depends on the inputs."""
    size = value.type.elements
    return size * value.type.dtype.bytes if isinstance(size, int) else None


def updated(graph: Graph) -> tuple[Value, ...]:
    """The stored tensors that a step of the graph changes."""
    return tuple(node.result for node in graph if isinstance(node.op, Stored) and node.op.path in graph.updates)


def behind_inputs(graph: Graph, leaves: Collection[Value], change: Callable[[Graph], Graph]) -> Graph:
    """`change` of the graph, to which the `leaves` look like inputs, of which nothing is known; itself if unchanged."""
    inputs = {leaf: Input(f"tensor {number}", leaf.type)() for number, leaf in enumerate(leaves)}
    hidden = with_replaced(graph, inputs)
    changed = change(hidden)
    return graph if changed is hidden else with_replaced(changed, {new: leaf for leaf, new in inputs.items()})


def _leaves(value: Value) -> list[Node] | None:
    """The stored tensors and constants that a known value depends on; None for a value that is not known."""
    if bytes_of(value) is None:
        return None
    waiting, seen = [value.node], {value.node}
    leaves: list[Node] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node.op, (Stored, Constant)):
            leaves.append(node)
        elif not node.operands or node.op.graphs or len(seen) > _LARGEST_EXPRESSION:
            return None
        for operand in node.operands:
            if operand.node not in seen:
                if bytes_of(operand) is None:
                    return None
                seen.add(operand.node)
                waiting.append(operand.node)
    return leaves
