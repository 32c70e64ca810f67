"""Figures as a person reads them in a terminal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.evaluation.figures_text import number_cells, percent, share, table
from runtime.evaluation.number_figures import NumberFigures

SHARES = {0.5: "0.500", -0.25: "-0.250", 1e12: "1e12", None: "–", math.nan: "NaN", 12.0: "12.000"}


@pytest.mark.parametrize("value", SHARES)
def test_shares(value: float | None) -> None:
    assert share(value) == SHARES[value]


def test_percents() -> None:
    assert [percent(value) for value in (0.123, -1.5, None, -1e9)] == ["12.3%", "-150.0%", "–", "-1e9"]


def test_rows_of_errors() -> None:
    cells = number_cells("model", NumberFigures.of(np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 4.0])))
    assert cells == ["model", "0.3333", "0.5774", "33.3%", "0.786", ""]
    assert number_cells("x", NumberFigures.of(np.zeros(0), np.zeros(0)))[1:] == ["–", "–", "–", "–", ""]
    huge = number_cells("x", NumberFigures.of(np.array([1.0, 1.1]), np.array([1e9, 2.0])))
    assert max(map(len, huge)) < 12


def test_numbers_are_aligned_and_empty_columns_left_out() -> None:
    assert table(["", "a", "b", "c"], [["x", "1", "", "10"], ["long name", "200", "", "3"]]) == [
        "               a   c",
        "  x            1  10",
        "  long name  200   3",
    ]
