"""NumPy's BLAS has one thread while a graph runs, and as many as before afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from compiler.operators import linear
from compiler.operators.products import matmul
from runtime.numpy_executor import NumpyRunner
from tests.runtime.graphs import fed, graph


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_a_graph_runs_on_one_thread_of_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []

    def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        seen.append(blas_threads())
        return matmul(x, y)

    monkeypatch.setattr(linear, "matmul", product)
    x, w = fed("x", "f32", 2, 3), fed("w", "f32", 3, 4)
    with threadpool_limits(2, user_api="blas"):
        result = NumpyRunner(graph([x, w], y=x @ w)).run({"x": np.ones((2, 3)), "w": np.ones((3, 4))})["y"]
        assert blas_threads() == {2}
    np.testing.assert_array_equal(result, np.full((2, 4), 3))
    assert seen == [{1}]
