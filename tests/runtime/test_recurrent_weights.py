"""The stacked gates of PyTorch's and Keras's recurrent layers load into the library's cells by rename rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from runtime.rename_rules import read_rename
from runtime.weights import fit_weights

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")

LSTM = [
    "weight_ih_l0 -> rnn.lstm_cell.W_xi | rnn.lstm_cell.W_xf | rnn.lstm_cell.W_xg | rnn.lstm_cell.W_xo axis: 0",
    "weight_hh_l0 -> rnn.lstm_cell.W_hi | rnn.lstm_cell.W_hf | rnn.lstm_cell.W_hg | rnn.lstm_cell.W_ho axis: 0",
    "bias_ih_l0 -> rnn.lstm_cell.b_i | rnn.lstm_cell.b_f | rnn.lstm_cell.b_g | rnn.lstm_cell.b_o",
    "bias_hh_l0 -> +rnn.lstm_cell.b_i | +rnn.lstm_cell.b_f | +rnn.lstm_cell.b_g | +rnn.lstm_cell.b_o",
]
GRU = [
    "weight_ih_l0 -> rnn.gru_cell.W_xr | rnn.gru_cell.W_xz | rnn.gru_cell.W_xn axis: 0",
    "weight_hh_l0 -> rnn.gru_cell.W_hr | rnn.gru_cell.W_hz | rnn.gru_cell.W_hn axis: 0",
    "bias_ih_l0 -> rnn.gru_cell.b_r | rnn.gru_cell.b_z | rnn.gru_cell.b_n",
    "bias_hh_l0 -> +rnn.gru_cell.b_r | +rnn.gru_cell.b_z | rnn.gru_cell.b_hn",
]
# Keras: kernels [in, gates * units], an LSTM's gates in the order i f c o and one bias, a GRU's z r h and two rows.
KERAS_LSTM = [
    "kernel -> rnn.lstm_cell.W_xi | rnn.lstm_cell.W_xf | rnn.lstm_cell.W_xg | rnn.lstm_cell.W_xo ^T axis: 0",
    "recurrent_kernel -> rnn.lstm_cell.W_hi | rnn.lstm_cell.W_hf | rnn.lstm_cell.W_hg | rnn.lstm_cell.W_ho ^T axis: 0",
    "bias -> rnn.lstm_cell.b_i | rnn.lstm_cell.b_f | rnn.lstm_cell.b_g | rnn.lstm_cell.b_o",
]
KERAS_GRU = [
    "kernel -> rnn.gru_cell.W_xz | rnn.gru_cell.W_xr | rnn.gru_cell.W_xn ^T axis: 0",
    "recurrent_kernel -> rnn.gru_cell.W_hz | rnn.gru_cell.W_hr | rnn.gru_cell.W_hn ^T axis: 0",
    "bias -> rnn.gru_cell.b_z | rnn.gru_cell.b_r | rnn.gru_cell.b_n | +rnn.gru_cell.b_z | +rnn.gru_cell.b_r | "
    "rnn.gru_cell.b_hn flat",
]


def as_in_keras(kind: str, own: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's tensors in the layout of Keras."""

    def ordered(array: Any) -> Any:
        r, z, n = np.split(array, 3)
        return np.concatenate([z, r, n])

    W, U, first, second = (own[name] for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
    if kind == "LSTM":
        return {"kernel": W.T, "recurrent_kernel": U.T, "bias": first + second}
    bias = np.stack([ordered(first), ordered(second)])
    return {"kernel": ordered(W).T, "recurrent_kernel": ordered(U).T, "bias": bias}


@pytest.mark.parametrize(
    ("kind", "rules"),
    [("LSTM", LSTM), ("GRU", GRU), ("LSTM", KERAS_LSTM), ("GRU", KERAS_GRU)],
    ids=["PyTorch's LSTM", "PyTorch's GRU", "Keras's LSTM", "Keras's GRU"],
)
def test_stacked_gates_load_into_the_librarys_cells(kind: str, rules: list[str]) -> None:
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(2, 3, batch_first=True).double()
    own = {name: value.detach().numpy() for name, value in module.named_parameters()}
    given = own if rules in (LSTM, GRU) else as_in_keras(kind, own)
    text = f"model M {{ input x: [batch, T, 2]; rnn = {kind}(3, sequences: true); output y = rnn(x) }}"
    model = nablac.compile(text + "\n", dtype="f64")
    weights = fit_weights(given, model.graph, "file", [read_rename(rule) for rule in rules])
    x = np.random.default_rng(0).normal(size=(2, 5, 2))
    expected = module(torch.from_numpy(x))[0].detach().numpy()
    model.weights.update(weights)
    np.testing.assert_allclose(model(x=x)["y"], expected, rtol=1e-12, atol=1e-12)


def refused(rules: list[str]) -> list[str]:
    model = nablac.compile("model M { param b: [3] = 0; input x: [n, 3]; output y = x + b }\n")
    given = {"first": np.ones(3, np.float32), "second": np.ones(2, np.float32)}
    with pytest.raises(NablacError) as caught:
        fit_weights(given, model.graph, "file", [read_rename(rule) for rule in rules])
    return [f"{each.code} {each.message}" for each in caught.value.diagnostics]


def test_what_cannot_be_added_is_refused() -> None:
    assert refused(["first -> b", "second -> +b"]) == ["E706 cannot add `second`, [2], to `first`, [3]"]
    assert refused(["first -> +b", "second -> none"]) == ["E706 `first` is added to `b`, which no entry becomes"]


def test_parts_of_another_axis_are_told() -> None:
    model = nablac.compile("model M { param A, B: [3, 4] = 0; input x: [n, 3]; output y = x @ A + x @ B }\n")
    with pytest.raises(NablacError) as caught:
        fit_weights({"AB": np.ones((6, 4), np.float32)}, model.graph, "file", [read_rename("AB -> A | B")])
    assert caught.value.diagnostics[0].hint == "its parts are those of axis 0: end the rule with `axis: 0`"
