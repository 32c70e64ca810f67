"""How parameters begin: the statistics of large draws, and orthogonality."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.specs.parity import Array, first_values

UNIFORM = {
    "glorot_uniform()": math.sqrt(6 / 1000),
    "he_uniform()": math.sqrt(6 / 400),
    "lecun_uniform()": math.sqrt(3 / 400),
}
NORMAL = {
    "glorot_normal()": math.sqrt(2 / 1000),
    "glorot_normal(gain: 3.0)": 3 * math.sqrt(2 / 1000),
    "he_normal()": math.sqrt(2 / 400),
    "lecun_normal()": math.sqrt(1 / 400),
    "normal(std: 0.02)": 0.02,
    "normal()": 0.05,
}


def drawn(initializer: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    sizes = ", ".join(map(str, shape))
    text = f"model M() {{\n input x: [n]\n param W: [{sizes}] ~ {initializer}\n output x + sum(W)\n}}\n"
    return first_values(text, seed)["W"]


@pytest.mark.parametrize(("initializer", "limit"), [*UNIFORM.items(), ("uniform(-0.2, 0.2)", 0.2)])
def test_uniform_draws_fill_their_range_evenly(initializer: str, limit: float) -> None:
    found = drawn(initializer, (400, 600))
    assert found.dtype == np.float32
    assert np.abs(found).max() <= limit * (1 + 1e-6)
    quarters, _ = np.histogram(found, bins=4, range=(-limit, limit))
    np.testing.assert_allclose(quarters / found.size, 0.25, atol=0.005)


@pytest.mark.parametrize(("initializer", "deviation"), NORMAL.items())
def test_normal_draws_have_their_mean_and_deviation(initializer: str, deviation: float) -> None:
    found = drawn(initializer, (400, 600)) / deviation
    assert abs(found.mean()) < 0.01
    assert abs(found.std() - 1) < 0.01
    assert abs((np.abs(found) < 1).mean() - 0.6827) < 0.005


def test_truncated_draws_stay_within_two_deviations() -> None:
    found = drawn("truncated_normal(std: 0.02)", (400, 600)) / 0.02
    assert np.abs(found).max() <= 2 + 1e-5
    assert abs(found.std() - 0.8796) < 0.01
    assert (np.abs(found) > 1.9999).mean() < 1e-3


@pytest.mark.parametrize("shape", [(32, 32), (16, 48), (48, 16), (8, 3, 3, 3), (1, 1), (1, 7), (128, 128)], ids=str)
def test_orthogonal_draws_are_orthonormal(shape: tuple[int, ...]) -> None:
    found = drawn("orthogonal()", shape).reshape(shape[0], -1).astype(float)
    gram = found @ found.T if found.shape[0] <= found.shape[1] else found.T @ found
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=2e-5)


def test_a_kernels_fans_count_its_extent() -> None:
    """Kernels are [outputs, inputs, extent...]: 8 * 3 * 3 numbers come in, 64 * 3 * 3 go out."""
    found = drawn("glorot_uniform()", (64, 8, 3, 3))
    limit = math.sqrt(6 / (8 * 9 + 64 * 9))
    assert 0.99 * limit < np.abs(found).max() <= limit * (1 + 1e-6)


def test_a_constant_fills() -> None:
    np.testing.assert_array_equal(drawn("constant(0.5)", (2, 3)), np.full((2, 3), 0.5, np.float32))


def test_another_seed_gives_another_draw_and_the_same_seed_the_same() -> None:
    first, again, other = (drawn("normal()", (4, 5), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_parameters_of_one_shape_begin_differently() -> None:
    found = first_values("model M() {\n input x: [n, 4]\n output x -> Dense(4) -> Dense(4)\n}\n", 0)
    assert not np.array_equal(found["dense.W"], found["dense_1.W"])
