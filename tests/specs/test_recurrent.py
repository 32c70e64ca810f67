"""The recurrent layers against nn.RNN, nn.LSTM and nn.GRU, and the textbook cells against the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import nablac
from compiler.passes.pipeline import optimize
from compiler.targets import NUMPY
from tests.models import elaborate
from tests.specs.parity import Case, Weights, case, check, each, torch
from tests.specs.weights import Map, gru, lstm, rnn

nn = torch.nn
SEQUENCE = ("batch", "time", 3)


def last(module: Any) -> Any:
    """The module's output at the last step, forwards, and at the first, backwards."""
    return Wrapped(module, lambda found: found[0][:, -1])


class Wrapped(nn.Module):  # type: ignore[misc]
    """A module, and what is taken of its result."""

    def __init__(self, module: Any, take: Any) -> None:
        super().__init__()
        self.module, self.take = module, take

    def forward(self, *inputs: Any) -> Any:
        return self.take(self.module(*inputs))


class Reversed(nn.Module):  # type: ignore[misc]
    """A recurrent module from the last step to the first."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        return self.module(x.flip(1))[0].flip(1)


def inner(weights: Map) -> Map:
    return lambda module: weights(module.module)


def sequences(module: Any) -> Any:
    return Wrapped(module, lambda found: found[0])


def final_states(module: Any) -> Any:
    """Outputs and final states without torch's axis of layers."""

    def take(found: Any) -> Any:
        ys, states = found
        states = states if isinstance(states, tuple) else (states,)
        return [ys, *(state[0] for state in states)]

    return Wrapped(module, take)


def stacked(cell: Any, layers: tuple[str, ...], directions: bool = False) -> Map:
    """Layers in order; each with a backward part if `directions`."""

    def weights(module: Any) -> Weights:
        found: Weights = {}
        for place, path in enumerate(layers):
            if directions:
                found |= cell(f"{path}.forward.{NAMES[cell]}", f"l{place}")(module.module)
                found |= cell(f"{path}.backward.{NAMES[cell]}", f"l{place}_reverse")(module.module)
            else:
                found |= cell(f"{path}.{NAMES[cell]}", f"l{place}")(module.module)
        return found

    return weights


NAMES = {rnn: "rnn_cell", lstm: "lstm_cell", gru: "gru_cell"}
LAYERS = (("SimpleRNN", "simple_rnn", rnn, nn.RNN), ("LSTM", "lstm", lstm, nn.LSTM), ("GRU", "gru", gru, nn.GRU))


def family(layer: str, path: str, cell: Any, module: Any) -> tuple[Case, ...]:
    """What holds of each of the three."""
    one = stacked(cell, (path,))
    initial = {"h": ("batch", 4)} | ({"c": ("batch", 4)} if layer == "LSTM" else {})
    names = ", ".join(f"{name}: {name}" for name in initial)

    def begin(x: Any, *states: Any) -> Any:
        given = tuple(state[None] for state in states)
        return final.module(x, given if len(given) > 1 else given[0])

    final = final_states(module(3, 4, batch_first=True))
    given = Wrapped(module(3, 4, batch_first=True), lambda found: found[0])
    given.forward = lambda x, *states: given.module(  # type: ignore[method-assign]
        x, tuple(s[None] for s in states) if len(states) > 1 else states[0][None]
    )[0]
    return (
        case(f"{layer}, last output", f"output x -> {layer}(4)", last(module(3, 4, batch_first=True)), one, x=SEQUENCE),
        case(
            f"{layer}, all outputs",
            f"output x -> {layer}(4, sequences: true)",
            sequences(module(3, 4, batch_first=True)),
            one,
            x=SEQUENCE,
        ),
        case(
            f"{layer}, outputs and final states",
            f"output x -> {layer}(4, sequences: true, states: true)",
            final,
            one,
            x=SEQUENCE,
        ),
        case(
            f"{layer} from the last step to the first",
            f"output x -> {layer}(4, sequences: true, reverse: true)",
            Reversed(module(3, 4, batch_first=True)),
            one,
            x=SEQUENCE,
        ),
        case(
            f"{layer} from a given state",
            f"{path} = {layer}(4, sequences: true)\noutput {path}(x, {names})",
            given,
            one,
            x=SEQUENCE,
            **initial,
        ),
        case(
            f"{layer}, two layers",
            f"output x -> {layer}(4, sequences: true) -> {layer}(4, sequences: true)",
            sequences(module(3, 4, num_layers=2, batch_first=True)),
            stacked(cell, (path, f"{path}_1")),
            x=SEQUENCE,
        ),
        case(
            f"{layer} in both directions",
            f"output x -> Bidirectional({layer}(4, sequences: true))",
            sequences(module(3, 4, bidirectional=True, batch_first=True)),
            stacked(cell, ("bidirectional",), directions=True),
            x=SEQUENCE,
        ),
        case(
            f"{layer} in both directions, two layers",
            f"output x -> Bidirectional({layer}(4, sequences: true)) -> Bidirectional({layer}(4, sequences: true))",
            sequences(module(3, 4, num_layers=2, bidirectional=True, batch_first=True)),
            stacked(cell, ("bidirectional", "bidirectional_1"), directions=True),
            x=SEQUENCE,
        ),
        case(
            f"{layer} in both directions, the two ends summed",
            f'output x -> Bidirectional({layer}(4), merge: "sum")',
            Wrapped(
                module(3, 4, bidirectional=True, batch_first=True),
                lambda found: found[0][:, -1, :4] + found[0][:, 0, 4:],
            ),
            stacked(cell, ("bidirectional",), directions=True),
            x=SEQUENCE,
        ),
    )


CASES = (
    *(row for layer in LAYERS for row in family(*layer)),
    case(
        "SimpleRNN with relu",
        "output x -> SimpleRNN(4, relu)",
        last(nn.RNN(3, 4, nonlinearity="relu", batch_first=True)),
        stacked(rnn, ("simple_rnn",)),
        x=SEQUENCE,
    ),
)


@each(CASES)
def test_recurrent_layers_are_torchs(case: Case) -> None:
    check(case)


def test_a_reset_before_the_product_is_the_papers() -> None:
    class Paper(nn.Module):  # type: ignore[misc]
        """The GRU of Cho et al. 2014, which torch does not have."""

        def __init__(self) -> None:
            super().__init__()
            self.module = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: Any) -> Any:
            w = {name.split(".")[1]: value for name, value in gru("cell")(self.module).items()}
            h = x.new_zeros(len(x), 4)
            for x_t in x.unbind(1):
                r = torch.sigmoid(x_t @ w["W_xr"].T + h @ w["W_hr"].T + w["b_r"])
                z = torch.sigmoid(x_t @ w["W_xz"].T + h @ w["W_hz"].T + w["b_z"])
                n = torch.tanh(x_t @ w["W_xn"].T + (r * h) @ w["W_hn"].T + w["b_n"])
                h = (1 - z) * n + z * h
            return h

    check(
        case(
            "GRU, reset before",
            "output x -> GRU(4, reset_after: false)",
            Paper(),
            stacked(gru, ("gru",)),
            x=SEQUENCE,
        )
    )


def test_the_mean_and_the_product_of_both_directions() -> None:
    for merge, joined in (("mean", lambda a, b: (a + b) / 2), ("product", lambda a, b: a * b)):
        module = Wrapped(
            nn.GRU(3, 4, bidirectional=True, batch_first=True),
            lambda found, joined=joined: joined(*found[0].chunk(2, -1)),
        )
        text = f'output x -> Bidirectional(GRU(4, sequences: true), merge: "{merge}")'
        check(case(f"merge {merge}", text, module, stacked(gru, ("bidirectional",), directions=True), x=SEQUENCE))


def test_final_states_of_both_directions_follow_the_outputs() -> None:
    for layer, path, cell, module in LAYERS:
        both = Wrapped(
            module(3, 4, bidirectional=True, batch_first=True),
            lambda found: [found[0], *_by_direction(found[1] if isinstance(found[1], tuple) else (found[1],))],
        )
        text = f"output x -> Bidirectional({layer}(4, sequences: true, states: true))"
        check(case(f"{path} states", text, both, stacked(cell, ("bidirectional",), directions=True), x=SEQUENCE))


def _by_direction(states: Any) -> list[Any]:
    """torch has the states on an axis of directions; ours come forwards, then backwards."""
    return [state[direction] for direction in (0, 1) for state in states]


FUSED = {
    "SimpleRNN(4)": {"rnn": 1},
    "SimpleRNN(4, relu)": {"rnn": 1},
    "LSTM(4, sequences: true)": {"lstm": 1},
    "LSTM(4, reverse: true)": {"lstm": 1},
    "GRU(4)": {"gru": 1},
    "GRU(4, reset_after: false)": {"gru": 1},
    "Bidirectional(LSTM(4))": {"lstm": 1},
}


@pytest.mark.parametrize("layer", FUSED)
def test_a_layers_equations_become_the_fused_operator(layer: str) -> None:
    text = f"model M() {{\n    input x: [batch, time, 3]\n    output x -> {layer}\n}}\n"
    graph = optimize(elaborate(text), NUMPY)  # onnxruntime has a faster form of the simple ones
    found = Counter(node.op.name for node in graph)
    assert {name: found[name] for name in ("scan", "rnn", "lstm", "gru") if found[name]} == FUSED[layer]


@pytest.mark.parametrize("layer", FUSED)
def test_in_f64_a_layer_stays_a_walk_that_onnxruntime_has_kernels_for(layer: str) -> None:
    text = f"model M() {{\n    input x: [batch, time, 3]\n    output x -> {layer}\n}}\n"
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    found, wanted = (nablac.compile(text, dtype="f64", backend=name)(x=x)["output"] for name in ("ort", "numpy"))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_layers_of_a_loop_are_numbered() -> None:
    text = "for i in 0..3 {\n    rnn = SimpleRNN(4, sequences: true)\n    x = rnn(x)\n}\noutput x"
    module = sequences(nn.RNN(4, 4, num_layers=3, batch_first=True))
    paths = tuple(f"rnn.{place}" for place in range(3))
    check(case("a loop of layers", text, module, stacked(rnn, paths), x=("batch", "time", 4)))
