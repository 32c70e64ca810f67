"""What a graph costs at one set of sizes: its nodes, their floating-point operations, and the bytes that they move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler.dims import TYPICAL, DimError, Size, evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Source
from grammar.record import ValueRecord


class GraphCost(ValueRecord):
    """Nodes with those of nested graphs, floating-point operations, and bytes; None where these are not known."""

    nodes: int
    flops: int | None = None
    bytes: int | None = None


def every_node(graph: Graph, times: Size = 1) -> Iterator[tuple[Node, Size]]:
    """All nodes, including those in the steps of recurrences, each with the number of times that it runs."""
    for node in graph:
        if isinstance(node.op, Scan):
            yield from every_node(node.op.body, times * node.op.length(*(operand.type for operand in node.operands)))
        yield node, times


def node_flops(node: Node, times: Size = 1) -> Size:
    """The floating-point operations of a node that runs `times` times; those of a recurrence are its steps'.

    DimError where sizes that have no common form meet.
    """
    if isinstance(node.op, (Source, Scan)):
        return 0
    return node.op.flops(*(operand.type for operand in node.operands)) * times


def cost_of(graph: Graph, sizes: Mapping[str, int] | None = None) -> GraphCost:
    """The cost at these sizes of named dims; those without a size have a typical one.

    A node reads its operands and writes its results; a view moves nothing, and a recurrence what its steps do.
    """
    nodes = flops = moved = 0
    for node, times in every_node(graph):
        nodes += 1
        if isinstance(node.op, (Source, Scan)):
            continue
        try:
            flops += count_of(node_flops(node, times), sizes)
        except DimError:  # the rest is still worth comparing
            continue
        if not node.op.views_operand:
            moved += sum(
                count_of(value.type.elements * times, sizes) * value.type.dtype.bytes for value in _values(node)
            )
    return GraphCost(nodes, flops, moved)


def _values(node: Node) -> Iterator[Value]:
    yield from node.operands
    yield from node.results


def count_of(size: Size, sizes: Mapping[str, int] | None = None) -> int:
    """A size as a number, with typical sizes for named dims that have none; 0 if it is negative."""
    known = dict.fromkeys(symbols(size), TYPICAL) | dict(sizes or {})
    return max(0, evaluate(size, known))
