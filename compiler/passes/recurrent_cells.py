"""The steps of ONNX's recurrent operators as equations: the patterns of `fuse_recurrences`.

The gates have the names of the ONNX operators: z, r, h of a GRU, i, o, f, c of an LSTM. Biases are omitted: what is the
same at every step is part of the affine term that it is added to (see `compiler.passes.affine`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from compiler.graph import Graph, Value
from compiler.operators.activations import Relu, Sigmoid, Tanh
from compiler.operators.leaves import Input
from compiler.passes.affine import Step, step_of
from compiler.types import DType, TensorType

Cell = Literal["rnn", "lstm", "gru"]
GATES: Mapping[Cell, str] = {"rnn": "h", "lstm": "iofc", "gru": "zrh"}  # in the order in which ONNX stacks them

_BATCH, _FEATURES, _HIDDEN = 5, 3, 2  # sizes of the patterns, which are arbitrary


@dataclass(frozen=True, eq=False)
class CellPattern:
    """One form of a cell: its structure, and the gate of each of its affine terms."""

    step: Step
    gates: dict[int, str]  # by the term's vertex in the structure
    attributes: dict[str, Any]  # of the operator
    negated_update: bool = False  # its update gate is 1 - z, where z is the operator's


@cache
def patterns_of(cell: Cell) -> tuple[CellPattern, ...]:
    """Every form in which a cell is recognised."""
    return tuple({"rnn": _rnn_forms, "lstm": _lstm_forms, "gru": _gru_forms}[cell]())


def _rnn_forms() -> Iterator[CellPattern]:
    for name, activation in (("tanh", Tanh()), ("relu", Relu())):
        form = _Form("h")
        h = activation(form.input("h") + form.state("h"))
        yield form.pattern({"h": h}, activation=name)


def _lstm_forms() -> Iterator[CellPattern]:
    form = _Form("h", "c")
    i, o, f = (Sigmoid()(form.input(gate) + form.state(gate)) for gate in "iof")
    c = f * form.states["c"] + i * Tanh()(form.input("c") + form.state("c"))
    yield form.pattern({"h": o * Tanh()(c), "c": c})


_UPDATES: tuple[tuple[Callable[[Value, Value, Value], Value], bool], ...] = (  # and whether z is the operator's 1 - z
    (lambda z, h, candidate: (1 - z) * candidate + z * h, False),
    (lambda z, h, candidate: candidate + z * (h - candidate), False),
    (lambda z, h, candidate: (1 - z) * h + z * candidate, True),
    (lambda z, h, candidate: h + z * (candidate - h), True),
)


def _gru_forms() -> Iterator[CellPattern]:
    for update, negated in _UPDATES:
        for reset_after in (False, True):
            form = _Form("h")
            h = form.states["h"]
            z, r = (Sigmoid()(form.input(gate) + form.state(gate)) for gate in "zr")
            reset = r * form.state("h") if reset_after else (r * h) @ form.recurrent["h"]
            following = update(z, h, Tanh()(form.input("h") + reset))
            yield form.pattern({"h": following}, negated, linear_before_reset=reset_after)


class _Form:
    """The inputs of a step: its item, its states, and two matrices for each gate, created on first use."""

    def __init__(self, *states: str) -> None:
        self.x = Input("x", TensorType(DType.F32, (_BATCH, _FEATURES)))()
        state = TensorType(DType.F32, (_BATCH, _HIDDEN))
        self.states: dict[str, Value] = {name: Input(name, state)() for name in states}
        self.weights = _Matrices("W", _FEATURES)
        self.recurrent = _Matrices("R", _HIDDEN)

    def input(self, gate: str) -> Value:
        """The item's projection for a gate."""
        return self.x @ self.weights[gate]

    def state(self, gate: str) -> Value:
        """The hidden state's projection for a gate."""
        return self.states["h"] @ self.recurrent[gate]

    def pattern(self, nexts: Mapping[str, Value], negated_update: bool = False, **attributes: Any) -> CellPattern:
        """The pattern of the step with these next values of its states."""
        gates = {matrix: gate for matrices in (self.weights, self.recurrent) for gate, matrix in matrices.items()}
        body = Graph({**self.states, "x": self.x}, dict(nexts))
        step = step_of(body, len(self.states), 1)
        by_vertex = {vertex: gates[affine.products[0].matrix] for vertex, affine in step.terms.items()}
        return CellPattern(step, by_vertex, attributes, negated_update)


class _Matrices(dict[str, Value]):
    """A matrix for each gate, created on first use."""

    def __init__(self, name: str, rows: int) -> None:
        super().__init__()
        self.name, self.rows = name, rows

    def __missing__(self, gate: str) -> Value:
        type = TensorType(DType.F32, (self.rows, _HIDDEN))
        self[gate] = matrix = Input(f"{self.name}_{gate}", type)()
        return matrix
