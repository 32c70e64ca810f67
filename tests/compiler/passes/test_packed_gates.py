"""Cells whose gates are computed as one and cut apart become one operator, with PyTorch's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from compiler.graph import Graph
from compiler.passes.pipeline import optimize
from compiler.types import DType
from runtime.numpy_executor import run
from tests.models import elaborate

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")

LSTM = "c' = sigmoid(f) * c + sigmoid(i) * tanh(g); h' = sigmoid(o) * tanh(c')"
RESET = "r = sigmoid(a + u); z = sigmoid(d + v); h' = (1 - z) * tanh(n + r * m) + z * h"
ROWS = "param W: [G * 4, 2] = 0; param U: [G * 4, 4] = 0; param b, b2: [G * 4] = 0"
COLUMNS = "param W: [2, G * 4] = 0; param U: [4, G * 4] = 0; param b, b2: [G * 4] = 0"
# The operator, the parameters, the equations, and where PyTorch's own tensors go.
CELLS = {
    "an LSTM by split, two biases": ("lstm", ROWS, f"i, f, g, o = split(W x + b + U h + b2, 4, axis: -1); {LSTM}"),
    "an LSTM by split, one bias": ("lstm", COLUMNS, f"i, f, g, o = split(x @ W + h @ U + b, 4, axis: -1); {LSTM}"),
    "an LSTM by slices": (
        "lstm",
        COLUMNS,
        "s = x @ W + h @ U + b; i = s[:, 0:4]; f = s[:, 4:8]; g = s[:, 8:12]; o = s[:, 12:]; " + LSTM,
    ),
    "an LSTM of one matrix": (
        "lstm",
        "param W: [6, G * 4] = 0; param b: [G * 4] = 0",
        f"i, f, g, o = split(concat([x, h], axis: -1) @ W + b, 4, axis: -1); {LSTM}",
    ),
    "an LSTM of one matrix, as in a paper": (
        "lstm",
        "param W: [G * 4, 6] = 0; param b: [G * 4] = 0",
        f"i, f, g, o = split(W [x, h] + b, 4, axis: -1); {LSTM}",
    ),
    "an LSTM with gates in one sigmoid": (
        "lstm",
        COLUMNS,
        "s = x @ W + h @ U + b; i, f = split(sigmoid(s[:, 0:8]), 2, axis: -1); o = sigmoid(s[:, 12:]); "
        "c' = f * c + i * tanh(s[:, 8:12]); h' = o * tanh(c')",
    ),
    "a GRU by split": (
        "gru",
        ROWS,
        f"a, d, n = split(W x + b, 3, axis: -1); u, v, m = split(U h + b2, 3, axis: -1); {RESET}",
    ),
    "a GRU by slices": (
        "gru",
        COLUMNS,
        "s = x @ W + b; t = h @ U + b2; r = sigmoid(s[:, 0:4] + t[:, 0:4]); z = sigmoid(s[:, 4:8] + t[:, 4:8]); "
        "h' = (1 - z) * tanh(s[:, 8:] + r * t[:, 8:]) + z * h",
    ),
}


def graph_of(cell: str, dtype: DType) -> Graph:
    kind, parameters, equations = CELLS[cell]
    states = "state h, c: [batch, 4] = 0" if kind == "lstm" else "state h: [batch, 4] = 0"
    body = f"input x: [batch, 2]; {states}; {parameters}; {equations}; output h'"
    text = (
        f"cell Cell() {{ {body} }}\nmodel M {{ input xs: [batch, time, 2]; output y = scan(Cell())(xs, axis: 1) }}\n"
    ).replace("G ", "4 " if kind == "lstm" else "3 ")
    return elaborate(text, dtype=dtype)


def weights_of(module: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """PyTorch's stacked gates in the layout of a cell: rows or columns, one matrix or two, one bias or two."""
    own = {name.removesuffix("_l0"): value.detach().numpy() for name, value in module.named_parameters()}
    W, U, first, second = own["weight_ih"], own["weight_hh"], own["bias_ih"], own["bias_hh"]
    if "U" not in shapes:
        W = np.concatenate([W, U], axis=1)
    found = {"W": W, "U": U, "b": first if "b2" in shapes else first + second, "b2": second}
    return {name: found[name] if found[name].shape == shape else found[name].T for name, shape in shapes.items()}


@pytest.mark.parametrize("cell", CELLS)
def test_packed_gates_are_one_operator(cell: str) -> None:
    kind = CELLS[cell][0]
    torch.manual_seed(0)
    module = (torch.nn.LSTM if kind == "lstm" else torch.nn.GRU)(2, 4, batch_first=True).double()
    x = np.random.default_rng(1).normal(size=(3, 5, 2))
    expected = module(torch.from_numpy(x))[0].detach().numpy()
    whole, single = graph_of(cell, DType.F64), graph_of(cell, DType.F32)
    shapes = {node.op.path: node.op.type.shape for node in whole if node.op.name == "parameter"}  # type: ignore[attr-defined]
    used = {path.rpartition(".")[2]: shape for path, shape in shapes.items()}
    own = weights_of(module, used)
    weights = {path: own[path.rpartition(".")[2]] for path in shapes}
    (found,) = run(whole, {"xs": x}, weights).values()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    fused = optimize(single)
    assert [node.op.name for node in fused if node.op.name in ("scan", "lstm", "gru", "rnn")] == [kind]
    half = {path: value.astype(np.float32) for path, value in weights.items()}
    (found,) = run(fused, {"xs": x.astype(np.float32)}, half).values()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_gates_that_are_no_operators_stay_a_scan() -> None:
    text = """
cell Cell() {
    input x: [batch, 2]
    state h, c: [batch, 4] = 0
    param W: [2, 20] = 0
    param U: [4, 20] = 0
    i, f, g, o, q = split(x @ W + h @ U, 5, axis: -1)
    c' = sigmoid(f) * c + sigmoid(i) * tanh(g * q)
    h' = sigmoid(o) * tanh(c')
    output h'
}
model M { input xs: [batch, time, 2]; output scan(Cell())(xs, axis: 1) }
"""
    names = [node.op.name for node in optimize(elaborate(text))]
    assert "scan" in names
    assert "lstm" not in names
