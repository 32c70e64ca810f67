"""Small parameters that are updated as one tensor: the same numbers, and only where the equations allow it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler.training.updates
from compiler.graph import Graph
from compiler.training.step import training_step
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import spec_of

TEXT = """
model M {
    input x: [batch, 5]
    y = x -> Dense(6, activation: tanh) -> Dense(6, activation: tanh) -> Dense(1)
    output y
}
train M { target t: [batch, 1]; loss mse(y, t); SETTINGS }
optimizer normed(lr = 0.1) {
    state m = 0
    m' = 0.9 * m + grad / sqrt(sum(grad ** 2) + 1e-6)
    param' = param - lr * m'
}
optimizer by_rows(lr = 0.1) { param' = param - lr / shape(param)[0] * grad }
optimizer noisy(lr = 0.1) { param' = param - lr * (grad + random.normal(like: grad)) }
optimizer from_here(lr = 0.1) {
    state slow = param
    slow' = 0.5 * slow + 0.5 * (param - lr * grad)
    param' = slow'
}
"""


def step_of(settings: str) -> Graph:
    return training_step(spec_of(TEXT.replace("SETTINGS", settings))).graph


@pytest.mark.parametrize(
    ("settings", "splits"),
    [
        ("optimizer adam(lr: 0.1)", 6),  # three results of two groups: the matrices of six columns, and the biases
        ("optimizer sgd(lr: 0.1); plateau 2", 2),
        ("optimizer adamw(lr: 0.1); accumulate 2; average 0.9", 6),
        ('optimizer sgd(lr: 0.1); weight_decay 0.1; undecayed ["*.b"]', 2),
        ('optimizer sgd(lr: 0.1); weight_decay 0.1; undecayed "dense.W"', 1),
        ('optimizer sgd(lr: 0.1); rates ["dense.W", 0.5]', 1),
        ('optimizer adam(lr: 0.1 / step); rates ["*.b", 0.5]', 6),
        ("optimizer from_here()", 4),
        ("optimizer normed()", 0),
        ("optimizer by_rows()", 1),  # two biases have as many
        ("optimizer noisy()", 0),
    ],
)
def test_together_they_follow_as_each_alone(settings: str, splits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    together = step_of(settings)
    monkeypatch.setattr(compiler.training.updates, "SMALL", 0)
    alone = step_of(settings)
    assert [node.op.name for node in together].count("split") == splits
    assert not any(node.op.name == "split" for node in alone)
    assert list(together.updates) == list(alone.updates)
    random = np.random.default_rng(0)
    feeds: dict[str, Any] = {"x": random.normal(size=(4, 5)), "t": random.normal(size=(4, 1)), "step": 3.0, "rate": 0.5}
    given = {name: np.asarray(feeds[name], np.float32) for name in together.inputs if name in feeds}
    given |= {name: np.array(7) for name in together.inputs if name == "seed"}
    weights = {path: array + np.float32(0.1) for path, array in initialize(together, 0).items()}
    found, wanted = (run(graph, given, weights) for graph in (together, alone))
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
