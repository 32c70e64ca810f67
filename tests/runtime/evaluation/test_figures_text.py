"""Figures as a person reads them in a terminal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.evaluation.backtest import Backtest, Fold
from runtime.evaluation.evaluation import Evaluation
from runtime.evaluation.figures_text import evaluation_lines, number_cells, percent, share, table
from runtime.evaluation.number_figures import NumberFigures
from runtime.evaluation.number_results import NumberResult
from runtime.evaluation.tasks import Task

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


def test_folds_are_named_by_their_rows_and_those_beyond_the_most_are_counted() -> None:
    ends = [(0, 2), *((row, row + 1) for row in range(2, 15))]
    folds = []
    for begin, end in ends:
        rows = np.arange(begin, end)
        numbers = rows[:, None].astype(float)
        folds.append(Fold(rows, rows - begin + 1, numbers, numbers + 1, {}))
    task = Task("forecast", "next", "y", "value", columns=("a",))
    result = NumberResult(task, np.zeros(1, int), np.ones((1, 1, 1)), np.ones((1, 1, 1)), ("a",), (1,))
    lines = evaluation_lines(
        Evaluation("test", {"next": result}, {"next": Backtest(("a",), tuple(folds), True, None, 0)}, ())
    )
    assert any(line.startswith("    rows 1 to 2 ") for line in lines)
    assert any(line.startswith("    row 3 ") for line in lines)
    assert lines[-1] == "  and 2 more folds, which --json and --report have"


@pytest.mark.parametrize(
    ("horizon", "shown"),
    [
        (2, [1, 2]),
        (12, [*range(1, 13)]),
        (13, [*range(1, 7), *range(8, 14)]),
        (24, [*range(1, 12, 2), *range(14, 25, 2)]),
    ],
)
def test_a_long_horizon_is_shown_by_steps_from_the_first_to_the_last(horizon: int, shown: list[int]) -> None:
    task = Task("forecast", "next", "y", "value", columns=("a",))
    steps = tuple(range(1, horizon + 1))
    numbers = np.arange(2.0 * horizon).reshape(2, horizon, 1)
    lines = evaluation_lines(
        Evaluation("test", {"next": NumberResult(task, np.arange(2), numbers, numbers + 1, ("a",), steps)}, {}, ())
    )
    assert [int(line.split()[1]) for line in lines if line.startswith("    step ")] == shown
    counted = f"  12 of {horizon} steps; --json and --report have all of them"
    assert (lines[-1] == counted) == (horizon > 12)
