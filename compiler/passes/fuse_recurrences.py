"""A Scan whose step is an LSTM, a GRU or a simple recurrence becomes that one operator.

A step is recognised if its structure is isomorphic to that of a cell in `recurrent_cells`, so that names, order and
grouping of the user's equations do not matter.

Keeps results to within rounding: sums are computed in another order, and 1 - sigmoid(x) may be sigmoid(-x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan, states_before
from compiler.operators.leaves import constant
from compiler.operators.recurrent import GRU, LSTM, RNN, Recurrent
from compiler.operators.shaping import Concat, Expand, Transpose
from compiler.operators.slicing import Slice
from compiler.passes.affine import Product, Step, step_of
from compiler.passes.recurrent_cells import GATES, Cell, CellPattern, patterns_of
from compiler.passes.split_gates import split_gates
from compiler.rewrite import replace, rewrite
from compiler.targets import ORT_CPU, Target


def fuse_recurrences(cell: Cell, graph: Graph, *, target: Target = ORT_CPU) -> Graph:
    """`graph` with every Scan whose step is this cell replaced by the operator, in the Scan's direction."""
    if not any(isinstance(node.op, Scan) for node in graph):
        return graph
    return rewrite(graph, partial(_fuse, cell, target))


def _fuse(cell: Cell, target: Target, node: Node) -> Sequence[Value] | None:
    """The results of the fused operator, if the node is a Scan of this cell; otherwise None."""
    if not isinstance(node.op, Scan) or node.op.slices != 1:
        return None
    scan, body = node.op, node.op.body
    item = list(body.inputs.values())[scan.states].type
    if item.rank != 2 or item.dtype not in Recurrent.kernels:
        return None
    step = step_of(split_gates(body, scan.states + 1), scan.states, 1)
    for pattern in patterns_of(cell):
        if not (target.has_reset_before or pattern.attributes.get("linear_before_reset", True)):
            continue
        vertices = _isomorphism(pattern, step)
        if vertices is not None:
            return _Recognised(cell, pattern, step, vertices, node, scan).results()
    return None


def _isomorphism(pattern: CellPattern, step: Step) -> dict[int, int] | None:
    """The step's vertex for each of the pattern's, if the two structures are isomorphic; otherwise None."""
    from networkx.algorithms.isomorphism import MultiDiGraphMatcher, categorical_multiedge_match, categorical_node_match

    if len(pattern.step.structure) != len(step.structure):
        return None
    matcher = MultiDiGraphMatcher(
        pattern.step.structure,
        step.structure,
        node_match=categorical_node_match("label", None),
        edge_match=categorical_multiedge_match("operand", 0),
    )
    return next(iter(matcher.isomorphisms_iter()), None)


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

    def results(self) -> Sequence[Value] | None:
        """The operator's results for those of the Scan; None if the step has other outputs, or sizes do not fit."""
        scan, operands = self.scan, self.node.operands
        inputs, ends = list(scan.body.inputs.values()), list(scan.body.outputs.values())
        order = self._state_order(inputs[: scan.states])
        nexts, outputs = [ends[index] for index in order], ends[scan.states :]
        if any(output not in nexts for output in outputs):
            return None
        hidden = inputs[order[0]].shape[-1]
        weights = self._weights(inputs[scan.states], hidden) if isinstance(hidden, int) else None
        if not isinstance(hidden, int) or weights is None:
            return None
        operator = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[self.cell]
        fused = operator(hidden, reverse=scan.reverse, **self.pattern.attributes)
        results = fused.apply(operands[scan.states], *weights, *(operands[index] for index in order)).results
        finals: list[Value] = [results[0]] * scan.states
        for rank, index in enumerate(order):
            finals[index] = results[1 + rank]
        stacked = {nexts[0]: results[0]}
        if any(output is not nexts[0] for output in outputs):
            stacked[nexts[1]] = self._cell_states(order, results[0])
        return [*finals, *(stacked[output] for output in outputs)]

    def _state_order(self, states: list[Value]) -> list[int]:
        """The indices of the Scan's states in the order of the operator's operands: h, then c."""
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
            negated = self.pattern.negated_update and gate == "z"
            for product in affine.products:
                side = weights if product.vector is item else recurrent
                matrix = Transpose((1, 0))(self._rows(product))
                matrix = -matrix if negated else matrix
                side[gate] = side[gate] + matrix if gate in side else matrix
            on_input = any(product.vector is item for product in affine.products)
            for vector in affine.vectors:
                bias = self._outside(vector)
                bias = bias if bias.shape == (hidden,) else Expand((hidden,))(bias)
                bias = -bias if negated else bias
                known = biases.get((gate, on_input))
                biases[gate, on_input] = bias if known is None else known + bias
        if set(weights) != set(gates) or set(recurrent) != set(gates):
            return None
        if any(matrix.shape != (hidden, hidden) for matrix in recurrent.values()):
            return None
        zero = Expand((hidden,))(constant(0, item.type.dtype))
        return (
            _concatenate([weights[gate] for gate in gates]),
            _concatenate([recurrent[gate] for gate in gates]),
            _concatenate([biases.get((gate, on_input), zero) for on_input in (True, False) for gate in gates]),
        )

    def _rows(self, product: Product) -> Value:
        """The rows of the matrix of a product, outside of the step."""
        matrix = self._outside(product.matrix)
        if product.rows is None:
            return matrix
        start, stop = product.rows
        return Slice((0,), (start,), (stop,))(matrix)

    def _outside(self, value: Value) -> Value:
        """A value that is the same at each step, computed outside of it from what it captures."""
        return replace([value], self.captured)[0]


def _concatenate(values: list[Value]) -> Value:
    return values[0] if len(values) == 1 else Concat(0)(*values)
