"""Recurrent layers of PyTorch and Keras that are not the model's: one line for each says what differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grammar.diagnostics import NablacError, render_all
from runtime.rename_rules import read_renames
from runtime.weights import fit_weights
from tests.models import spec_of
from tests.specs.test_foreign_layers import keras, needs_keras

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")
nn = torch.nn

OPTIONS = "in the model, with its other options as they are"
LOOP = "for i in 0..3 { rnn = LSTM(4, sequences: true); x = rnn(x) }"

# The module, the model's layer, what its file has and what the model has, and the help.
PYTORCH: dict[str, tuple[Any, str, str, str, str]] = {
    "reset before": (
        lambda: nn.GRU(3, 4),
        "GRU(4, reset_after: false)",
        "`reset_after: true`",
        "`reset_after: false`",
        f"write `GRU(4)` {OPTIONS}",
    ),
    "both directions": (
        lambda: nn.LSTM(3, 4, bidirectional=True),
        "LSTM(4)",
        "both directions",
        "one direction",
        f"write `Bidirectional(LSTM(4))` {OPTIONS}",
    ),
    "one direction": (
        lambda: nn.LSTM(3, 4),
        "Bidirectional(LSTM(4))",
        "one direction",
        "both directions",
        f"write `LSTM(4)` {OPTIONS}",
    ),
    "two layers": (
        lambda: nn.LSTM(3, 4, num_layers=2),
        "LSTM(4)",
        "2 layers",
        "1 layer",
        "write a loop in the model, `for i in 0..2`, over `LSTM(4)` with `sequences: true`",
    ),
    "fewer layers": (
        lambda: nn.LSTM(3, 4, num_layers=2),
        LOOP,
        "2 layers",
        "3 layers",
        "write a loop in the model, `for i in 0..2`, over `LSTM(4)` with `sequences: true`",
    ),
    "another size in both directions": (
        lambda: nn.GRU(3, 8, bidirectional=True),
        "GRU(4)",
        "both directions and 8 units",
        "one direction and 4 units",
        f"write `Bidirectional(GRU(8))` {OPTIONS}",
    ),
    "another input": (
        lambda: nn.RNN(5, 4),
        "SimpleRNN(4)",
        "5 features to read",
        "3 features to read",
        "the layer reads the last axis of its input: give it so many features",
    ),
    "another kind": (
        lambda: nn.LSTM(3, 4),
        "GRU(4)",
        "the cell of an LSTM",
        "the cell of a GRU",
        f"write `LSTM(4)` {OPTIONS}",
    ),
    "a projection": (
        lambda: nn.LSTM(3, 4, proj_size=2),
        "LSTM(4)",
        "a projection to 2",
        "no projection",
        "the library's LSTM has no projection: train without `proj_size`, or write its cell as equations",
    ),
    "no biases": (
        lambda: nn.LSTM(3, 4, bias=False),
        "LSTM(4)",
        "no biases",
        "biases",
        "add biases of 0 to the file: the library's layer has them",
    ),
}
KERAS = {
    "reset after": ("GRU(4)", "GRU(4, reset_after: false)", *PYTORCH["reset before"][2:]),
    "reset before": (
        "GRU(4, reset_after=False)",
        "GRU(4)",
        "`reset_after: false`",
        "`reset_after: true`",
        f"write `GRU(4, reset_after: false)` {OPTIONS}",
    ),
    "both directions": ("Bidirectional(keras.layers.LSTM(4))", "LSTM(4)", *PYTORCH["both directions"][2:]),
    "one direction": ("LSTM(4)", "Bidirectional(LSTM(4))", *PYTORCH["one direction"][2:]),
    "another size": ("LSTM(8)", "LSTM(4)", "8 units", "4 units", f"write `LSTM(8)` {OPTIONS}"),
    "no biases": ("LSTM(4, use_bias=False)", "LSTM(4)", *PYTORCH["no biases"][2:]),
}


def error_of(arrays: dict[str, Any], layer: str, rules: list[str]) -> str:
    """What loading says of a file of these entries."""
    used = layer if layer.startswith("for") else f"rnn = {layer}; x = rnn(x)"
    graph = spec_of(f"model M {{ input x: [batch, T, 3]; {used}; output y = x }}").graph
    with pytest.raises(NablacError) as caught:
        fit_weights(arrays, graph, "theirs", read_renames(rules))
    return render_all(caught.value.diagnostics)


def expected(theirs: str, ours: str, hint: str) -> str:
    return f"error[E708]: `rnn` has {theirs} in the file, and {ours} in the model\n --> theirs\nhelp: {hint}"


@pytest.mark.parametrize("case", PYTORCH)
def test_of_pytorch(case: str) -> None:
    module, layer, *words = PYTORCH[case]
    state = {name: value.numpy() for name, value in module().state_dict().items()}
    for name, rule in (("rnn", "pytorch"), ("their.net", "their.net.* -> rnn.* by pytorch")):
        named = {f"{name}.{entry}": array for entry, array in state.items()}
        assert error_of(named, layer, [rule]) == expected(*words)


@needs_keras
@pytest.mark.parametrize("case", KERAS)
def test_of_keras(case: str) -> None:
    their, layer, *words = KERAS[case]
    with np.errstate(all="ignore"):
        module = keras()
    built = eval(f"keras.layers.{their[:-1]}, name='rnn')", {"keras": module})  # the text is this file's
    network = module.Sequential([module.Input((5, 3)), built])
    arrays = {weight.path: weight.numpy() for weight in network.weights}
    assert error_of(arrays, layer, ["keras"]) == expected(*words)


def test_a_projection_is_not_left_out_in_silence_and_other_entries_may_be() -> None:
    state = {f"rnn.{name}": value.numpy() for name, value in nn.LSTM(3, 4, proj_size=2).state_dict().items()}
    rules = ["rnn.weight_hr_l0 -> none", "pytorch"]
    assert error_of(state, "LSTM(4)", rules) == expected(*PYTORCH["a projection"][2:])
    both = nn.LSTM(3, 8, bidirectional=True).state_dict()
    state = {f"rnn.{name}": value.numpy() for name, value in both.items()}
    assert error_of(state, "LSTM(4)", ["*_reverse -> none", "pytorch"]) == expected(
        "8 units", "4 units", f"write `LSTM(8)` {OPTIONS}"
    )


def test_other_entries_are_listed_beside_it() -> None:
    state = {f"rnn.{name}": value.numpy() for name, value in nn.LSTM(3, 8).state_dict().items()}
    text = error_of({**state, "head.weight": np.zeros((2, 2), np.float32)}, "LSTM(4)", ["pytorch"])
    assert text.splitlines() == [
        *expected("8 units", "4 units", f"write `LSTM(8)` {OPTIONS}").splitlines(),
        "",
        "error[E702]: `head.weight`, renamed to `head.W`, is not a parameter of M",
        " --> theirs",
        "help: `--rename 'head.weight -> none'` leaves it out",
        "",
        "2 errors",
    ]
