"""Names of other frameworks in a weight file are recognised, and one hint says which rules rename them."""

from __future__ import annotations

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from runtime.rename_rules import read_renames
from runtime.weights import fit_weights
from tests.runtime.graphs import text_of

MODEL = "model M { input x: [batch, time, 3]; rnn = LSTM(4); head = Dense(2); output y = x -> rnn -> head }\n"
LSTM = {"rnn.weight_ih_l0": (16, 3), "rnn.weight_hh_l0": (16, 4), "rnn.bias_ih_l0": (16,), "rnn.bias_hh_l0": (16,)}
HEAD = {"head.weight": (2, 4), "head.bias": (2,)}
CASES: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {  # by label: shapes of entries, and the whole message
    "of PyTorch": (
        LSTM | HEAD,
        "error[E702]: 6 entries have names of another framework: `rnn.weight_ih_l0`, `rnn.weight_hh_l0`, "
        "`rnn.bias_ih_l0`, ...\n --> file\nhelp: `--rename pytorch` makes parameters of M of them",
    ),
    "of Keras": (
        {
            "rnn/lstm_cell/kernel": (3, 16),
            "rnn/lstm_cell/recurrent_kernel": (4, 16),
            "rnn/lstm_cell/bias": (16,),
            "head/kernel": (4, 2),
            "head/bias": (2,),
        },
        "error[E702]: 5 entries have names of another framework: `rnn/lstm_cell/kernel`, "
        "`rnn/lstm_cell/recurrent_kernel`, `rnn/lstm_cell/bias`, ...\n --> file\n"
        "help: `--rename keras` makes parameters of M of them",
    ),
    "of PyTorch, and one more": (
        LSTM | HEAD | {"junk": (3,)},
        "error[E702]: 6 entries have names of another framework: `rnn.weight_ih_l0`, `rnn.weight_hh_l0`, "
        "`rnn.bias_ih_l0`, ...\n --> file\nhelp: `--rename pytorch` makes parameters of M of them\n\n"
        "error[E702]: `junk` is not a parameter of M\n --> file\nhelp: `--rename 'junk -> none'` leaves it out",
    ),
}
OTHER_LAYERS = (
    "error[E702]: 2 entries have names of another framework: `fc.weight`, `fc.bias`\n --> file\n"
    "help: name the layer of each: `--rename 'fc.* -> LAYER.* by pytorch'`\n\n"
    "error[E701]: `head.W`: f32[4, 2] is missing\n --> file\n"
    "help: `fc.weight` has its shape: `--rename 'fc.weight -> head.W ^T'`\n\n"
    "error[E701]: `head.b`: f32[2] is missing\n --> file\n"
    "help: `fc.bias` has its shape: `--rename 'fc.bias -> head.b'`\n\n"
    "error[E702]: `fc.weight` is not a parameter of M\n --> file\n"
    "help: `--rename 'fc.weight -> none'` leaves it out\n\n"
    "error[E702]: `fc.bias` is not a parameter of M\n --> file\n"
    "help: `--rename 'fc.bias -> none'` leaves it out"
)


def error_of(shapes: dict[str, tuple[int, ...]], model: str = MODEL) -> str:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(NablacError) as caught:
        fit_weights(arrays, nablac.compile(model).graph, "file")
    return text_of(caught)


@pytest.mark.parametrize("label", CASES)
def test_one_hint_names_the_rules(label: str) -> None:
    shapes, text = CASES[label]
    assert error_of(shapes) == text


def test_layers_by_other_names_need_theirs() -> None:
    model = "model M { input x: [batch, 4]; head = Dense(2); output y = x -> head }\n"
    assert error_of({"fc.weight": (2, 4), "fc.bias": (2,)}, model) == OTHER_LAYERS


def test_the_rules_of_the_hint_load_the_file() -> None:
    graph = nablac.compile(MODEL).graph
    arrays = {name: np.zeros(shape, np.float32) for name, shape in (LSTM | HEAD).items()}
    assert set(fit_weights(arrays, graph, "file", read_renames(["pytorch"]))) == set(nablac.compile(MODEL).weights)


def test_of_torchvision_the_rules_of_its_networks_are_named() -> None:
    names = {"conv1.weight": (4, 3, 3, 3), "bn1.weight": (4,), "bn1.bias": (4,), "fc.weight": (2, 4), "fc.bias": (2,)}
    model = "model M { input x: [n, 3, 8, 8]; "
    model += "output y = x -> Conv2D(4, 3, bias: false) -> BatchNorm() -> Flatten() -> Dense(2) }\n"
    assert "`--rename torchvision` makes parameters" in error_of(names, model)
