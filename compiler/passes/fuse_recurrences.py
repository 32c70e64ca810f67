"""A Scan whose step is an LSTM, a GRU or a simple recurrence becomes that one operator.

The cells to look for are written in the language, in `recurrent_cells.model`; a step is recognised when its structure
is isomorphic to one of theirs, so names, order and grouping of the user's equations do not matter.

Keeps rounding: sums are made in another order, and 1 - sigmoid(x) may be sigmoid(-x).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from compiler.graph import Graph, Node, Value
from compiler.operators.backpropagation import shifted
from compiler.operators.control import Scan
from compiler.operators.recurrent import GRU, LSTM, RNN
from compiler.operators.shaping import Concat, Expand, Transpose
from compiler.operators.source import constant
from compiler.passes.affine import Affine, Step, rows, step_of
from compiler.passes.gates_apart import gates_apart
from compiler.rewrite import replace, rewrite
from compiler.types import DType

CELLS = Path(__file__).with_name("recurrent_cells.model")
# Gate letters in the order in which the ONNX operators stack them.
GATES = {"rnn": "h", "lstm": "iofc", "gru": "zrh"}
FLIPPED = (2, 3)  # values of `update` under which the update gate is the operator's 1 - z


@dataclass(frozen=True, eq=False)
class Pattern:
    """One form of a cell: its structure, the states in the operator's order, and the letters of its terms."""

    cell: str
    options: dict[str, Any]
    step: Step
    letters: dict[int, str]  # the gate of each affine term, by place
    flipped: bool


def fuse_recurrences(graph: Graph, walked: Collection[str] = ()) -> Graph:
    """`graph` with every Scan that is an RNN, LSTM or GRU of one direction replaced by the operator.

    Cells in `walked`, by the names of GATES, stay Scans.
    """
    if not any(isinstance(node.op, Scan) for node in graph):
        return graph
    return rewrite(graph, partial(fuse, walked=walked))


def fuse(node: Node, walked: Collection[str] = ()) -> Sequence[Value] | None:
    """The fused operator's results in place of a Scan's, if the Scan is one."""
    if not isinstance(node.op, Scan) or node.op.slices != 1:
        return None
    scan, body = node.op, node.op.body
    slice_type = list(body.inputs.values())[scan.states].type
    if slice_type.rank != 2 or slice_type.dtype is not DType.F32:  # no runtime has the operators in f64
        return None
    try:
        step = step_of(gates_apart(body, scan.states + 1), scan.states, 1)
    except NotImplementedError:
        return None
    for pattern in _patterns():
        places = _match(pattern, step) if pattern.cell not in walked else None
        if places is not None:
            return _fused(node, pattern, step, places)
    return None


def _match(pattern: Pattern, step: Step) -> dict[int, int] | None:
    """The step's place for each of the pattern's, where the two structures are one."""
    from networkx.algorithms.isomorphism import MultiDiGraphMatcher, categorical_multiedge_match, categorical_node_match

    if len(pattern.step.structure) != len(step.structure):
        return None
    matcher = MultiDiGraphMatcher(
        pattern.step.structure,
        step.structure,
        node_match=categorical_node_match("label", None),
        edge_match=categorical_multiedge_match("place", 0),
    )
    return next(iter(matcher.isomorphisms_iter()), None)


def _fused(node: Node, pattern: Pattern, step: Step, places: dict[int, int]) -> Sequence[Value] | None:
    scan = node.op
    assert isinstance(scan, Scan)
    inputs = list(scan.body.inputs.values())
    states, captures = inputs[: scan.states], inputs[scan.states + 1 :]
    operands = list(node.operands)
    outside = dict(zip(captures, operands[scan.states + 1 :], strict=True))
    order = [states.index(step.places[places[place]]) for place in _state_places(pattern)]
    ends = list(scan.body.outputs.values())
    nexts = [ends[place] for place in order]
    if any(output not in nexts for output in ends[scan.states :]):
        return None
    xs, slice_in = operands[scan.states], inputs[scan.states]
    hidden = states[order[0]].shape[-1]
    if not isinstance(hidden, int):
        return None
    gates = _gates(pattern, step, places, slice_in, outside, hidden, xs.type.dtype)
    if gates is None:
        return None
    weights, recurrent, bias = gates
    first = [operands[place] for place in order]
    if pattern.cell == "lstm":
        results = LSTM(hidden, reverse=scan.reverse)(xs, weights, recurrent, bias, *first)
    elif pattern.cell == "gru":
        results = GRU(hidden, reverse=scan.reverse, **pattern.options)(xs, weights, recurrent, bias, *first)
    else:
        results = RNN(hidden, reverse=scan.reverse, **pattern.options)(xs, weights, recurrent, bias, *first)
    finals: list[Value] = [results[0]] * scan.states
    for rank, place in enumerate(order):
        finals[place] = results[1 + rank]
    walks = {nexts[0]: results[0]}
    if any(output is not nexts[0] for output in ends[scan.states :]):
        walks[nexts[1]] = _memories(node, scan, order, results[0])
    return [*finals, *(walks[output] for output in ends[scan.states :])]


def _memories(node: Node, scan: Scan, order: list[int], hidden: Value) -> Value:
    """An LSTM's c of every step, which the operator keeps to itself and a gradient asks for.

    Given h of every step it is a walk of its own, whose gates `hoist_steps` computes for all steps at once: what stays
    in steps is c' = f c + i n.
    """
    inputs, operands = list(scan.body.inputs.items()), list(node.operands)
    h, c = order
    following = list(scan.body.outputs.values())[c]
    formal = dict((inputs[c], inputs[h], *inputs[scan.states :]))
    before = shifted(operands[h], hidden, scan.length(*(each.type for each in operands)), scan.reverse)
    body = Graph(formal, {"next": following, "c": following}, name=scan.body.name)
    made: Value = Scan(body, 1, 2, scan.reverse)(operands[c], before, *operands[scan.states :])[1]
    return made


def _gates(
    pattern: Pattern,
    step: Step,
    places: dict[int, int],
    slice_in: Value,
    outside: dict[Value, Value],
    hidden: int,
    dtype: DType,
) -> tuple[Value, Value, Value] | None:
    """Input weights [gates*hidden, in], recurrent weights [gates*hidden, hidden] and biases [2*gates*hidden]."""
    letters = GATES[pattern.cell]
    weights: dict[str, Value] = {}
    recurrent: dict[str, Value] = {}
    biases: dict[tuple[str, bool], Value] = {}
    for place, letter in pattern.letters.items():
        affine = step.terms[places[place]]
        sign = -1 if pattern.flipped and letter == "z" else 1
        for vector, matrix, part in affine.products:
            side = weights if vector is slice_in else recurrent
            turned = Transpose((1, 0))(rows(_outer(matrix, outside), part))
            turned = -turned if sign < 0 else turned
            side[letter] = side[letter] + turned if letter in side else turned
        on_input = any(vector is slice_in for vector, _, _ in affine.products)
        for vector in affine.vectors:
            value = _outer(vector, outside)
            value = value if value.shape == (hidden,) else Expand((hidden,))(value)
            value = -value if sign < 0 else value
            known = biases.get((letter, on_input))
            biases[letter, on_input] = value if known is None else known + value
    if set(weights) != set(letters) or set(recurrent) != set(letters):
        return None
    if any(value.shape != (hidden, hidden) for value in recurrent.values()):
        return None
    zero = Expand((hidden,))(constant(0, dtype))
    stacked = [biases.get((letter, side), zero) for side in (True, False) for letter in letters]
    return (
        _stacked([weights[letter] for letter in letters]),
        _stacked([recurrent[letter] for letter in letters]),
        _stacked(stacked),
    )


def _stacked(values: list[Value]) -> Value:
    made: Value = values[0] if len(values) == 1 else Concat(0)(*values)
    return made


def _outer(value: Value, outside: dict[Value, Value]) -> Value:
    """A value that is the same at each step, made of what the step captures, as it stands outside of it."""
    return replace([value], outside)[0]


# The patterns


def _state_places(pattern: Pattern) -> list[int]:
    """The places of the pattern's states in the order of the operator's operands: h, then c."""
    return sorted(place for place, data in pattern.step.structure.nodes(data=True) if data["label"] == "state")


@cache
def _patterns() -> tuple[Pattern, ...]:
    forms: list[tuple[str, str, dict[str, Any], bool]] = [
        ("rnn", "rnn_tanh(2)", {"activation": "tanh"}, False),
        ("rnn", "rnn_relu(2)", {"activation": "relu"}, False),
        ("lstm", "lstm(2)", {}, False),
    ]
    for update in range(4):
        for after in (False, True):
            cell = f"gru(2, update: {update}, reset_after: {'true' if after else 'false'})"
            forms.append(("gru", cell, {"linear_before_reset": after}, update in FLIPPED))
    return tuple(_pattern(*form) for form in forms)


def _pattern(cell: str, text: str, options: dict[str, Any], flipped: bool) -> Pattern:
    from compiler.elaborate.models import elaborate
    from compiler.elaborate.program import program_of
    from compiler.passes.pipeline import optimize_bodies
    from grammar.source import Source

    cells = CELLS.read_text("utf-8")
    model = f"{cells}\nmodel Pattern {{\n    input xs: [time, batch, 3]\n    output scan({text})(xs, axis: 0)\n}}\n"
    graph = optimize_bodies(elaborate(program_of(Source("recurrent_cells.model", model))))
    (node,) = (node for node in graph if isinstance(node.op, Scan))
    scan = node.op
    assert isinstance(scan, Scan)
    step = step_of(scan.body, scan.states, 1)
    captures = list(scan.body.inputs.values())[scan.states + 1 :]
    outside = dict(zip(captures, node.operands[scan.states + 1 :], strict=True))
    letters = {place: _letter(affine, outside) for place, affine in step.terms.items()}
    return Pattern(cell, options, step, letters, flipped)


def _letter(affine: Affine, outside: dict[Value, Value]) -> str:
    """The gate that a term of a pattern belongs to: the last letter of its parameter's name."""
    matrix = outside[affine.products[0][1]].node.op
    return str(matrix.path)[-1]  # type: ignore[attr-defined]
