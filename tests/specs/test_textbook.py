"""Equations as textbooks and papers write them, against PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from compiler.passes.pipeline import optimize
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.compiler.texts import mistakes
from tests.models import elaborate

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")

Weights = Mapping[str, Any]

# The seed's own: on vectors, without a batch.
ELMAN = """
cell Elman(hidden: int, out: int) {
    input x: [features]
    state h: [hidden] = 0
    param W_hh: [hidden, hidden] ~ orthogonal()
    param W_xh: [hidden, features] ~ glorot_uniform()
    param W_hy: [out, hidden] ~ glorot_uniform()
    param b_h: [hidden] ~ normal()
    param b_y: [out] ~ normal()
    h' = tanh(W_hh h + W_xh x + b_h)
    y = sigmoid(W_hy h' + b_y)
    output y
}
model M { input x: [T, 3]; output scan(Elman(4, 2))(x, axis: 0) }
"""
# Gers, Schmidhuber and Cummins 2000, as it is mostly written: gates of [h, x].
LSTM = """
cell Paper(hidden: int) {
    input x: [batch, features]
    state h, c: [batch, hidden] = 0
    param W_f, W_i, W_o, W_c: [hidden, hidden + features] ~ glorot_uniform()
    param b_f, b_i, b_o, b_c: [hidden] ~ normal()
    f = sigmoid(W_f [h, x] + b_f)
    i = sigmoid(W_i [h, x] + b_i)
    o = sigmoid(W_o [h, x] + b_o)
    c' = f * c + i * tanh(W_c [h, x] + b_c)
    h' = o * tanh(c')
    output h'
}
model M { input x: [2, T, 3]; output scan(Paper(4))(x, axis: 1) }
"""
# Cho et al. 2014: the reset state in parentheses.
GRU = """
cell Paper(hidden: int) {
    input x: [batch, features]
    state h: [batch, hidden] = 0
    param W, W_r, W_z: [hidden, features] ~ glorot_uniform()
    param U, U_r, U_z: [hidden, hidden] ~ glorot_uniform()
    r = sigmoid(W_r x + U_r h)
    z = sigmoid(W_z x + U_z h)
    h' = z * h + (1 - z) * tanh(W x + U (r * h))
    output h'
}
model M { input x: [2, T, 3]; output scan(Paper(4))(x, axis: 1) }
"""
PERCEPTRON = """
model M {
    input x: [6, 3]
    param W: [3, 4] ~ normal(std: 1.0)
    param w: [4] ~ normal(std: 1.0)
    h = tanh(W^T x)
    output h @ w
}
"""


def elman(x: Any, w: Weights) -> Any:
    h, ys = torch.zeros(4, dtype=x.dtype), []
    for item in x:
        h = torch.tanh(w["W_hh"] @ h + w["W_xh"] @ item + w["b_h"])
        ys.append(torch.sigmoid(w["W_hy"] @ h + w["b_y"]))
    return torch.stack(ys)


def lstm(x: Any, w: Weights) -> Any:
    h = c = torch.zeros(2, 4, dtype=x.dtype)
    ys = []
    for item in x.unbind(1):
        both = torch.cat([h, item], -1)
        f, i, o, g = (both @ w[f"W_{gate}"].T + w[f"b_{gate}"] for gate in "fioc")
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        ys.append(h)
    return torch.stack(ys, 1)


def gru(x: Any, w: Weights) -> Any:
    h, ys = torch.zeros(2, 4, dtype=x.dtype), []
    for item in x.unbind(1):
        r = torch.sigmoid(item @ w["W_r"].T + h @ w["U_r"].T)
        z = torch.sigmoid(item @ w["W_z"].T + h @ w["U_z"].T)
        h = z * h + (1 - z) * torch.tanh(item @ w["W"].T + (r * h) @ w["U"].T)
        ys.append(h)
    return torch.stack(ys, 1)


def perceptron(x: Any, w: Weights) -> Any:
    return torch.tanh(x @ w["W"]) @ w["w"]


CASES: dict[str, tuple[str, Callable[[Any, Weights], Any], tuple[int, ...]]] = {
    "Elman on vectors": (ELMAN, elman, (5, 3)),
    "an LSTM of [h, x]": (LSTM, lstm, (2, 5, 3)),
    "a GRU": (GRU, gru, (2, 5, 3)),
    "a perceptron": (PERCEPTRON, perceptron, (6, 3)),
}


@pytest.mark.parametrize(("text", "oracle", "shape"), CASES.values(), ids=CASES)
def test_equations_mean_what_the_textbook_means(
    text: str, oracle: Callable[[Any, Weights], Any], shape: tuple[int, ...]
) -> None:
    graph = elaborate(text, dtype=DType.F64)
    weights = initialize(graph, 0)
    x = np.random.default_rng(0).normal(size=shape)
    own = {path.rpartition(".")[2]: torch.from_numpy(value) for path, value in weights.items()}
    expected = oracle(torch.from_numpy(x), own).numpy()
    for each in (graph, optimize(graph)):
        (found,) = run(each, {"x": x}, weights).values()
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


REFUSED = {
    "a matrix behind": ("x V", "E301 `x V`: inner dimensions differ: 4 (matrix) and 3 (vectors)"),
    "rows for columns": ("W^T x", "E301 `W^T x`: inner dimensions differ: 3 (matrix) and 4 (vectors)"),
    "vectors": ("w x", "E301 `w x` multiplies by a matrix, but `w` is f32[4]"),
    "a matrix for each example": ("A x", "E301 `A x` multiplies by a matrix, but `A` is f32[batch, 3, 4]"),
    "a vector turned": ("w^T x", "E316 `^T` swaps the last two axes, but f32[4] has 1"),
    "parts that are too many": (
        "W [x, x]",
        "E301 `W [x, x]`: inner dimensions differ: 4 (matrix) and 8 (vectors)",
    ),
    "one thing in brackets": (
        "W [x]",
        "E314 an index must be a whole number or a tensor of them, got a tensor f32[batch, 4]",
    ),
    "three in a row": ("W W x", "E113 unexpected name `x`"),
    "a number before": ("2 W x", "E113 unexpected name `W`"),
}


@pytest.mark.parametrize(("written", "said"), REFUSED.values(), ids=REFUSED)
def test_a_product_that_does_not_fit_is_told_in_its_own_terms(written: str, said: str) -> None:
    declared = "input x: [batch, 4], A: [batch, 3, 4]\nparam W: [3, 4] ~ normal()\nparam w: [4] ~ normal()\n"
    declared += "param V: [4, 3] ~ normal()\n"
    assert mistakes(f"{declared}output {written}") == [said]
