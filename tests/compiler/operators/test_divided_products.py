"""Products in parts: NumPy's own values, and the same bits however many threads share them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.operators import divided_products
from compiler.operators.convolution_columns import Columns
from compiler.operators.divided_products import matmul
from compiler.shared_work import use_threads

SHAPES = {
    "square": ((600, 500), (500, 600)),
    "few rows": ((3, 4000), (4000, 5000)),
    "few columns": ((5000, 4000), (4000, 3)),
    "long sum": ((70, 20_000), (20_000, 70)),
    "batch": ((40, 90, 100), (40, 100, 110)),
    "one matrix for all": ((7, 300, 200), (200, 300)),
    "a batch of one": ((1, 400, 300), (1, 300, 400)),
    "broadcast": ((5, 1, 200, 150), (3, 150, 220)),
    "one of the batch": ((1, 2, 300, 200), (6, 1, 200, 150)),
}


def operands(name: str, dtype: str) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype(dtype) for shape in SHAPES[name]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_large_products_are_numpys_on_any_number_of_threads(name: str, dtype: str) -> None:
    x, y = operands(name, dtype)
    expected = np.matmul(x.astype(np.float64), y.astype(np.float64))
    with use_threads(1):
        once = matmul(x, y)
    assert once.dtype == x.dtype and once.shape == expected.shape
    error = np.abs(once - expected).max()
    assert error <= 4 * np.finfo(x.dtype).eps * np.sqrt(x.shape[-1]) * np.abs(expected).max()
    for threads in (2, 5):
        with use_threads(threads):
            np.testing.assert_array_equal(matmul(x, y), once)
            written = np.full_like(once, np.nan)
            assert matmul(x, y, written) is written
            np.testing.assert_array_equal(written, once)


def test_operands_may_be_transposed_or_have_gaps() -> None:
    x, y = operands("square", "float32")
    with use_threads(2):
        np.testing.assert_allclose(matmul(y.T, x.T), (x @ y).T, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(matmul(x[::2], y[:, ::3]), (x @ y)[::2, ::3], rtol=1e-4, atol=1e-3)


_sizes = st.integers(0, 5)


@settings(max_examples=60, deadline=None)
@given(st.tuples(_sizes, _sizes, _sizes), st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xyb")), max_size=2))
def test_small_products_in_many_parts(matrix: tuple[int, int, int], lead: list[tuple[int, str]]) -> None:
    rows, inner, columns = matrix
    before = [[1 if where not in (name, "b") else size for size, where in lead] for name in "xy"]
    random = np.random.default_rng(0)
    x, y = (random.integers(-9, 9, (*axes, *last)).astype(np.float64) for axes, last in
            zip(before, ((rows, inner), (inner, columns)), strict=True))  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, use_threads(3):
        patch.setattr(divided_products, "_LEAST_FLOPS", 1)
        np.testing.assert_array_equal(matmul(x, y), np.matmul(x, y))


def test_nan_and_infinity_give_no_warning_in_any_thread(recwarn: pytest.WarningsRecorder) -> None:
    x, y = operands("square", "float32")
    x[:, 0], y[0, ::2], y[0, 1::2] = np.inf, np.nan, -np.inf
    with np.errstate(all="ignore"), use_threads(2):
        assert not np.isfinite(matmul(x, y)).any()
    assert not recwarn.list


def test_blocks_of_a_convolution_have_the_same_bits_on_two_threads() -> None:
    random = np.random.default_rng(0)
    x, w = random.normal(size=(64, 16, 16, 16)), random.normal(size=(32, 16, 3, 3))
    columns = Columns((3, 3), (14, 14), (1, 1), (1, 1), 1)
    grad = random.normal(size=(64, 32, 14, 14))

    def results() -> list[np.ndarray]:
        return [
            columns.convolve(x, w),
            columns.weight_gradient(x, grad),
            columns.convolve_transposed(grad, w, (16, 16)),
        ]

    with use_threads(1):
        one = results()
    with use_threads(3):
        for array, expected in zip(results(), one, strict=True):
            np.testing.assert_array_equal(array, expected)
