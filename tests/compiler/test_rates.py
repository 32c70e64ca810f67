"""Factors of the learning rate by path, against the parameter groups of PyTorch's optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")

from tests.compiler.test_optimizers import MLP, STEPS, Ours, leaves, tensors, torch_loss  # noqa: E402
from tests.compiler.texts import mistakes  # noqa: E402

RATES: dict[str, tuple[str, Any, dict[str, float]]] = {  # by label: settings, PyTorch's optimizer, factors by path
    "of sgd": (
        'optimizer sgd(lr: 0.1, momentum: 0.9, weight_decay: 0.1); rates [["dense.*", 0.1], ["*.b", 2]]',
        lambda groups: torch.optim.SGD(groups, 0.1, momentum=0.9, weight_decay=0.1),
        {"dense.W": 0.1, "dense.b": 0.1, "dense_1.W": 1, "dense_1.b": 2},
    ),
    "of adamw, with its decay": (
        'optimizer adamw(lr: 1e-2, weight_decay: 0.5); rates ["dense.*", 0.1]',
        lambda groups: torch.optim.AdamW(groups, 1e-2, weight_decay=0.5),
        {"dense.W": 0.1, "dense.b": 0.1, "dense_1.W": 1, "dense_1.b": 1},
    ),
    "of the optimizer that is used by default": (
        'rates ["dense.*", 0.1]',
        lambda groups: torch.optim.Adam(groups, 1e-3),
        {"dense.W": 0.1, "dense.b": 0.1, "dense_1.W": 1, "dense_1.b": 1},
    ),
    "of a schedule": (
        'optimizer adam(lr: step -> exponential_decay(1e-2, steps: 1, factor: 0.5)); rates ["dense.*", 0.1]',
        None,
        {"dense.W": 0.1, "dense.b": 0.1, "dense_1.W": 1, "dense_1.b": 1},
    ),
    "only of what is trained": (
        'optimizer sgd(lr: 0.1); only ["dense_1.*", "*.b"]; freeze "dense_1.b"; rates ["dense.*", 0.1]',
        lambda groups: torch.optim.SGD(groups, 0.1),
        {"dense.W": 0, "dense.b": 0.1, "dense_1.W": 1, "dense_1.b": 0},
    ),
}


@pytest.mark.parametrize("label", RATES)
def test_rates_are_factors_of_the_learning_rate(label: str) -> None:
    settings, optimizer, factors = RATES[label]
    ours = Ours(MLP, settings)
    frozen = {path: torch.tensor(np.array(ours.first[path])) for path, factor in factors.items() if not factor}
    weights = {**leaves(ours), **frozen}
    groups = [{"params": [weights[path]]} for path, factor in factors.items() if factor]
    theirs = optimizer(groups) if optimizer is not None else torch.optim.Adam(groups, 1e-2)
    x, t = tensors(ours)
    trained = [(group, factors[path]) for group, path in zip(theirs.param_groups, filter(factors.get, factors))]
    rate = theirs.param_groups[0]["lr"]
    for number in range(1, STEPS + 1):
        for group, factor in trained:
            group["lr"] = rate * factor * (0.5**number if optimizer is None else 1)
        theirs.zero_grad()
        loss = torch_loss(MLP, weights, x, t)
        loss.backward()
        theirs.step()
        np.testing.assert_allclose(ours.step(), loss.item(), rtol=1e-9)
    for path, tensor in weights.items():
        found = ours.runner.weights.get(path, ours.first[path])
        np.testing.assert_allclose(found, tensor.detach().numpy(), rtol=1e-9, err_msg=path)


def test_rates_need_a_learning_rate() -> None:
    text = "optimizer mine() { param' = param - 0.1 * grad }\n" + MLP
    (mistake,) = mistakes(text.replace("SETTINGS", 'optimizer mine(); rates ["dense.*", 0.1]'))
    assert mistake == "E620 optimizer mine has no `lr`, of which `rates` are factors"
