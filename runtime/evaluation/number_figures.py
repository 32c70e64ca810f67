"""Figures of numbers that were predicted: errors, the share of variance explained, residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array

LAGS = 12  # of the autocorrelation of residuals


class NumberFiguresJson(TypedDict):
    """Errors of numbers in the units of the data; null where a figure has no value."""

    count: Annotated[int, "pairs of an actual and a predicted number"]
    left_out: Annotated[int, "pairs with a number that is not finite, or, of a baseline, no known value before"]
    mae: Annotated[float | None, "mean absolute error"]
    rmse: Annotated[float | None, "root mean squared error"]
    mape: Annotated[float | None, "mean absolute percentage error, in percent"]
    mape_left_out: Annotated[int, "pairs whose actual number is 0, which it leaves out"]
    r2: Annotated[float | None, "the share of the variance that is explained"]


class BaselineJson(NumberFiguresJson):
    """The errors of an obvious forecast."""

    skill: Annotated[float | None, "the share of its mean absolute error that the model removes"]


class ResidualsJson(TypedDict, total=False):
    """How residuals, actual - predicted, are spread; empty if there are none."""

    mean: Annotated[float, "the bias"]
    deviation: Annotated[float, "the standard deviation"]
    quartiles: Annotated[list[float], "least, quartiles, greatest"]
    autocorrelation: NotRequired[Annotated[list[float], "with those 1, 2, ... before, where they are in order of time"]]


@dataclass(frozen=True)
class NumberFigures:
    """Figures of `count` pairs of an actual and a predicted number, in the units of these; None where one has no value.

    `left_out` pairs have a number that is not finite. `mape` is in percent, of the pairs whose actual number is not 0:
    `zeros` are left out of it. `r2` has no value where all actual numbers are equal.
    """

    count: int
    left_out: int
    mae: float | None
    rmse: float | None
    mape: float | None
    zeros: int
    r2: float | None
    bias: float | None  # the mean of the residuals, actual - predicted
    spread: float | None  # their standard deviation

    @staticmethod
    def of(actual: Array, predicted: Array) -> NumberFigures:
        """The figures of two arrays of one shape."""
        truth, guess, left_out = finite_pairs(actual, predicted)
        if not truth.size:
            return NumberFigures(0, left_out, None, None, None, 0, None, None, None)
        residual = truth - guess
        squares = residual**2
        nonzero = truth != 0
        relative = np.abs(residual[nonzero] / truth[nonzero])
        r2 = None
        if truth.min() < truth.max():
            r2 = float(1 - squares.sum() / ((truth - truth.mean()) ** 2).sum())
        return NumberFigures(
            int(truth.size),
            left_out,
            float(np.abs(residual).mean()),
            float(np.sqrt(squares.mean())),
            float(100 * relative.mean()) if relative.size else None,
            int(truth.size - nonzero.sum()),
            r2,
            float(residual.mean()),
            float(residual.std()),
        )

    def to_json(self) -> NumberFiguresJson:
        """The figures by name."""
        return {
            "count": self.count,
            "left_out": self.left_out,
            "mae": self.mae,
            "rmse": self.rmse,
            "mape": self.mape,
            "mape_left_out": self.zeros,
            "r2": self.r2,
        }


def finite_pairs(actual: Array, predicted: Array) -> tuple[Array, Array, int]:
    """Both arrays flat and in f64, without pairs that hold a number that is not finite, and how many these are.

    Pairs without an actual number, which is missing in the data, are not counted.
    """
    truth, guess = (array.astype(np.float64).reshape(-1) for array in (actual, predicted))
    finite = np.isfinite(truth) & np.isfinite(guess)
    return truth[finite], guess[finite], int((~finite & ~np.isnan(truth)).sum())


def skill(figures: NumberFigures, baseline: NumberFigures) -> float | None:
    """The share of a baseline's mean absolute error that a model removes: 1 is perfect, below 0 it adds to it."""
    if figures.mae is None or not baseline.mae:
        return None
    return 1 - figures.mae / baseline.mae


def autocorrelation(residuals: Array, most: int = LAGS) -> list[float]:
    """The correlation of residuals in order with those 1, 2, ... before them; empty where they are too few or equal.

    By the usual estimate with one mean and one variance for all (Box and Jenkins 1970).
    """
    values = residuals[np.isfinite(residuals)].astype(np.float64)
    centred = values - values.mean() if values.size else values
    variance = float((centred**2).sum())
    if values.size < 4 or not variance > 0:
        return []
    lags = range(1, min(most, values.size // 2) + 1)
    return [float((centred[lag:] * centred[:-lag]).sum() / variance) for lag in lags]


def residuals_to_json(actual: Array, predicted: Array, ordered: bool) -> ResidualsJson:
    """How residuals (actual - predicted) are spread; with their autocorrelation where they are in the order of time."""
    truth, guess, _ = finite_pairs(actual, predicted)
    residual = truth - guess
    if not residual.size:
        return {}
    low, quarter, middle, three, high = (float(value) for value in np.quantile(residual, (0, 0.25, 0.5, 0.75, 1)))
    facts: ResidualsJson = {
        "mean": float(residual.mean()),
        "deviation": float(residual.std()),
        "quartiles": [low, quarter, middle, three, high],
    }
    if ordered:
        facts["autocorrelation"] = autocorrelation(residual)
    return facts
