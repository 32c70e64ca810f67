"""Where a graph looks numbers up in tables: what its inputs of places may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler.dims import Size, evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.indexing import GatherElements, OneHot, Take
from compiler.operators.source import Input

_MOVERS = ("concat", "expand", "flip", "reshape", "slice", "squeeze", "transpose", "unsqueeze")
_CARRIERS = {*_MOVERS, "cast", "clip", "where"}  # operators that hand their operands' numbers on


@dataclass(frozen=True, eq=False)
class Lookup:
    """`places` that are looked up in a table of `size` entries; in one that `stops`, others are an error."""

    places: Value
    size: int
    stops: bool


def lookups(graph: Graph, sizes: Mapping[str, int]) -> Iterator[Lookup]:
    """Every look-up of a graph, those inside of scans by what comes in from outside."""
    for node in graph:
        size = _table(node)
        if size is not None:
            yield Lookup(node.operands[-1], known_size(size, sizes), not isinstance(node.op, OneHot))
        if isinstance(node.op, Scan):
            outside = dict(zip(node.op.body.inputs, node.operands, strict=True))
            for each in lookups(node.op.body, sizes):
                for name in inputs_behind(each.places):
                    if name in outside:
                        yield Lookup(outside[name], each.size, each.stops)


def table_limits(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """For each input of places the size of the smallest table that it indexes."""
    limits: dict[str, int] = {}
    for each in lookups(graph, sizes):
        for name in inputs_behind(each.places):
            limits[name] = min(limits.get(name, each.size), each.size)
    return limits


def inputs_behind(value: Value) -> Iterator[str]:
    """The inputs that a value is made of, element by element or by moving them."""
    waiting, seen = [value.node], {value.node}
    while waiting:
        node = waiting.pop()
        if isinstance(node.op, Input):
            yield node.op.label
        elif node.op.name in _CARRIERS:
            for operand in node.operands:
                if operand.node not in seen:
                    seen.add(operand.node)
                    waiting.append(operand.node)


def known_size(size: Size, sizes: Mapping[str, int]) -> int:
    """A size as a number; 1 where it holds dims that no input has."""
    return evaluate(size, sizes) if symbols(size) <= sizes.keys() else 1


def _table(node: Node) -> Size | None:
    """How many entries the table has that a node looks its last operand up in."""
    match node.op:
        case Take(axis=axis) | GatherElements(axis=axis):
            return node.operands[0].shape[axis]
        case OneHot(depth=depth):
            return depth
    return None
