"""Equations that hold derivatives: `gradient(y, x)` in a model, against torch's autograd, and its own gradient too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError

torch = pytest.importorskip("torch", reason="PyTorch is the oracle: install the `oracle` extra")

# A critic whose slope is held near 1 (Gulrajani et al. 2017).
PENALTY = """
model Critic {
    input x: [batch, 3]
    output score = x -> Dense(5, activation: tanh) -> Dense(1)
}
train Critic {
    slope = gradient(sum(score), x)
    loss mean((sqrt(sum(slope ** 2, axis: -1)) - 1) ** 2)
}
"""
# A network that solves u'' = -sin(x) (Raissi et al. 2019).
PHYSICS = """
model Solution {
    input x: [batch, 1]
    u = x -> Dense(5, activation: tanh) -> Dense(1)
    du = gradient(sum(u), x)
    output u, du
}
train Solution {
    d2u = gradient(sum(du), x)
    loss mean((d2u + sin(x)) ** 2)
}
"""


def theirs(x: Any, w: dict[str, Any]) -> Any:
    return torch.tanh(x @ w["dense.W"] + w["dense.b"]) @ w["dense_1.W"] + w["dense_1.b"]


def slope(y: Any, x: Any) -> Any:
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0]


def penalty(x: Any, w: dict[str, Any]) -> Any:
    return ((slope(theirs(x, w), x).square().sum(-1).sqrt() - 1) ** 2).mean()


def physics(x: Any, w: dict[str, Any]) -> Any:
    return ((slope(slope(theirs(x, w), x), x) + x.sin()) ** 2).mean()


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize(("text", "features", "loss"), [(PENALTY, 3, penalty), (PHYSICS, 1, physics)])
def test_losses_of_derivatives_differentiate(text: str, features: int, loss: Any, backend: str) -> None:
    dtype = "f64" if backend == "numpy" else "f32"
    model = nablac.compile(text, dtype=dtype, backend=backend)
    x = np.random.default_rng(0).normal(size=(4, features)).astype(dtype.replace("f", "float"))
    made = model.gradient("*")
    found = made(x=x)
    weights = {path: torch.tensor(each.astype(np.float64), requires_grad=True) for path, each in model.weights.items()}
    at = torch.tensor(x.astype(np.float64), requires_grad=True)
    expected = loss(at, weights)
    grads = torch.autograd.grad(expected, [*weights.values(), at], allow_unused=True, materialize_grads=True)
    rtol = 1e-10 if dtype == "f64" else 1e-4
    np.testing.assert_allclose(found["loss"], expected.item(), rtol=rtol)
    for name, grad in zip([*weights, "x"], grads, strict=True):
        ours = found.get(f"grad.{name}", np.zeros(grad.shape))  # the loss does not depend on the last bias
        np.testing.assert_allclose(ours, grad.numpy(force=True), rtol=rtol, atol=rtol, err_msg=name)


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ("gradient(x, x)", "E404: `y` of gradient must be a single float, got f32[batch, 3]"),
        ("gradient(sum(x), argmax(x, axis: 0))", "E404: `x` of gradient must be a float tensor, got i64[3]"),
        ("gradient(sum(cast(argmax(x, axis: 0), f32)), x)", "E611: no gradient flows through `argmax`"),
        ("gradient(mean(x), x * 2)", "E611: the gradient's `y` does not depend on its `x`"),
    ],
)
def test_what_has_no_gradient_is_told(equation: str, message: str) -> None:
    with pytest.raises(NablacError) as caught:
        nablac.compile(f"model M {{ input x: [batch, 3]; output {equation} }}")
    (found,) = caught.value.diagnostics
    assert f"{found.code}: {found.message}" == message
