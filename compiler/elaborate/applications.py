"""Finished applications of layers, which later ones can be copies of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from compiler.elaborate.values import CompileTimeValue, Instance
from compiler.elaborate.work import of_graph
from compiler.graph import Node, Value
from compiler.origins import Layer
from compiler.rewrite import nodes_up_to
from grammar.record import Record


class Application(Record):
    """A finished application and what it added to its session, by path."""

    instance: Instance
    inputs: Sequence[CompileTimeValue]
    outputs: tuple[Value, ...]
    several: bool  # whether its outputs are a tuple
    parameters: Mapping[str, Value]
    updates: Mapping[str, Value]
    layers: Mapping[str, Layer]
    key: Value | None

    @cached_property
    def fixed(self) -> set[Value]:
        """The values that it did not compute itself."""
        fixed = {value for value in self.inputs if isinstance(value, Value)}
        return fixed | {self.key} if self.key is not None else fixed

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that it created, producers first."""
        ends = (*self.updates.values(), *self.outputs, *self.parameters.values())
        return nodes_up_to(ends, {value.node for value in self.fixed})

    @cached_property
    def size(self) -> int:
        """How many nodes, parameters and layers a copy has."""
        return of_graph(self.nodes) + len(self.parameters) + len(self.layers)
