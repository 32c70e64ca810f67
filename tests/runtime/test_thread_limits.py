"""Threads do not wait at full speed: not those of NumPy's BLAS, nor on a busy machine those of onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from onnxruntime import SessionOptions
from threadpoolctl import threadpool_info, threadpool_limits

from compiler import shared_work
from compiler.graph import Node
from compiler.onnx.exporter import export
from compiler.operators import linear
from compiler.operators.divided_products import matmul
from runtime.numpy_executor import NumpyRunner
from runtime.observing import Kernel, watched_by
from runtime.onnx_session import OnnxRunner
from tests.runtime.graphs import fed, graph


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_a_graph_runs_on_one_thread_of_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []

    def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        seen.append(blas_threads())
        return matmul(x, y)

    monkeypatch.setattr(linear, "matmul", product)
    shared_work._blas.cache_clear()  # other tests have loaded libraries since
    x, w = fed("x", "f32", 2, 3), fed("w", "f32", 3, 4)
    with threadpool_limits(2, user_api="blas"):
        result = NumpyRunner(graph([x, w], y=x @ w)).run({"x": np.ones((2, 3)), "w": np.ones((3, 4))})["y"]
        assert blas_threads() == {2}
    np.testing.assert_array_equal(result, np.full((2, 4), 3))
    assert seen == [{1}]


class Options:
    """What sessions are created with."""

    def __init__(self) -> None:
        self.seen: list[SessionOptions] = []

    def kernel(self, kernel: Kernel, nodes: Sequence[Node], layers: Sequence[str]) -> Kernel:
        return kernel

    def before_session(self, options: SessionOptions) -> None:
        self.seen.append(options)

    def after_session(self, session: object, model: object) -> None:
        """Of no interest."""


@pytest.mark.parametrize(("load", "spins"), [(0.5, True), (1000.0, False)])
def test_threads_of_onnxruntime_spin_on_a_quiet_machine_alone(
    load: float, spins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    x = fed("x", "f32", 2)
    options = Options()
    with watched_by(options):
        OnnxRunner(export(graph([x], y=x + 1)).SerializeToString())
    (seen,) = options.seen
    if spins:
        with pytest.raises(RuntimeError, match="allow_spinning"):  # nothing is said of it: they do by default
            seen.get_session_config_entry("session.intra_op.allow_spinning")
    else:
        assert seen.get_session_config_entry("session.intra_op.allow_spinning") == "0"
