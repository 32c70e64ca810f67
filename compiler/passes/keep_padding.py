"""Zeros around the input of a max pool stay zeros.

Run where a graph is exported: onnxruntime before 1.31 makes one MaxPool of a Pad and a MaxPool, and the padding of
MaxPool is never the largest, so that a window of negative elements and padding gives another number. A maximum with
-infinity, which is every number itself, keeps the two apart. Keeps bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Maximum
from compiler.operators.pooling import MaxPool, MaxPoolPlaces
from compiler.operators.slicing import Pad
from compiler.operators.source import constant
from compiler.rewrite import rewrite


def keep_padding(graph: Graph) -> Graph:
    """`graph` with a maximum between every padding with zeros and the max pool that reads it."""
    return rewrite(graph, _apart)


def _apart(node: Node) -> Sequence[Value] | None:
    if not isinstance(node.op, (MaxPool, MaxPoolPlaces)):
        return None
    padded = node.operands[0]
    if not isinstance(padded.node.op, Pad) or padded.node.op.mode != "constant" or padded.node.op.value != 0:
        return None
    kept = Maximum()(padded, constant(-inf, padded.type.dtype))
    return node.op.apply(kept).results
