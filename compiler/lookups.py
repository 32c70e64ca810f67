"""Where a graph looks numbers up in tables: what its inputs of places may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler.dims import Size, evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.source import Input


@dataclass(frozen=True, eq=False)
class Lookup:
    """`places` that `node` looks up in a table of `size` entries, others than which it does not have."""

    node: Node
    places: Value
    size: Size


def lookups(graph: Graph, *, complete: bool = False) -> Iterator[Lookup]:
    """Every look-up of a graph, those inside of scans by what comes in from outside.

    With `complete` only where all of what comes in is looked up, and not a part of it.
    """
    for node in graph:
        match node.op.looked_up(*node.operands):
            case (positions, size) if not isinstance(size, tuple):
                yield Lookup(node, positions, size)
        if isinstance(node.op, Scan):
            outside = dict(zip(node.op.body.inputs, node.operands, strict=True))
            for lookup in lookups(node.op.body, complete=complete):
                for name in inputs_behind(lookup.places, complete=complete):
                    if name in outside:
                        yield Lookup(lookup.node, outside[name], lookup.size)


def lookups_of_several_axes(graph: Graph) -> Iterator[tuple[Node, Value, tuple[Size, ...]]]:
    """Every look-up by a place in several axes: the places, whose last axis has one for each, and the axes' sizes."""
    for node in graph:
        match node.op.looked_up(*node.operands):
            case (positions, tuple() as sizes):
                yield node, positions, sizes


def table_limits(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """For each input of places the size of the smallest table that it indexes."""
    limits: dict[str, int] = {}
    for lookup in lookups(graph):
        size = known_size(lookup.size, sizes)
        for name in inputs_behind(lookup.places):
            limits[name] = min(limits.get(name, size), size)
    return limits


def inputs_behind(value: Value, *, complete: bool = False) -> Iterator[str]:
    """The inputs that a value is made of, element by element or by moving; with `complete` those it has all of."""
    waiting, seen = [value.node], {value.node}
    while waiting:
        node = waiting.pop()
        if isinstance(node.op, Input):
            yield node.op.label
        elif node.op.positions == "all" or (node.op.positions and not complete):
            for operand in node.operands:
                if operand.node not in seen:
                    seen.add(operand.node)
                    waiting.append(operand.node)


def known_size(size: Size, sizes: Mapping[str, int]) -> int:
    """A size as a number; 1 where it holds dims that no input has."""
    return evaluate(size, sizes) if symbols(size) <= sizes.keys() else 1
