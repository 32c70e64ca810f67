"""The gradient of a max pool tap by tap, where the largest item of a window is a number that padding could have."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.client_cases import Built
from compiler.operators.pooling import MaxPoolIndices
from compiler.passes.pipeline import optimize
from compiler.passes.pool_taps import pool_taps
from compiler.targets import PORTABLE
from runtime.numpy_executor import run
from runtime.onnx_session import OnnxRunner
from tests.models import elaborate

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

NUMBERS = np.array([-np.inf, np.finfo(np.float32).min, 0, 1, np.inf], np.float32)
ROWS = np.array([*itertools.product(NUMBERS, repeat=4)], np.float32)[:, None]
SQUARES = np.random.default_rng(0).choice(NUMBERS[:3], size=(400, 1, 4, 4))
Pool = Callable[[Any], Any]
POOLS: dict[str, tuple[str, Pool, np.ndarray]] = {
    "padding around": (
        "kernel: [3], strides: [2], pads: [1, 1]",
        lambda x: torch.nn.functional.max_pool1d(x, 3, 2, 1),
        ROWS,
    ),
    "side by side": (
        "kernel: [2], strides: [2], pads: [1, 1]",
        lambda x: torch.nn.functional.max_pool1d(x, 2, 2, 1),
        ROWS,
    ),
    "dilated": (
        "kernel: [2], strides: [1], pads: [1, 1], dilations: [2]",
        lambda x: torch.nn.functional.max_pool1d(x, 2, 1, 1, 2),
        ROWS,
    ),
    "of two axes": (
        "kernel: [3, 3], strides: [2, 1], pads: [1, 1, 1, 1]",
        lambda x: torch.nn.functional.max_pool2d(x, 3, (2, 1), 1),
        SQUARES,
    ),
}


@pytest.mark.parametrize("key", POOLS)
def test_padding_gets_no_gradient(key: str) -> None:
    settings, pool, items = POOLS[key]
    for length in ("n", str(items.shape[-1])):  # an unknown size, and a known one
        sizes = ", ".join([length] * (items.ndim - 2))
        text = f"input x: [batch, 1, {sizes}]; output dx = gradient(sum(max_pool(x, {settings})), x)"
        graph = elaborate(f"model M {{ {text} }}")
        changed = pool_taps(graph)
        assert not changed.has(MaxPoolIndices)
        for x in (items, _with_nan(items)):
            np.testing.assert_array_equal(run(changed, {"x": x}, {})["dx"], _by_torch(pool, x))
        file = Built(optimize(graph, PORTABLE), {}).write(PORTABLE).SerializeToString()
        np.testing.assert_array_equal(OnnxRunner(file).run({"x": items})["dx"], _by_torch(pool, items))


def _with_nan(items: np.ndarray) -> np.ndarray:
    """The items with NaN at one position of each example, so that no window has two."""
    items = items.copy()
    rows = items.reshape(len(items), -1)
    rows[np.arange(len(rows)), np.arange(len(rows)) % rows.shape[1]] = np.nan
    return items


def _by_torch(pool: Pool, items: np.ndarray) -> Any:
    x = torch.tensor(items, requires_grad=True)
    pool(x).sum().backward()
    assert x.grad is not None
    return x.grad.numpy()
