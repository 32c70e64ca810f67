"""How many threads a training step runs on: one where its largest operator is too small to be divided.

Threads that wait for one another take as long as the work itself, and longer where other processes want the processors
too: docs/performance.md has the times of products on a busy machine. The choice depends on the graph and on the size of
a batch, and not on how busy the machine is, so that runs with the same seed have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from compiler.dims import evaluate, symbols
from compiler.graph import Graph

LEAST_FLOPS = 250_000_000  # of an operator that is divided: about 3 milliseconds on one thread


def largest_operator(graph: Graph, batch: int) -> int:
    """The floating-point operations of the largest operator, nested ones included.

    Sizes that are known only when the model runs count as `batch`.
    """
    largest = 0
    for node in graph:
        if node.op.graphs:
            largest = max(largest, *(largest_operator(body, batch) for body in node.op.graphs))
        elif node.operands:
            flops = node.op.flops(*(operand.type for operand in node.operands))
            largest = max(largest, evaluate(flops, dict.fromkeys(symbols(flops), batch)))
    return largest


def threads_for(graph: Graph, batch: int, available: int) -> int:
    """The threads of a step of this graph, of those that are available."""
    return available if largest_operator(graph, batch) >= LEAST_FLOPS else 1


def blas_limit(threads: int) -> Callable[[], AbstractContextManager[Any]]:
    """A context in which NumPy's matrix products run on one thread, where a step does."""
    if threads > 1:
        return nullcontext
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    if all(pool["num_threads"] == 1 for pool in controller.info() if pool["user_api"] == "blas"):
        return nullcontext
    return partial(controller.limit, limits=1, user_api="blas")
