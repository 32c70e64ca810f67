"""A recurrence's step as a networkx graph that does not depend on the order and grouping of its sums.

A sum of products with fixed matrices and of fixed vectors is one `Affine` term; the rest of the step is a small
directed graph over such terms, and two cells are equal if their graphs are isomorphic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compiler.dims import Size
from compiler.graph import Graph, Value
from compiler.operators.arithmetic import Add, Neg, Sub
from compiler.operators.leaves import Constant
from compiler.operators.linear import MatMul
from compiler.operators.shaping import Concat
from compiler.passes.spelled_activations import activation_of

if TYPE_CHECKING:
    import networkx as nx

_NEXT = 1_000_000  # vertices of next values are numbered from here on, in the order of the states


@dataclass(frozen=True, eq=False)
class Product:
    """`vector @ matrix[start:stop]` for `rows = (start, stop)`, as for a part of a concatenation; None for all rows.

    `sign` is -1 for its negative.
    """

    vector: Value
    matrix: Value
    sign: int
    rows: tuple[Size, Size] | None = None


@dataclass(eq=False)
class Affine:
    """The sum of `products`, plus the `vectors` with their signs; matrices and vectors come from outside the step."""

    products: list[Product] = field(default_factory=list)
    vectors: list[tuple[Value, int]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Step:
    """A step's body as a graph of terms, whose vertices are numbers."""

    structure: nx.MultiDiGraph[int]
    terms: dict[int, Affine]  # the affine terms by vertex
    values: dict[int, Value]  # the values of all other vertices


def step_of(body: Graph, states: int, slices: int) -> Step:
    """The structure of a Scan's body: states feed the step, next values feed the states."""
    return _Reader(body, states, slices).read()


class _Reader:
    def __init__(self, body: Graph, states: int, slices: int) -> None:
        import networkx as nx

        formal = list(body.inputs.values())[: states + slices]
        self.states, self.slices = formal[:states], formal[states:]
        self.nexts = list(body.outputs.values())[:states]
        self.structure: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        self.terms: dict[int, Affine] = {}
        self.values: dict[int, Value] = {}
        self.vertices: dict[Value, int] = {}
        self.waiting: list[Value] = []
        self.inside = {value.node for value in formal}  # what differs from step to step
        for source in tuple(self.inside):
            if source in body.dag:
                self.inside |= nx.descendants(body.dag, source)

    def read(self) -> Step:
        for index, state in enumerate(self.states):
            self.structure.add_edge(_NEXT + index, self._vertex(state, "state"), operand=0)
        for item in self.slices:
            self._vertex(item, "slice")
        for index, following in enumerate(self.nexts):
            self.structure.add_node(_NEXT + index, label="next")
            self._add_edge(following, _NEXT + index)
        while self.waiting:
            value = self.waiting.pop()
            self._describe(value, self.vertices[value])
        return Step(self.structure, self.terms, self.values)

    def _describe(self, value: Value, vertex: int) -> None:
        """Label a value's vertex and draw its operands' edges."""
        leaves = list(_addends(value))
        affine = Affine()
        rest = [(leaf, sign) for leaf, sign in leaves if not self._absorb(leaf, sign, affine)]
        if affine.products and rest:
            term = self._add_vertex("affine")
            self._describe_affine(term, affine)
            self.structure.add_edge(term, vertex, operand=1)
            self._describe_sum(rest, vertex)
        elif affine.products:
            self._describe_affine(vertex, affine)
        elif len(leaves) > 1:
            self._describe_sum(leaves, vertex)
        else:
            self._describe_node(value, vertex)

    def _describe_sum(self, addends: list[tuple[Value, int]], vertex: int) -> None:
        self._label(vertex, "sum")
        for addend, sign in addends:
            self._add_edge(addend, vertex, sign)

    def _describe_node(self, value: Value, vertex: int) -> None:
        node = value.node
        activation = activation_of(value)
        if activation is not None and node in self.inside:
            self._label(vertex, activation[0])
            self._add_edge(activation[1], vertex)
        elif isinstance(node.op, Constant):
            self._label(vertex, ("constant", node.op.scalar() if not node.op.type.shape else node.op))
        elif node not in self.inside:
            self._label(vertex, "outside")
        else:
            self._label(vertex, (node.op, value.index))
            for index, operand in enumerate(node.operands):
                self._add_edge(operand, vertex, 0 if node.op.commutative else index)

    def _describe_affine(self, vertex: int, affine: Affine) -> None:
        self._label(vertex, "affine")
        self.terms[vertex] = affine
        for vector in dict.fromkeys(product.vector for product in affine.products):
            self._add_edge(vector, vertex)

    def _absorb(self, addend: Value, sign: int, affine: Affine) -> bool:
        """Whether an addend is part of an affine term; if so, it is added to it."""
        node = addend.node
        if isinstance(node.op, MatMul) and self._is_fixed(node.operands[1]) and node.operands[1].type.rank == 2:
            vector, matrix = node.operands
            if self._is_fixed(vector):
                return False
            if isinstance(vector.node.op, Neg):
                vector, sign = vector.node.operands[0], -sign
            affine.products += _products(vector, matrix, sign)
            return True
        if self._is_fixed(addend) and all(size == 1 for size in addend.shape[:-1]):
            affine.vectors.append((addend, sign))
            return True
        return False

    def _is_fixed(self, value: Value) -> bool:
        return value.node not in self.inside

    def _label(self, vertex: int, label: object) -> None:
        self.structure.nodes[vertex]["label"] = label

    def _vertex(self, value: Value, label: str) -> int:
        self.vertices[value] = vertex = self._add_vertex(label)
        self.values[vertex] = value
        return vertex

    def _add_vertex(self, label: Any) -> int:
        vertex = len(self.structure)
        while vertex in self.structure:
            vertex += 1
        self.structure.add_node(vertex, label=label)
        return vertex

    def _add_edge(self, value: Value, to: int, operand: int = 0) -> None:
        if value not in self.vertices:
            self._vertex(value, "?")
            self.waiting.append(value)
        self.structure.add_edge(self.vertices[value], to, operand=operand)


def _products(vector: Value, matrix: Value, sign: int) -> Iterator[Product]:
    """A product as one `Product`, or one for each part if the vector is a concatenation."""
    op = vector.node.op
    if not isinstance(op, Concat) or op.axis not in (-1, vector.type.rank - 1):
        yield Product(vector, matrix, sign)
        return
    start: Size = 0
    for part in vector.node.operands:
        stop = start + part.shape[-1]
        yield Product(part, matrix, sign, (start, stop))
        start = stop


def _addends(value: Value) -> Iterator[tuple[Value, int]]:
    """The terms of a sum, for any grouping, with 1 or -1 as their signs."""
    waiting = [(value, 1)]
    while waiting:
        current, sign = waiting.pop()
        op, operands = current.node.op, current.node.operands
        if isinstance(op, Add):
            waiting.extend((operand, sign) for operand in reversed(operands))
        elif isinstance(op, Sub):
            waiting.extend(((operands[1], -sign), (operands[0], sign)))
        elif isinstance(op, Neg):
            waiting.append((operands[0], -sign))
        else:
            yield current, sign
