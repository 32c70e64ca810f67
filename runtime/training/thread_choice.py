"""How many threads of onnxruntime a training step runs on: one where its largest operator is too small to be divided.

Threads that wait for one another take as long as the work itself. The choice depends on the graph and on the size of a
batch, and not on how busy the machine is, so that runs with the same seed have the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler.dims import evaluate, symbols
from compiler.graph import Graph

LEAST_FLOPS = 30_000_000  # of an operator that is divided: about half a millisecond on one thread


def largest_operator(graph: Graph, batch: int, sizes: Mapping[str, int]) -> int:
    """The floating-point operations of the largest operator at these sizes of named dims, nested ones included.

    Sizes that are known only when the model runs count as `batch`.
    """
    largest = 0
    for node in graph:
        if node.op.graphs:
            largest = max(largest, *(largest_operator(body, batch, sizes) for body in node.op.graphs))
        elif node.operands:
            flops = node.op.flops(*(operand.type for operand in node.operands))
            largest = max(largest, evaluate(flops, {**dict.fromkeys(symbols(flops), batch), **sizes}))
    return largest


def threads_for(graph: Graph, batch: int, sizes: Mapping[str, int], available: int) -> int:
    """The threads of a step of this graph at these sizes of named dims, of those that are available."""
    return available if largest_operator(graph, batch, sizes) >= LEAST_FLOPS else 1
