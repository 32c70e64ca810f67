"""Causal attention whose first query stands behind other keys takes its mask as a bias, one for all layers.

Run where a graph is exported: ONNX's `is_causal` counts queries and keys from 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from compiler.dims import Size
from compiler.graph import Graph, Node, Value
from compiler.operators.attention import Attention
from compiler.operators.comparison import LessEqual, Where
from compiler.operators.indexing import Iota
from compiler.operators.shaping import Expand, Unsqueeze
from compiler.operators.source import constant, size_of
from compiler.rewrite import rewrite
from compiler.types import DType


def mask_later_keys(graph: Graph) -> Graph:
    """`graph` with no attention that is causal `before` 0."""
    masks: dict[tuple[Size, Size, Size, DType], Value] = {}

    def masked(node: Node) -> Sequence[Value] | None:
        op = node.op
        if not isinstance(op, Attention) or not op.causal or op.before == 0:
            return None
        q, k, v, *bias = node.operands
        wanted = (q.shape[2], k.shape[2], op.before, q.type.dtype)
        if wanted not in masks:
            masks[wanted] = _mask(*wanted)
        made = Attention(op.scale)(q, k, v, masks[wanted] + bias[0] if bias else masks[wanted])
        return [made]

    return rewrite(graph, masked)


def _mask(queries: Size, keys: Size, before: Size, dtype: DType) -> Value:
    """0 where a query sees a key, of [1, 1, queries, keys]."""
    places: Value = Iota(queries)() + size_of(before)
    seen = LessEqual()(Iota(keys)(), Unsqueeze((1,))(places))
    found: Value = Expand((1, 1, queries, keys))(Where()(seen, constant(0, dtype), constant(-math.inf, dtype)))
    return found
