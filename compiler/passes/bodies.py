"""Passes on nested graphs: the steps of recurrences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.rewrite import rewrite

Rewrite = Callable[[Graph], Graph]


def nodes_in_all(graph: Graph) -> int:
    """How many nodes a graph has, those of nested graphs included."""
    return len(graph) + sum(nodes_in_all(body) for node in graph for body in node.op.graphs)


def with_bodies(change: Rewrite, graph: Graph) -> Graph:
    """`graph` with `change` applied to the steps of its recurrences, the innermost first, and then to itself."""

    def step(node: Node) -> Sequence[Value] | None:
        if not isinstance(node.op, Scan):
            return None
        body = with_bodies(change, node.op.body)
        if body is node.op.body:
            return None
        return node.op.replace(body=body).apply(*node.operands).results

    if any(isinstance(node.op, Scan) for node in graph):
        graph = rewrite(graph, step)
    return change(graph)


def everywhere(change: Rewrite) -> Rewrite:
    """`change`, made in nested graphs too."""
    return partial(with_bodies, change)
