"""Rows that are taken in order are counted in i32.

Run where a graph is exported: onnxruntime makes a slice of `Gather(x, Range(n))` in i64, and a slice forgets that a row
beyond the last is an error. Keeps the bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.indexing import Iota, Take
from compiler.rewrite import rewrite
from compiler.types import DType


def narrow_ranges(graph: Graph) -> Graph:
    """`graph` with `take(x, iota(n))` counting in i32."""
    if not any(isinstance(node.op, Iota) for node in graph):
        return graph
    return rewrite(graph, _narrow)


def _narrow(node: Node) -> Sequence[Value] | None:
    if not isinstance(node.op, Take) or not isinstance(node.operands[1].node.op, Iota):
        return None
    x, indices = node.operands
    return [node.op(x, indices.node.op.replace(dtype=DType.I32)())]
