"""The steps of ONNX's recurrent operators as equations: the patterns of `fuse_recurrences`.

The gates have the names of the ONNX operators: z, r, h of a GRU, i, o, f, c of an LSTM. Biases are omitted: what is the
same at every step is part of the affine term that it is added to (see `compiler.passes.affine`). The activation
functions stand for any that the operators have, as long as those of one group are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from compiler.graph import Graph, Value
from compiler.operators.activations import Sigmoid, Tanh
from compiler.operators.leaves import Input
from compiler.passes.affine import Step, step_of
from compiler.types import DType, TensorType

Cell = Literal["rnn", "lstm", "gru"]
GATES: Mapping[Cell, str] = {"rnn": "h", "lstm": "iofc", "gru": "zrh"}  # in the order in which ONNX stacks them
PEEPHOLES = "iof"  # in the order in which ONNX stacks their weights

_BATCH, _FEATURES, _HIDDEN = 5, 3, 2  # sizes of the patterns, which are arbitrary


@dataclass(frozen=True, eq=False)
class CellPattern:
    """One form of a cell: its structure, and the gate of each of its affine terms."""

    step: Step
    gates: Mapping[int, str]  # by the term's vertex in the structure
    activations: Sequence[Sequence[int]]  # the vertices of each of the operator's activation functions
    peepholes: Mapping[str, int]  # the vertex of a gate's weights for c
    attributes: Mapping[str, Any]  # of the operator
    complements: Mapping[str, str]  # gates that are 1 minus the one of a term: its own name, or another gate's


@cache
def patterns_of(cell: Cell) -> tuple[CellPattern, ...]:
    """Every form in which a cell is recognised."""
    return tuple({"rnn": _rnn_forms, "lstm": _lstm_forms, "gru": _gru_forms}[cell]())


def _rnn_forms() -> Iterator[CellPattern]:
    form = _Form("h")
    h = Tanh()(form.term("h"))
    yield form.pattern({"h": h}, ([h],))


Update = Callable[[Value, Value, Value], Value]
# The mean of a new value and an old one by a gate of the old one, and by one of the new one
_BY_OLD: tuple[Update, ...] = (
    lambda gate, old, new: (1 - gate) * new + gate * old,
    lambda gate, old, new: new + gate * (old - new),
    lambda gate, old, new: new - gate * (new - old),
)
_BY_NEW: tuple[Update, ...] = (
    lambda gate, old, new: (1 - gate) * old + gate * new,
    lambda gate, old, new: old + gate * (new - old),
    lambda gate, old, new: old - gate * (old - new),
)


def _lstm_forms() -> Iterator[CellPattern]:
    for peepholes in ("", PEEPHOLES):
        form = _Form("h", "c")
        i, f = (Sigmoid()(form.term(gate, peepholes)) for gate in "if")
        candidate = Tanh()(form.term("c"))
        c = f * form.states["c"] + i * candidate
        o, shown = Sigmoid()(form.term("o", peepholes, c)), Tanh()(c)
        yield form.pattern({"h": o * shown, "c": c}, ([i, f, o], [candidate], [shown]))
    for kept, other, means in (("f", "i", _BY_OLD), ("i", "f", _BY_NEW)):  # coupled gates: i + f = 1
        for mean in means:
            form = _Form("h", "c")
            gate, o, candidate = Sigmoid()(form.term(kept)), Sigmoid()(form.term("o")), Tanh()(form.term("c"))
            c = mean(gate, form.states["c"], candidate)
            shown = Tanh()(c)
            complements = {other: kept}
            yield form.pattern({"h": o * shown, "c": c}, ([gate, o], [candidate], [shown]), complements)


def _gru_forms() -> Iterator[CellPattern]:
    for update, complements in (*((mean, {}) for mean in _BY_OLD), *((mean, {"z": "z"}) for mean in _BY_NEW)):
        for reset_after in (False, True):
            form = _Form("h")
            h = form.states["h"]
            z, r = (Sigmoid()(form.term(gate)) for gate in "zr")
            reset = r * form.state("h") if reset_after else (r * h) @ form.recurrent["h"]
            candidate = Tanh()(form.input("h") + reset)
            following = update(z, h, candidate)
            yield form.pattern({"h": following}, ([z, r], [candidate]), complements, linear_before_reset=reset_after)


class _Form:
    """The inputs of a step: its item, its states, and two matrices for each gate, created on first use."""

    def __init__(self, *states: str) -> None:
        self.x = Input("x", TensorType(DType.F32, (_BATCH, _FEATURES)))()
        state = TensorType(DType.F32, (_BATCH, _HIDDEN))
        self.states: dict[str, Value] = {name: Input(name, state)() for name in states}
        self.weights = _Weights("W", _FEATURES, _HIDDEN)
        self.recurrent = _Weights("R", _HIDDEN, _HIDDEN)
        self.peepholes = _Weights("P", _HIDDEN)

    def input(self, gate: str) -> Value:
        """The item's projection for a gate."""
        return self.x @ self.weights[gate]

    def state(self, gate: str) -> Value:
        """The hidden state's projection for a gate."""
        return self.states["h"] @ self.recurrent[gate]

    def term(self, gate: str, peepholes: str = "", c: Value | None = None) -> Value:
        """Both projections of a gate; and what it sees of c, or of the state c, if it is one of the `peepholes`."""
        total = self.input(gate) + self.state(gate)
        if gate not in peepholes:
            return total
        return total + self.peepholes[gate] * (self.states["c"] if c is None else c)

    def pattern(
        self,
        nexts: Mapping[str, Value],
        activations: Sequence[Sequence[Value]],
        complements: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> CellPattern:
        """The pattern of the step with these next values of its states.

        `complements` are the gates that are 1 minus the one of a term.
        """
        gates = {matrix: gate for matrices in (self.weights, self.recurrent) for gate, matrix in matrices.items()}
        body = Graph({**self.states, "x": self.x}, dict(nexts))
        step = step_of(body, len(self.states), 1)
        vertices = {value: vertex for vertex, value in step.values.items()}
        by_vertex = {vertex: gates[affine.products[0].matrix] for vertex, affine in step.terms.items()}
        functions = [[vertices[value] for value in group] for group in activations]
        peepholes = {gate: vertices[weights] for gate, weights in self.peepholes.items()}
        if peepholes:
            attributes["peepholes"] = True
        return CellPattern(step, by_vertex, functions, peepholes, attributes, complements or {})


class _Weights(dict[str, Value]):
    """Weights of this shape for each gate, created on first use."""

    def __init__(self, name: str, *shape: int) -> None:
        super().__init__()
        self.name, self.type = name, TensorType(DType.F32, shape)

    def __missing__(self, gate: str) -> Value:
        self[gate] = weights = Input(f"{self.name}_{gate}", self.type)()
        return weights
