"""Where a graph looks numbers up in tables: what its inputs of places may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler.dims import Size, evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.indexing import GatherElements, GatherNd, OneHot, ScatterElements, ScatterNd, Take
from compiler.operators.source import Input

# Operators that hand all of their operands' numbers on, and those that hand on some.
MOVERS = frozenset(("cast", "concat", "expand", "flip", "reshape", "squeeze", "transpose", "unsqueeze"))
_CARRIERS = MOVERS | {"clip", "slice", "where"}


@dataclass(frozen=True, eq=False)
class Lookup:
    """`places` that `node` looks up in a table of `size` entries, others than which it does not have."""

    node: Node
    places: Value
    size: Size


def lookups(graph: Graph, carriers: frozenset[str] = _CARRIERS) -> Iterator[Lookup]:
    """Every look-up of a graph, those inside of scans by what comes in from outside."""
    for node in graph:
        table = _table(node)
        if table is not None:
            yield Lookup(node, *table)
        if isinstance(node.op, Scan):
            outside = dict(zip(node.op.body.inputs, node.operands, strict=True))
            for each in lookups(node.op.body, carriers):
                for name in inputs_behind(each.places, carriers):
                    if name in outside:
                        yield Lookup(each.node, outside[name], each.size)


def lookups_of_several_axes(graph: Graph) -> Iterator[tuple[Node, Value, tuple[Size, ...]]]:
    """Every look-up by a place in several axes: the places, whose last axis has one for each, and the axes' sizes."""
    for node in graph:
        if isinstance(node.op, (GatherNd, ScatterNd)):
            table, places = node.operands[:2]
            depth = places.shape[-1]
            assert isinstance(depth, int)
            yield node, places, table.shape[:depth]


def table_limits(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """For each input of places the size of the smallest table that it indexes."""
    limits: dict[str, int] = {}
    for each in lookups(graph):
        size = known_size(each.size, sizes)
        for name in inputs_behind(each.places):
            limits[name] = min(limits.get(name, size), size)
    return limits


def inputs_behind(value: Value, carriers: frozenset[str] = _CARRIERS) -> Iterator[str]:
    """The inputs that a value is made of, element by element or by moving them."""
    waiting, seen = [value.node], {value.node}
    while waiting:
        node = waiting.pop()
        if isinstance(node.op, Input):
            yield node.op.label
        elif node.op.name in carriers:
            for operand in node.operands:
                if operand.node not in seen:
                    seen.add(operand.node)
                    waiting.append(operand.node)


def known_size(size: Size, sizes: Mapping[str, int]) -> int:
    """A size as a number; 1 where it holds dims that no input has."""
    return evaluate(size, sizes) if symbols(size) <= sizes.keys() else 1


def _table(node: Node) -> tuple[Value, Size] | None:
    """The places that a node looks up, and how many entries its table has."""
    match node.op:
        case Take(axis=axis) | GatherElements(axis=axis) | ScatterElements(axis=axis):
            return node.operands[1], node.operands[0].shape[axis]
        case OneHot(depth=depth):
            return node.operands[0], depth
    return None
