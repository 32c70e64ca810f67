"""Recurrences in training: truncated back-propagation and dropout of the state, as loops in PyTorch have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph
from compiler.operators.leaves import Parameter, constant
from compiler.passes.pipeline import optimize
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import elaborate

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")

STEPS, BATCH, FEATURES, UNITS = 10, 3, 2, 4
X = np.random.default_rng(0).normal(size=(BATCH, STEPS, FEATURES))


def with_gradients(text: str, training: bool = True) -> Graph:
    graph = elaborate(text, training=training, dtype=DType.F64)
    (loss,) = graph.outputs.values()
    wrt = {node.op.path: node.result for node in graph if isinstance(node.op, Parameter)} | {"x": graph.inputs["x"]}
    made = gradients([loss], [constant(1.0, DType.F64)], list(wrt.values()))
    grads = {name: each for name, each in zip(wrt, made, strict=True) if each is not None}
    return Graph(graph.inputs, {"loss": loss, **grads})


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("truncate", [1, 3, 4, 10, 99])
def test_gradients_go_back_within_their_stretch(truncate: int, reverse: bool) -> None:
    text = f"""
model M {{
    input x: [batch, time, {FEATURES}]
    output mean((x -> SimpleRNN({UNITS}, sequences: true, reverse: {str(reverse).lower()}, truncate: {truncate})) ** 2)
}}
"""
    graph = with_gradients(text)
    weights = initialize(graph, 1)
    found = run(optimize(graph), {"x": X}, weights)

    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in {**weights, "x": X}.items()}
    cell = {name.rpartition(".")[2]: each for name, each in tensors.items()}
    h, total = torch.zeros(BATCH, UNITS, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for number in range(STEPS):
        place = STEPS - 1 - number if reverse else number
        if number % truncate == 0:
            h = h.detach()
        h = torch.tanh(cell["x"][:, place] @ cell["W_xh"].T + h @ cell["W_hh"].T + cell["b_h"])
        total = total + (h**2).sum()
    loss: Any = total / (STEPS * BATCH * UNITS)
    loss.backward()
    np.testing.assert_allclose(found["loss"], loss.item(), rtol=1e-12)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(found[name], tensor.grad.numpy(), rtol=1e-10, atol=1e-14, err_msg=name)


def test_a_dropped_state_is_dropped_at_every_step() -> None:
    text = f"""
model M {{
    input x: [batch, time, {FEATURES}]
    input mask: [batch, {UNITS}]
    output mean(scan(LSTMCell({UNITS}))(x, axis: 1, keep: mask) ** 2)
}}
"""
    graph = with_gradients(text)
    weights = initialize(graph, 1)
    mask = np.random.default_rng(3).integers(0, 2, (BATCH, UNITS)) / 0.5
    found = run(optimize(graph), {"x": X, "mask": mask}, weights)

    cell = {name.rpartition(".")[2]: torch.tensor(each, requires_grad=True) for name, each in weights.items()}
    keep, x = torch.tensor(mask), torch.tensor(X, requires_grad=True)
    h, c = (torch.zeros(BATCH, UNITS, dtype=torch.float64) for _ in range(2))
    total = torch.zeros((), dtype=torch.float64)
    for place in range(STEPS):
        gate = {g: x[:, place] @ cell[f"W_x{g}"].T + (h * keep) @ cell[f"W_h{g}"].T + cell[f"b_{g}"] for g in "ifgo"}
        c = torch.sigmoid(gate["f"]) * c + torch.sigmoid(gate["i"]) * torch.tanh(gate["g"])
        h = torch.sigmoid(gate["o"]) * torch.tanh(c)
        total = total + (h**2).sum()
    loss: Any = total / (STEPS * BATCH * UNITS)
    loss.backward()
    np.testing.assert_allclose(found["loss"], loss.item(), rtol=1e-12)
    np.testing.assert_allclose(found["x"], x.grad.numpy(), rtol=1e-10, atol=1e-14)
    for path in weights:
        np.testing.assert_allclose(found[path], cell[path.rpartition(".")[2]].grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("layer", ["SimpleRNN", "LSTM", "GRU"])
def test_recurrent_dropout_is_of_training_alone_and_of_the_seed(layer: str) -> None:
    text = f"model M {{ input x: [batch, time, {FEATURES}]; output mean(x -> {layer}({UNITS}RATE)) }}\n"
    plain = with_gradients(text.replace("RATE", ""), training=True)
    weights = initialize(plain, 1)
    wanted = run(plain, {"x": X}, weights)["loss"]
    dropped = text.replace("RATE", ", recurrent_dropout: 0.4")
    np.testing.assert_array_equal(run(with_gradients(dropped, training=False), {"x": X}, weights)["loss"], wanted)
    graph = with_gradients(dropped)
    losses = [float(run(graph, {"x": X, "seed": np.array(seed)}, weights)["loss"]) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2] and losses[0] != wanted
