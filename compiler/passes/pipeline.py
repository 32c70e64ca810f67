"""Which rewrites run, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.passes.fold_constants import fold_constants
from compiler.passes.fuse_attention import fuse_attention
from compiler.passes.fuse_bias import fuse_bias
from compiler.passes.fuse_recurrences import fuse_recurrences
from compiler.passes.fuse_softmax import fuse_softmax
from compiler.passes.hoist import hoist_results, hoist_steps
from compiler.passes.merge_scans import merge_scans
from compiler.passes.pools import pool_once
from compiler.passes.regroup_steps import regroup_steps
from compiler.passes.share_equals import share_equals
from compiler.passes.simplify import simplify
from compiler.rewrite import rewrite

Pass = Callable[[Graph], Graph]

LOCAL: tuple[Pass, ...] = (simplify, fold_constants, share_equals)


def passes(walked: Collection[str] = ()) -> tuple[Pass, ...]:
    """All passes in order; recurrent cells in `walked` do not become one operator."""
    return (
        *LOCAL,
        hoist_results,
        *LOCAL,
        partial(fuse_recurrences, walked=walked),
        regroup_steps,
        hoist_steps,
        *LOCAL,
        fuse_softmax,
        fuse_attention,
        fuse_bias,
        pool_once,
        *LOCAL,
    )


def optimize(graph: Graph, *, walked: Collection[str] = ()) -> Graph:
    """A graph of the same inputs and outputs that computes the same, sooner.

    What no output needs is gone by construction: a graph is what its ends reach. Recurrent cells in `walked` do not
    become one operator.
    """
    graph = optimize_bodies(merge_scans(graph))
    for each in passes(walked):
        graph = each(graph)
    return graph


def optimize_bodies(graph: Graph) -> Graph:
    """`graph` with the steps of its recurrences rewritten, the innermost first."""
    if not any(isinstance(node.op, Scan) for node in graph):
        return graph

    def body_of(node: Node) -> Sequence[Value] | None:
        if not isinstance(node.op, Scan):
            return None
        body = optimize_bodies(node.op.body)
        for each in LOCAL:
            body = each(body)
        return node.op.replace(body=body).apply(*node.operands).results

    return rewrite(graph, body_of)
