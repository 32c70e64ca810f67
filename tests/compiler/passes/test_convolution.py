"""Rewrites around convolutions and pools: the same numbers from fewer and smaller operators."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.passes.fuse_bias import BIAS
from compiler.passes.pipeline import optimize, pass_settings
from compiler.passes.rules import apply_rules
from compiler.training.step import training_step
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import spec_of

BIASES = {
    "a layer's": ("Conv2D(4, 3, padding: 1)(x)", 0),
    "of a line": ("Conv1D(4, 3)(rearrange(x, 'b c h w -> b c (h w)'))".replace("'", '"'), 0),
    "read before it is added": ("y + Conv2D(4, 3, bias: false)(y) * y", 1),
    "not of a channel": ("Conv2D(4, 3, bias: false)(x) + mean(x, axes: [1], keep: true)", 1),
}


def model(text: str) -> Graph:
    source = f"model M() {{\n  input x: [batch, 3, 8, 6]\n  y = Conv2D(4, 3, bias: false)(x)\n  output {text}\n}}\n"
    return spec_of(source).graph


@pytest.mark.parametrize(("text", "additions"), BIASES.values(), ids=BIASES)
def test_a_bias_goes_into_its_convolution(text: str, additions: int) -> None:
    graph = model(text)
    fused = apply_rules(graph, BIAS)
    verify(fused)
    assert Counter(node.op.name for node in fused)["add"] == additions
    weights = {path: array + np.float32(0.3) for path, array in initialize(graph, 1).items()}
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3, 8, 6)).astype(np.float32)}
    found, wanted = (run(each, feeds, weights)["output"] for each in (fused, graph))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("pool", "kinds", "size"),
    [
        ("MaxPool2D(2)", {"max_pool": 1}, (4, 3)),
        ("MaxPool2D(2, stride: 1)", {"max_pool_indices": 1}, (7, 5)),  # who finds places gives values
    ],
)
def test_a_step_pools_once_and_rectifies_what_was_pooled(
    pool: str, kinds: dict[str, int], size: tuple[int, int]
) -> None:
    text = f"""
model M {{
    input x: [batch, 1, 8, 6]
    y = x -> Conv2D(4, 3, activation: relu) -> {pool} -> Flatten() -> Dense(1)
    output y
}}
train M {{ target t: [batch, 1]; loss mse(y, t); optimizer sgd(lr: 0.1) }}
"""

    def step() -> Graph:
        return training_step(spec_of(text)).graph

    changed = step()
    with pass_settings(disabled=["pool-before-relu"]):
        plain = step()
    optimized = optimize(changed)
    verify(optimized)
    assert Counter(node.op.name for node in optimized if node.op.name.startswith("max_pool")) == kinds
    assert [node.result.shape[2:] for node in changed if node.op.name == "relu"] == [size]
    assert [node.result.shape[2:] for node in plain if node.op.name == "relu"] == [(8, 6)]
    images = np.random.default_rng(0).normal(size=(5, 1, 8, 6)).astype(np.float32)
    images[1], images[2, :, :4] = 0, -1  # windows of equal items
    feeds = {"x": images, "t": np.ones((5, 1), np.float32)}
    weights = initialize(plain, 2)
    found, again, wanted = (run(graph, feeds, weights) for graph in (changed, optimized, plain))
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        np.testing.assert_allclose(again[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
