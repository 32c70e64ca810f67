"""Tables that a graph looks places up in: how far the numbers of an input may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import Size, evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.indexing import GatherElements, OneHot, Take
from compiler.operators.source import Input
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.types import Array

# Operators that hand all of their operands' numbers on, and those that hand on some.
_MOVERS = frozenset(("cast", "concat", "expand", "flip", "reshape", "squeeze", "transpose", "unsqueeze"))
_CARRIERS = _MOVERS | {"clip", "slice", "where"}


@dataclass(frozen=True)
class Lookup:
    """A table with so many entries, and where it is looked into."""

    entries: Size
    node: Node


def number_of(size: Size, sizes: Mapping[str, int]) -> int:
    """A size as a number; 1 where it holds dims that no input has."""
    return evaluate(size, sizes) if symbols(size) <= sizes.keys() else 1


def table_limits(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """For each input of places the size of the smallest table that it indexes."""
    limits: dict[str, int] = {}
    for name, size, _ in _lookups(graph, _CARRIERS):
        limits[name] = min(limits.get(name, number_of(size, sizes)), number_of(size, sizes))
    return limits


def lookups(graph: Graph) -> dict[str, Lookup]:
    """For each input whose every number is looked up, the first table."""
    found: dict[str, Lookup] = {}
    for name, entries, node in _lookups(graph, _MOVERS):
        found.setdefault(name, Lookup(entries, node))
    return found


def below_tables(
    tables: Mapping[str, Lookup], feeds: Mapping[str, Array], sizes: Mapping[str, int]
) -> Iterator[Diagnostic]:
    """Numbers below 0 of inputs that are looked up: a table would count them from its end."""
    for name, table in tables.items():
        given = feeds[name]
        if given.size and given.min() < 0:
            yield _not_in_table(name, given.min(), number_of(table.entries, sizes), table.node.origin.span)


def _lookups(graph: Graph, carriers: frozenset[str]) -> Iterator[tuple[str, Size, Node]]:
    for node in graph:
        size = _table(node)
        if size is not None:
            for name in _inputs_behind(node.operands[-1], carriers):
                yield name, size, node
        if isinstance(node.op, Scan):
            operands = dict(zip(node.op.body.inputs, node.operands, strict=True))
            for inner, size, place in _lookups(node.op.body, carriers):
                for name in _inputs_behind(operands[inner], carriers):
                    yield name, size, place


def _table(node: Node) -> Size | None:
    """How many entries the table has that a node looks its last operand up in."""
    match node.op:
        case Take(axis=axis) | GatherElements(axis=axis):
            return node.operands[0].shape[axis]
        case OneHot(depth=depth):
            return depth
    return None


def _inputs_behind(value: Value, carriers: frozenset[str]) -> Iterator[str]:
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


def outside_of_table(
    graph: Graph, feeds: Mapping[str, Any], sizes: Mapping[str, int], stopped: NablacError
) -> NablacError | None:
    """What was fed that no table has, where that is why a graph stopped; it is told at the same line."""
    wrong: list[Diagnostic] = []
    for name, limit in table_limits(graph, sizes).items():
        given = np.asarray(feeds[name]) if name in feeds else np.zeros(0)
        outside = given[(given >= limit) | (given < -limit)]
        if outside.size:
            (span, *_) = (each.span for each in stopped.diagnostics)
            wrong.append(_not_in_table(name, outside[0], limit, span))
    return NablacError(*wrong) if wrong else None


def _not_in_table(name: str, number: Any, entries: int, span: Span | None) -> Diagnostic:
    """A number of an input that the table has no entry for."""
    message = f"`{name}` holds {number}, and the table that it looks up has {entries} entries"
    hint = f"its numbers are from 0 to {entries - 1}"
    return Diagnostic("E806", message, span, place=f"input `{name}`", hint=hint)
