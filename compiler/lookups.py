"""Where a graph looks up rows of tables, and with that the range of its index inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler.dims import Size, evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Input


@dataclass(frozen=True, eq=False)
class Lookup:
    """`indices` that `node` looks up in a table of `size` entries."""

    node: Node
    indices: Value
    size: Size


def lookups(graph: Graph, *, complete: bool = False) -> Iterator[Lookup]:
    """Every look-up of a graph; those inside scans are given by the operands that the scan passes in.

    With `complete` only those where all of an operand is looked up, not a part of it.
    """
    for node in graph:
        match node.op.lookup(*node.operands):
            case (indices, size) if not isinstance(size, tuple):
                yield Lookup(node, indices, size)
        if isinstance(node.op, Scan):
            outside = dict(zip(node.op.body.inputs, node.operands, strict=True))
            for lookup in lookups(node.op.body, complete=complete):
                for name in inputs_behind(lookup.indices, complete=complete):
                    if name in outside:
                        yield Lookup(lookup.node, outside[name], lookup.size)


def lookups_of_several_axes(graph: Graph) -> Iterator[tuple[Node, Value, tuple[Size, ...]]]:
    """Every look-up in several axes: the indices, one per axis along their last axis, and the sizes of these axes."""
    for node in graph:
        match node.op.lookup(*node.operands):
            case (indices, tuple() as sizes):
                yield node, indices, sizes


def table_limits(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of the smallest table that each index input indexes, by the input's name."""
    limits: dict[str, int] = {}
    for lookup in lookups(graph):
        size = known_size(lookup.size, sizes)
        for name in inputs_behind(lookup.indices):
            limits[name] = min(limits.get(name, size), size)
    return limits


def inputs_behind(value: Value, *, complete: bool = False) -> Iterator[str]:
    """The inputs whose elements a value holds, moved or not; with `complete` only those of which it holds all."""
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
    """A size as a number; 1 where it contains dims that `sizes` lacks."""
    return evaluate(size, sizes) if symbols(size) <= sizes.keys() else 1
