"""Consecutive masks of an attention become one, which equal layers share; so does a causal mask.

Run on export, for attention that is decomposed there (see `compiler.operators.attention`): ONNX's `is_causal` counts
queries and keys from 0. Keeps the bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.dims import Size
from compiler.graph import Graph, Node, Value
from compiler.operators.attention import ADD, HIDING, LATER, MASK, Attention
from compiler.operators.comparison import LessEqual, LogicalAnd
from compiler.operators.indexing import Iota
from compiler.operators.leaves import size_of
from compiler.operators.shaping import Unsqueeze
from compiler.rewrite import rewrite


def join_masks(graph: Graph) -> Graph:
    """`graph` with at most one mask for each number by which attention hides scores, where ONNX has no operator."""
    if not graph.has(Attention):
        return graph
    later: dict[tuple[Size, Size, Size], Value] = {}
    both: dict[tuple[Value, Value], Value] = {}

    def join(node: Node) -> Sequence[Value] | None:
        op = node.op
        if not isinstance(op, Attention) or not any(kind in HIDING for kind, _ in op.steps):
            return None
        if op.native_opset(*(operand.type for operand in node.operands)):
            return None
        q, k, v, *others = node.operands
        waiting = iter(others)
        steps: list[tuple[str, float]] = []
        operands: list[Value] = []
        for kind, number in op.steps:
            if kind == LATER:
                key = (q.shape[2], k.shape[2], op.before)
                mask = later[key] if key in later else later.setdefault(key, _causal_mask(*key))
            elif kind in (MASK, ADD):
                mask = next(waiting)
            if kind in HIDING and steps and steps[-1] == (MASK, number):
                pair = operands[-1], mask
                operands[-1] = both[pair] if pair in both else both.setdefault(pair, LogicalAnd()(*pair))
                continue
            if kind in HIDING or kind == ADD:
                operands.append(mask)
            steps.append((MASK, number) if kind in HIDING else (kind, number))
        if tuple(steps) == op.steps:
            return None
        return [op.replace(steps=tuple(steps), before=0)(q, k, v, *operands)]

    return rewrite(graph, join)


def _causal_mask(queries: Size, keys: Size, before: Size) -> Value:
    """The mask of keys that are no later than a query, `[queries, keys]`."""
    positions = Iota(queries)() if before == 0 else Iota(queries)() + size_of(before)
    return LessEqual()(Iota(keys)(), Unsqueeze((1,))(positions))
