"""When the rows of a series are."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from runtime.charts.times import seconds_of
from runtime.data.examples import Series
from runtime.evaluation.time_axis import TimeAxis

_DAYS = [datetime(2024, 2, 27) + timedelta(days=day) for day in range(6)]
CASES = {
    "dates": ({"site": ["x"] * 6, "day": [f"{day:%Y-%m-%d}" for day in _DAYS]}, "day", True),
    "dates of eight digits": ({"day": [f"{day:%Y%m%d}" for day in _DAYS]}, "day", True),
    "dates and times": ({"at": [f"{day:%Y-%m-%d %H:%M}" for day in _DAYS]}, "at", True),
    "years": ({"year": [str(1990 + number) for number in range(6)]}, "year", False),
    "numbers that do not go on": ({"code": ["3", "1", "2", "5", "4", "6"]}, "row", False),
    "dates that go back": ({"day": [f"{day:%Y-%m-%d}" for day in reversed(_DAYS)]}, "row", False),
    "nothing": ({}, "row", False),
    "empty cells": ({"note": [""] * 6}, "row", False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_column_that_goes_forward_says_when(case: str) -> None:
    beside, name, times = CASES[case]
    rows = np.arange(6)
    axis = TimeAxis.of(Series(("v",), np.zeros((6, 1)), rows, rows + 2, beside))
    assert (axis.name, axis.times) == (name, times)
    if times:
        assert axis.positions(np.array([1, 4])) == [seconds_of(_DAYS[1]), seconds_of(_DAYS[4])]
    assert axis.label(2) == (beside[name][2] if name in beside else "row 3")


def test_rows_that_were_left_out_leave_a_gap() -> None:
    rows = np.array([0, 1, 5, 6])
    years = Series(("v",), np.zeros((4, 1)), rows, rows + 2, {"year": ["2000", "2001", "2005", "2006"]})
    assert TimeAxis.of(years).positions(np.array([5, 6])) == [2005.0, 2006.0]
    plain = Series(("v",), np.zeros((4, 1)), rows, rows + 2)
    assert TimeAxis.of(plain).positions(rows) == [1.0, 2.0, 6.0, 7.0]


def test_series_of_two_files_are_joined_with_a_gap() -> None:
    rows = np.arange(3)
    first = Series(("v",), np.ones((3, 1)), rows, rows, {"day": ["a", "b", "c"], "only": ["x"] * 3})
    second = Series(("v",), np.zeros((3, 1)), rows, rows, {"day": ["d", "e", "f"]})
    joined, moved = first.joined(second)
    assert moved == 4 and joined.rows.tolist() == [0, 1, 2, 4, 5, 6]
    assert joined.beside == {"day": ["a", "b", "c", "d", "e", "f"]}
    assert joined.columns(["v"]).ravel().tolist() == [1, 1, 1, 0, 0, 0]


def test_rows_of_several_series_are_called_by_their_series_and_date() -> None:
    rows = np.array([0, 1, 4, 5, 6])
    days = ["2024-01-01", "2024-01-02", "2024-01-01", "2024-01-02", "2024-01-04"]
    beside = {"station": ["a", "a", "b", "b", "b"], "day": days}
    axis = TimeAxis.of(Series(("v",), np.zeros((5, 1)), rows, rows, beside, (4,), keys=("a", "b")))
    assert [axis.label(row) for row in rows] == [f"{key}: {day}" for key, day in zip("aabbb", days, strict=True)]
    assert (axis.name, axis.at.tolist(), axis.label(5)) == ("row", [1, 2, 5, 6, 7], "b: 2024-01-02")
    undated = TimeAxis.of(Series(("v",), np.zeros((5, 1)), rows, rows, {}, (4,), keys=("a", "b")))
    assert [undated.label(row) for row in rows] == ["a: row 1", "a: row 2", "b: row 1", "b: row 2", "b: row 3"]
