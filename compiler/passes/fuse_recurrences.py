"""A Scan whose step is an LSTM, a GRU or a simple recurrence becomes that one operator.

A step is recognised if its structure is isomorphic to that of a cell in `recurrent_cells`, so that names, order and
grouping of the user's equations do not matter. The operator is chosen only where it is faster than the Scan.

Keeps results to within rounding: sums are computed in another order, and 1 - sigmoid(x) may be sigmoid(-x).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from compiler.costs import cheapest
from compiler.dims import Size
from compiler.graph import Graph, Node, Value
from compiler.operators.cell_activations import Activation
from compiler.operators.control import Scan, states_before
from compiler.operators.leaves import constant
from compiler.operators.recurrent import GRU, LSTM, RNN, Recurrent
from compiler.operators.shaping import Concat, Expand, Reshape, Squeeze, Transpose, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.passes.affine import Product, Step, step_of
from compiler.passes.recurrent_cells import GATES, PEEPHOLES, Cell, CellPattern, patterns_of
from compiler.passes.rules import apply_rules, is_everywhere
from compiler.passes.spelled_activations import SPELLED
from compiler.passes.split_gates import split_gates
from compiler.passes.unhoist_inputs import with_projection
from compiler.rewrite import replace, rewrite
from compiler.targets import Target

if TYPE_CHECKING:
    import networkx as nx

_K = TypeVar("_K")
_OPERATORS: Mapping[Cell, type[Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def fuse_recurrences(cell: Cell, target: Target, graph: Graph) -> Graph:
    """`graph` with every Scan whose step is this cell replaced by the operator, in the Scan's direction."""
    if not graph.has(Scan):
        return graph
    return rewrite(graph, partial(_fuse, cell, target))


def _fuse(cell: Cell, target: Target, node: Node) -> Sequence[Value] | None:
    """The results of the fused operator, if the node is a Scan of this cell; otherwise None."""
    if not isinstance(node.op, Scan) or node.op.slices != 1:
        return None
    node = with_projection(node, node.op)
    scan = node.op
    assert isinstance(scan, Scan)
    item = list(scan.body.inputs.values())[scan.states].type
    if item.rank != 2 or item.dtype not in Recurrent.kernels:
        return None
    body = apply_rules(split_gates(scan.body, scan.states + 1), SPELLED)
    step = step_of(body, scan.states, 1)
    for pattern in patterns_of(cell):
        for vertices in _isomorphisms(pattern, step):
            recognised = _Recognised(cell, pattern, step, vertices, node, scan)
            if recognised.suits(target) and (results := recognised.results()) is not None:
                return results
    return None


def _isomorphisms(pattern: CellPattern, step: Step) -> Iterator[dict[int, int]]:
    """The ways in which the structures of the step and the pattern agree: the step's vertex for each of the pattern's.

    Any activation function agrees with any other.
    """
    from networkx.algorithms.isomorphism import MultiDiGraphMatcher, categorical_multiedge_match

    def kinds(structure: nx.MultiDiGraph[int]) -> Counter[object]:
        return Counter(map(_kind, structure.nodes.values()))

    if kinds(pattern.step.structure) != kinds(step.structure):
        return
    matcher = MultiDiGraphMatcher(
        pattern.step.structure,
        step.structure,
        node_match=lambda left, right: _kind(left) == _kind(right),
        edge_match=categorical_multiedge_match("operand", 0),
    )
    yield from matcher.isomorphisms_iter()


def _kind(vertex: Mapping[str, object]) -> object:
    """What a vertex has to agree in."""
    label = vertex["label"]
    return Activation if isinstance(label, Activation) else label


@dataclass(frozen=True, eq=False)
class _Recognised:
    """A Scan whose step is a cell: `vertices` maps the pattern's vertices to the step's."""

    cell: Cell
    pattern: CellPattern
    step: Step
    vertices: dict[int, int]
    node: Node
    scan: Scan

    @property
    def captured(self) -> dict[Value, Value]:
        """The whole values of the Scan: the body's inputs, and the operands outside."""
        first = self.scan.states + 1
        return dict(zip(list(self.scan.body.inputs.values())[first:], self.node.operands[first:], strict=True))

    @property
    def hidden(self) -> Size:
        """The number of units: the size of the state."""
        return next(iter(self.scan.body.inputs.values())).shape[-1]

    def suits(self, target: Target) -> bool:
        """Whether a target has the operator, and takes less time for it than for the Scan, as far as was measured."""
        if self.pattern.attributes.get("linear_before_reset") is False and not target.has_reset_before:
            return False
        time, batch, _ = self.node.operands[self.scan.states].shape
        return cheapest(target, self.cell, "operator", steps=time, batch=batch, hidden=self.hidden) == "operator"

    def results(self) -> Sequence[Value] | None:
        """The operator's results for those of the Scan; None where the operator does not compute the same.

        It does not where its activation functions are others, the step has other outputs, or sizes do not fit.
        """
        scan, operands = self.scan, self.node.operands
        inputs, ends = list(scan.body.inputs.values()), list(scan.body.outputs.values())
        order = self._state_order()
        nexts, outputs = [ends[index] for index in order], ends[scan.states :]
        if any(output not in nexts for output in outputs):
            return None
        activations, hidden = self._activations(), self.hidden
        if activations is None or not isinstance(hidden, int):
            return None
        weights = self._weights(inputs[scan.states], hidden)
        peepholes = self._peepholes(hidden)
        if weights is None or peepholes is None:
            return None
        operator = _OPERATORS[self.cell](
            hidden,
            direction="reverse" if scan.reverse else "forward",
            activations=activations,
            **self.pattern.attributes,
        )
        first = [operands[index] for index in order]
        initial = [] if all(is_everywhere(state, 0) for state in first) else first
        along = Unsqueeze((0,))
        stacked_hidden, *ended = operator.apply(
            operands[scan.states], *map(along, (*weights, *initial, *peepholes))
        ).results
        hidden_states = Squeeze((1,))(stacked_hidden)
        finals: list[Value] = [hidden_states] * scan.states
        for rank, index in enumerate(order):
            finals[index] = Squeeze((0,))(ended[rank])
        stacked = {nexts[0]: hidden_states}
        if any(output is not nexts[0] for output in outputs):
            stacked[nexts[1]] = self._cell_states(order, hidden_states)
        return [*finals, *(stacked[output] for output in outputs)]

    def _activations(self) -> tuple[Activation, ...] | None:
        """The operator's activation functions; None if those of one group differ."""
        functions: list[Activation] = []
        for group in self.pattern.activations:
            labels = {self.step.structure.nodes[self.vertices[vertex]]["label"] for vertex in group}
            if len(labels) > 1:
                return None
            functions += labels
        return None if self.pattern.complements and not functions[0].is_symmetric else tuple(functions)

    def _peepholes(self, hidden: int) -> list[Value] | None:
        """The weights of c in the gates, [3 * hidden], if the cell has them; None if their sizes do not fit."""
        weights = [self._vector(self.step.values[self.vertices[vertex]]) for vertex in self._peephole_vertices()]
        if any(weight.shape != (hidden,) for weight in weights):
            return None
        return [Concat(0)(*weights)] if weights else []

    def _peephole_vertices(self) -> list[int]:
        peepholes = self.pattern.peepholes
        return [peepholes[gate] for gate in PEEPHOLES if gate in peepholes]

    def _state_order(self) -> list[int]:
        """The indices of the Scan's states in the order of the operator's operands: h, then c."""
        states = list(self.scan.body.inputs.values())[: self.scan.states]
        vertices = self.pattern.step.structure.nodes(data="label")
        ordered = sorted(vertex for vertex, label in vertices if label == "state")
        return [states.index(self.step.values[self.vertices[vertex]]) for vertex in ordered]

    def _cell_states(self, order: list[int], hidden: Value) -> Value:
        """An LSTM's c of every step, which the operator does not return and a gradient needs.

        Given h of every step it is a Scan of its own, whose gates `hoist_steps` computes for all steps at once: only
        c' = f c + i n remains to be done step by step.
        """
        scan, operands = self.scan, self.node.operands
        inputs = list(scan.body.inputs.items())
        h, c = order
        following = list(scan.body.outputs.values())[c]
        formal = dict((inputs[c], inputs[h], *inputs[scan.states :]))
        before = states_before(operands[h], hidden, scan.length(*(operand.type for operand in operands)), scan.reverse)
        body = Graph(formal, {"next": following, "c": following}, name=scan.body.name)
        return Scan(body, 1, 2, scan.reverse).apply(operands[c], before, *operands[scan.states :]).results[1]

    def _weights(self, item: Value, hidden: int) -> tuple[Value, Value, Value] | None:
        """Input weights [gates*hidden, in], recurrent weights [gates*hidden, hidden] and biases [2*gates*hidden]."""
        gates = GATES[self.cell]
        weights: dict[str, Value] = {}
        recurrent: dict[str, Value] = {}
        biases: dict[tuple[str, bool], Value] = {}  # of the input's projection (True), and of the state's
        for vertex, gate in self.pattern.gates.items():
            affine = self.step.terms[self.vertices[vertex]]
            on_input = any(product.vector is item for product in affine.products)
            for name, direction in self._gates_of_term(gate):
                for product in affine.products:
                    side = weights if product.vector is item else recurrent
                    _accumulate(side, name, self._rows(product), direction * product.sign)
                for vector, sign in affine.vectors:
                    bias = self._vector(vector)
                    bias = bias if bias.shape == (hidden,) else Expand((hidden,))(bias)
                    _accumulate(biases, (name, on_input), bias, direction * sign)
        if set(weights) != set(gates) or set(recurrent) != set(gates):
            return None
        if any(matrix.shape != (hidden, hidden) for matrix in recurrent.values()):
            return None
        zero = constant(0, item.type.dtype)
        bias_of_gate = [
            biases.get((gate, on_input), Expand((hidden,))(zero)) for on_input in (True, False) for gate in gates
        ]
        return (
            _concatenate([weights[gate] for gate in gates]),
            _concatenate([recurrent[gate] for gate in gates]),
            _concatenate(bias_of_gate) if biases else Expand((2 * len(gates) * hidden,))(zero),
        )

    def _gates_of_term(self, gate: str) -> list[tuple[str, int]]:
        """The operator's gates that a term computes, and -1 where it is the negative of what the operator adds up."""
        complements = self.pattern.complements
        own = [] if gate in complements else [(gate, 1)]
        return own + [(name, -1) for name, of in complements.items() if of == gate]

    def _rows(self, product: Product) -> Value:
        """The matrix of a product outside of the step, [hidden, rows]: each row is what a unit is computed from."""
        matrix = self._outside(product.matrix)
        if product.rows is not None:
            start, stop = product.rows
            matrix = Slice((0,), (start,), (stop,))(matrix)
        return Transpose((1, 0))(matrix)

    def _vector(self, value: Value) -> Value:
        """A fixed vector, with axes of length 1 in front or not, outside of the step."""
        outside = self._outside(value)
        return outside if outside.type.rank <= 1 else Reshape(outside.shape[-1:])(outside)

    def _outside(self, value: Value) -> Value:
        """A value that is the same at each step, computed outside of it from what it captures."""
        return replace([value], self.captured)[0]


def _accumulate(sums: dict[_K, Value], key: _K, value: Value, sign: int) -> None:
    """Add a value, or subtract it, to the sum of this key."""
    value = -value if sign < 0 else value
    sums[key] = sums[key] + value if key in sums else value


def _concatenate(values: list[Value]) -> Value:
    return values[0] if len(values) == 1 else Concat(0)(*values)
