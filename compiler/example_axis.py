"""Which operators mix the examples of a batch although their results keep the axis of examples."""

from __future__ import annotations

from compiler.dims import symbols
from compiler.graph import Node
from compiler.operators.indexing import Iota


def relates_examples(node: Node, batch: set[str]) -> bool:
    """Whether a node mixes or moves items along the axis of examples, whose size contains a dim of `batch`.

    Reductions and matrix products are not covered: their results have no such axis any more, or two.
    """
    if isinstance(node.op, Iota):
        return bool(symbols(node.op.size) & batch)
    types = [operand.type for operand in node.operands]
    return any(symbols(types[index].shape[axis]) & batch for index, axis in node.op.related_axes(*types))
