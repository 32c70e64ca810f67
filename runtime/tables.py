"""Tables that a graph looks places up in: how far the numbers of an input may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from compiler.dims import Size, evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.indexing import GatherElements, OneHot, Take
from compiler.operators.source import Input
from grammar.diagnostics import Diagnostic, NablacError

_MOVERS = ("concat", "expand", "flip", "reshape", "slice", "squeeze", "transpose", "unsqueeze")
_CARRIERS = {*_MOVERS, "cast", "clip", "where"}  # operators that hand their operands' numbers on


def number_of(size: Size, sizes: Mapping[str, int]) -> int:
    """A size as a number; 1 where it holds dims that no input has."""
    return evaluate(size, sizes) if symbols(size) <= sizes.keys() else 1


def table_limits(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """For each input of places the size of the smallest table that it indexes."""
    limits: dict[str, int] = {}

    def limit(value: Value, size: int) -> None:
        for name in _inputs_behind(value):
            limits[name] = min(limits.get(name, size), size)

    for node in graph:
        size = _table(node)
        if size is not None:
            limit(node.operands[-1], number_of(size, sizes))
        if isinstance(node.op, Scan):
            inner = table_limits(node.op.body, sizes)
            for name, operand in zip(node.op.body.inputs, node.operands, strict=True):
                if name in inner:
                    limit(operand, inner[name])
    return limits


def _table(node: Node) -> Size | None:
    """How many entries the table has that a node looks its last operand up in."""
    match node.op:
        case Take(axis=axis) | GatherElements(axis=axis):
            return node.operands[0].shape[axis]
        case OneHot(depth=depth):
            return depth
    return None


def _inputs_behind(value: Value) -> Iterator[str]:
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


def outside_of_table(
    graph: Graph, feeds: Mapping[str, Any], sizes: Mapping[str, int], stopped: NablacError
) -> NablacError | None:
    """What was fed that no table has, where that is why a graph stopped; it is told at the same line."""
    wrong: list[Diagnostic] = []
    for name, limit in table_limits(graph, sizes).items():
        given = np.asarray(feeds[name]) if name in feeds else np.zeros(0)
        outside = given[(given >= limit) | (given < -limit)]
        if outside.size:
            message = f"`{name}` holds {outside[0]}, and the table that it looks up has {limit} entries"
            (span, *_) = (each.span for each in stopped.diagnostics)
            hint = f"its numbers are from 0 to {limit - 1}"
            wrong.append(Diagnostic("E806", message, span, place=f"input `{name}`", hint=hint))
    return NablacError(*wrong) if wrong else None
