"""Which operators relate the examples of a batch to one another although their results have one axis for them."""

from __future__ import annotations

from compiler.dims import symbols
from compiler.graph import Node, Value
from compiler.operators.control import Scan
from compiler.operators.convolution import SlidingWindow
from compiler.operators.indexing import GatherElements, GatherNd, Iota, ScatterElements, ScatterNd, Take
from compiler.operators.normalization import AlongAxis
from compiler.operators.ordering import CumSum, TopK
from compiler.operators.shaping import Concat, Flip, Split
from compiler.operators.slicing import Pad, Slice

_ALONG_ONE = (AlongAxis, Concat, CumSum, GatherElements, ScatterElements, Split, Take, TopK)
_FIRST_OF_WINDOWS = 2  # before it are the batch and the channels


def relates_examples(node: Node, batch: set[str]) -> bool:
    """Whether a node does something along the axis of examples, those whose size has a name of `batch`.

    Reductions and products are not looked at here: their results have no such axis any more, or two.
    """
    op, operands = node.op, node.operands
    if isinstance(op, Iota):
        return bool(symbols(op.size) & batch)
    if isinstance(op, _ALONG_ONE):
        tables = operands if isinstance(op, Concat) else operands[:1]
        return any(op.axis % each.type.rank in _axes(each, batch) for each in tables)
    if isinstance(op, (Flip, Slice)):
        return any(axis % operands[0].type.rank in _axes(operands[0], batch) for axis in op.axes)
    if isinstance(op, Pad):
        return any(op.before[axis] != 0 or op.after[axis] != 0 for axis in _axes(operands[0], batch))
    if isinstance(op, (GatherNd, ScatterNd)):
        return bool(_axes(operands[0], batch))
    if isinstance(op, SlidingWindow):
        return any(axis >= _FIRST_OF_WINDOWS for axis in _axes(operands[0], batch))
    if isinstance(op, Scan):
        return any(0 in _axes(each, batch) for each in operands[op.states : op.states + op.slices])
    return False


def _axes(value: Value, batch: set[str]) -> list[int]:
    return [axis for axis, size in enumerate(value.shape) if symbols(size) & batch]
