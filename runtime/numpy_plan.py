"""A graph made ready to run by NumPy at one set of sizes: a flat list of steps over numbered slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.graph import Graph, Node
from compiler.operators.source import Constant, Fed

if TYPE_CHECKING:
    from compiler.types import Array

Kernel = Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """One kernel: where its operands lie, where its results go, and what nobody needs afterwards."""

    kernel: Kernel
    operands: tuple[int, ...]
    results: tuple[int, ...]
    freed: tuple[int, ...]
    node: Node


@dataclass(frozen=True, eq=False)
class Plan:
    """Steps in order; `fed` are the slots that the caller fills, by the input's label or the parameter's path."""

    steps: tuple[Step, ...]
    fed: dict[str, int]
    fixed: tuple[tuple[int, Array], ...]
    ends: tuple[int, ...]
    slots: int

    def run(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        """The graph's ends, in order."""
        slots: list[Any] = [None] * self.slots
        for slot, array in self.fixed:
            slots[slot] = array
        for name, slot in self.fed.items():
            slots[slot] = feeds[name]
        for step in self.steps:
            results = step.results
            if len(results) == 1:
                slots[results[0]] = step.kernel(*[slots[slot] for slot in step.operands])
            else:
                for slot, array in zip(results, step.kernel(*[slots[slot] for slot in step.operands]), strict=True):
                    slots[slot] = array
            for slot in step.freed:
                slots[slot] = None
        return tuple(slots[slot] for slot in self.ends)


def plan(graph: Graph, sizes: Mapping[str, int]) -> Plan:
    """Bind every named dim, number the values, and note when each is last used."""
    places: dict[Any, int] = {}
    fed: dict[str, int] = {}
    fixed: list[tuple[int, Array]] = []
    nodes = [node for node in graph.nodes]
    for name, value in graph.inputs.items():
        places[value] = fed.setdefault(name, len(places))
    last: dict[int, int] = {}
    made: list[tuple[Kernel, tuple[int, ...], tuple[int, ...], Node]] = []
    for node in nodes:
        for result in node.results:
            if result not in places:
                places[result] = len(places)
        results = tuple(places[result] for result in node.results)
        if isinstance(node.op, Constant):
            fixed.append((results[0], node.op.compute()))
        elif isinstance(node.op, Fed):
            fed.setdefault(fed_name(node), results[0])
        else:
            operands = tuple(places[operand] for operand in node.operands)
            for slot in (*operands, *results):
                last[slot] = len(made)
            made.append((_kernel(node, sizes), operands, results, node))
    ends = tuple(places[value] for value in graph.ends)
    kept = {*ends, *(slot for slot, _ in fixed)}
    freed: dict[int, list[int]] = {}
    for slot, step in last.items():
        if slot not in kept:
            freed.setdefault(step, []).append(slot)
    steps = tuple(Step(*each, tuple(freed.get(number, ())), node) for number, (*each, node) in enumerate(made))
    return Plan(steps, fed, tuple(fixed), ends, len(places))


def fed_name(node: Node) -> str:
    """The name under which a source is fed: an input's label, a parameter's path."""
    op: Any = node.op
    return str(op.label if hasattr(op, "label") else op.path)


def _kernel(node: Node, sizes: Mapping[str, int]) -> Kernel:
    op = node.op.bind(sizes)
    if not op.graphs:
        return op.compute
    bodies = [_callable(plan(body, sizes), list(body.inputs)) for body in op.graphs]
    return partial(op.compute, bodies=bodies)


def _callable(body: Plan, names: list[str]) -> Callable[..., tuple[Array, ...]]:
    def call(*arrays: Array) -> tuple[Array, ...]:
        return body.run(dict(zip(names, arrays, strict=True)))

    return call


def errstate() -> Any:
    """Divisions by zero and overflows give infinities and NaN, as everywhere in the field, and no warnings."""
    return np.errstate(all="ignore")
