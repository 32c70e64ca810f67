"""Figures of numbers against scikit-learn's, and where they have no value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.evaluation.number_figures import NumberFigures, autocorrelation, skill


@pytest.mark.parametrize("seed", range(20))
def test_errors_are_those_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="the data extra is not installed")
    generator = np.random.default_rng(seed)
    scale = 10.0 ** generator.integers(-3, 6)
    actual = generator.normal(size=generator.integers(2, 60)) * scale + generator.normal() * scale
    predicted = actual + generator.normal(size=len(actual)) * scale * generator.random()
    figures = NumberFigures.of(actual, predicted)
    assert figures.mae == pytest.approx(metrics.mean_absolute_error(actual, predicted), rel=1e-12)
    assert figures.rmse == pytest.approx(metrics.root_mean_squared_error(actual, predicted), rel=1e-12)
    assert figures.mape == pytest.approx(100 * metrics.mean_absolute_percentage_error(actual, predicted), rel=1e-12)
    assert figures.r2 == pytest.approx(metrics.r2_score(actual, predicted), rel=1e-9, abs=1e-9)


CASES = {
    "a perfect prediction": ([1.0, 2.0], [1.0, 2.0], {"mae": 0.0, "r2": 1.0, "mape": 0.0, "zeros": 0}),
    "constant targets": ([3.0, 3.0, 3.0], [3.0, 4.0, 3.0], {"r2": None, "mae": 1 / 3}),
    "one example": ([2.0], [3.0], {"count": 1, "r2": None, "mae": 1.0, "mape": 50.0, "spread": 0.0}),
    "zeros": ([0.0, 2.0], [1.0, 1.0], {"zeros": 1, "mape": 50.0, "mae": 1.0}),
    "zeros alone": ([0.0, 0.0], [1.0, 1.0], {"zeros": 2, "mape": None, "r2": None}),
    "NaN": ([1.0, 2.0, 3.0], [1.0, math.nan, 3.0], {"count": 2, "left_out": 1, "mae": 0.0}),
    "an infinite target": ([1.0, math.inf], [1.0, 2.0], {"count": 1, "left_out": 1}),
    "nothing": ([], [], {"count": 0, "mae": None, "r2": None, "mape": None}),
    "nothing finite": ([1.0], [math.nan], {"count": 0, "left_out": 1, "mae": None}),
    "a bias": ([3.0, 5.0], [1.0, 3.0], {"bias": 2.0, "spread": 0.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_edges(case: str) -> None:
    actual, predicted, expected = CASES[case]
    figures = NumberFigures.of(np.array(actual), np.array(predicted))
    for name, value in expected.items():
        assert getattr(figures, name) == (pytest.approx(value) if value is not None else None), name


def test_skill_is_the_share_of_the_error_that_is_gone() -> None:
    actual = np.array([1.0, 2.0, 3.0])
    model, baseline = NumberFigures.of(actual, actual + 1), NumberFigures.of(actual, actual + 4)
    assert skill(model, baseline) == pytest.approx(0.75)
    assert skill(baseline, model) == pytest.approx(-3)
    assert skill(model, NumberFigures.of(actual, actual)) is None  # nothing is better than a baseline without an error


def test_autocorrelation_of_what_repeats_and_of_what_does_not() -> None:
    wave = np.tile([1.0, -1.0], 50)
    first, second, *_ = autocorrelation(wave)
    assert first == pytest.approx(-0.99) and second == pytest.approx(0.98)
    noise = autocorrelation(np.random.default_rng(0).normal(size=2000))
    assert max(map(abs, noise)) < 0.08
    assert autocorrelation(np.ones(10)) == [] and autocorrelation(np.array([1.0, 2.0])) == []
    assert autocorrelation(np.array([1.0, math.nan, 2.0, 1.0, 3.0])) != []
