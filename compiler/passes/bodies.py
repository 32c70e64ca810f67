"""Passes on nested graphs: the steps of recurrences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.rewrite import rewrite

Rewrite = Callable[[Graph], Graph]


def with_bodies(change: Rewrite, graph: Graph) -> Graph:
    """`graph` with `change` applied to the steps of its recurrences, the innermost first, and then to itself."""
    if not graph.has(Scan):
        return change(graph)
    steps = {node.op: with_bodies(change, node.op.body) for node in graph if isinstance(node.op, Scan)}

    def rewritten(node: Node) -> Sequence[Value] | None:
        if not isinstance(node.op, Scan) or steps[node.op] is node.op.body:
            return None
        return node.op.replace(body=steps[node.op]).apply(*node.operands).results

    if any(step is not scan.body for scan, step in steps.items()):
        graph = rewrite(graph, rewritten)
    return change(graph)


def everywhere(change: Rewrite) -> Rewrite:
    """`change`, applied to nested graphs too."""
    return partial(with_bodies, change)
