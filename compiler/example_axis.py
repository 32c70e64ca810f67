"""Which operators relate the examples of a batch to one another although their results have one axis for them."""

from __future__ import annotations

from compiler.dims import symbols
from compiler.graph import Node
from compiler.operators.indexing import Iota


def relates_examples(node: Node, batch: set[str]) -> bool:
    """Whether a node does something along the axis of examples, those whose size has a name of `batch`.

    Reductions and products are not looked at here: their results have no such axis any more, or two.
    """
    if isinstance(node.op, Iota):
        return bool(symbols(node.op.size) & batch)
    types = [operand.type for operand in node.operands]
    return any(symbols(types[index].shape[axis]) & batch for index, axis in node.op.related_axes(*types))
