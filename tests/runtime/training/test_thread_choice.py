"""Small steps run on one thread of onnxruntime, large ones on all."""

from __future__ import annotations

import pytest

from compiler.operators.linear import MatMul
from runtime.training.thread_choice import largest_operator, threads_for
from tests.models import elaborate
from tests.runtime.graphs import fed, graph
from tests.runtime.test_numpy_plan import RECURRENCE


@pytest.mark.parametrize(("size", "threads"), [(8, 1), (2000, 1), (20_000, 2)])
def test_the_largest_operator_decides(size: int, threads: int) -> None:
    x, w = fed("x", "f32", "n", size), fed("w", "f32", size, 50)
    product = graph([x, w], y=MatMul()(x, w))
    assert largest_operator(product, 32, {}) == 2 * 32 * size * 50
    assert threads_for(product, 32, {}, 2) == threads


def test_known_sizes_count_instead_of_the_batch() -> None:
    x, w = fed("x", "f32", "n", "time", 64), fed("w", "f32", 64, 50)
    product = graph([x, w], y=MatMul()(x, w))
    assert largest_operator(product, 32, {"time": 500}) == 2 * 32 * 500 * 64 * 50


def test_a_step_of_a_recurrence_counts_once() -> None:
    assert 0 < largest_operator(elaborate(RECURRENCE), 32, {}) <= 2 * 32 * 32
