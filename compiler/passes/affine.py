"""Sums as networkx sees them: what a step's equations mean, whatever order and grouping they were written in.

A sum of products with fixed matrices and of fixed vectors is one `Affine` term; the rest of the step is a small
directed graph over such terms, and two cells are the same when their graphs are isomorphic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph, Value
from compiler.operators.arithmetic import Add, Mul
from compiler.operators.linear import MatMul
from compiler.operators.shaping import Concat
from compiler.operators.slicing import Slice
from compiler.operators.source import Constant

if TYPE_CHECKING:
    import networkx as nx


@dataclass(eq=False)
class Affine:
    """`sum of v @ matrix` over `products`, plus the `vectors`; matrices and vectors come from outside the step."""

    products: list[tuple[Value, Value, tuple[Any, Any] | None]] = field(default_factory=list)  # rows of a split matrix
    vectors: list[Value] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Step:
    """A step's body as a graph of terms; `terms` are the affine ones, by their place in `structure`."""

    structure: nx.MultiDiGraph[int]
    terms: dict[int, Affine]
    places: dict[int, Value]  # the values that stand in the structure, by place


def step_of(body: Graph, states: int, slices: int) -> Step:
    """The structure of a Scan's body: states feed the step, next values feed the states."""
    return _Reader(body, states, slices).read()


class _Reader:
    def __init__(self, body: Graph, states: int, slices: int) -> None:
        import networkx as nx

        inputs = list(body.inputs.values())
        self.states, self.slices = inputs[:states], inputs[states : states + slices]
        self.nexts = list(body.outputs.values())[:states]
        self.outside = {value.node for value in inputs[states + slices :]}
        self.structure: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        self.terms: dict[int, Affine] = {}
        self.known: dict[Value, int] = {}
        self.places: dict[int, Value] = {}
        self.waiting: list[Value] = []
        self.inside = {value.node for value in (*self.states, *self.slices)}
        for node in body:
            if any(operand.node in self.inside for operand in node.operands):
                self.inside.add(node)

    def read(self) -> Step:
        for place, value in enumerate(self.states):
            self.known[value] = self._add("state")
            self.places[self.known[value]] = value
            self.structure.add_edge(place + 1_000_000, self.known[value], place=0)
        for value in self.slices:
            self.known[value] = self._add("slice")
            self.places[self.known[value]] = value
        for place, value in enumerate(self.nexts):
            self.structure.add_node(place + 1_000_000, label="next")
            self._edge(value, place + 1_000_000, 0)
        while self.waiting:
            value = self.waiting.pop()
            self._describe(value, self.known[value])
        return Step(self.structure, self.terms, self.places)

    def _describe(self, value: Value, place: int) -> None:
        """Label a value's place in the structure and draw its operands' edges."""
        leaves = list(_leaves(value))
        affine = Affine()
        rest = [leaf for leaf in leaves if not self._absorb(leaf, affine)]
        if affine.products and rest:
            self.structure.nodes[place]["label"] = "sum"
            term = self._add("affine")
            self._describe_affine(term, affine)
            self.structure.add_edge(term, place, place=0)
            for leaf in rest:
                self._edge(leaf, place, 0)
        elif affine.products:
            self._describe_affine(place, affine)
        elif len(leaves) > 1:
            self.structure.nodes[place]["label"] = "sum"
            for leaf in leaves:
                self._edge(leaf, place, 0)
        else:
            self._describe_node(value, place)

    def _describe_node(self, value: Value, place: int) -> None:
        node = value.node
        if isinstance(node.op, Constant):
            self.structure.nodes[place]["label"] = ("constant", node.op.scalar() if not node.op.type.shape else node.op)
            return
        if node not in self.inside:
            self.structure.nodes[place]["label"] = "outside"
            return
        self.structure.nodes[place]["label"] = (node.op, value.index)
        ordered = not isinstance(node.op, (Add, Mul))
        for number, operand in enumerate(node.operands):
            self._edge(operand, place, number if ordered else 0)

    def _describe_affine(self, place: int, affine: Affine) -> None:
        self.structure.nodes[place]["label"] = "affine"
        self.terms[place] = affine
        for value in dict.fromkeys(vector for vector, _, _ in affine.products):
            self._edge(value, place, 0)

    def _absorb(self, leaf: Value, affine: Affine) -> bool:
        node = leaf.node
        if isinstance(node.op, MatMul) and self._fixed(node.operands[1]) and node.operands[1].type.rank == 2:
            vector, matrix = node.operands
            if vector.node not in self.inside:
                return False
            if isinstance(vector.node.op, Concat) and vector.node.op.axis in (-1, vector.type.rank - 1):
                start: Any = 0
                for part in vector.node.operands:
                    stop = start + part.shape[-1]
                    affine.products.append((part, matrix, (start, stop)))
                    start = stop
            else:
                affine.products.append((vector, matrix, None))
            return True
        if self._fixed(leaf) and leaf.type.rank <= 1:
            affine.vectors.append(leaf)
            return True
        return False

    def _fixed(self, value: Value) -> bool:
        return value.node not in self.inside

    def _edge(self, value: Value, to: int, number: int) -> None:
        if value not in self.known:
            self.known[value] = self._add("?")
            self.places[self.known[value]] = value
            self.waiting.append(value)
        self.structure.add_edge(self.known[value], to, place=number)

    def _add(self, label: Any) -> int:
        place = len(self.structure)
        while place in self.structure:
            place += 1
        self.structure.add_node(place, label=label)
        return place


def _leaves(value: Value) -> Iterator[Value]:
    """The terms of a sum, however it is grouped."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each.node.op, Add):
            waiting.extend(reversed(each.node.operands))
        else:
            yield each


def rows(matrix: Value, part: tuple[Any, Any] | None) -> Value:
    """The rows of a matrix that meet one part of a concatenation."""
    found: Value = matrix if part is None else Slice((0,), (part[0],), (part[1],))(matrix)
    return found
