"""Rows that are missing from a series altogether, as its dates tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runtime.data.date_steps import dates_of, early_rows, missing_rows, step_of, usual_step
from runtime.data.file_rows import VARIABLE
from tests.runtime.data.descriptions import load

FIRST = datetime(2024, 1, 1)


def hours(*numbers: float) -> list[datetime]:
    return [FIRST + timedelta(hours=number) for number in numbers]


def months(count: int, day: int = 1) -> list[datetime]:
    return [datetime(2020 + number // 12, number % 12 + 1, day) for number in range(count)]


def month_ends(count: int) -> list[datetime]:
    return [first - timedelta(days=1) for first in months(count + 1)[1:]]


def days(count: int, open_on: Sequence[int]) -> list[datetime]:
    every = (FIRST + timedelta(days=number) for number in range(count))
    return [day for day in every if day.weekday() in open_on]


MISSING: dict[str, tuple[list[datetime], dict[int, int]]] = {
    "every hour": (hours(*range(30)), {}),
    "two hours after the tenth row": (hours(*range(10), *range(12, 30)), {10: 2}),
    "an hour that clocks skip": (hours(*range(20), *range(21, 40)), {20: 1}),
    "an hour twice": (hours(*range(20), *range(19, 40)), {}),
    "a late reading": (hours(*range(20), 20.5, *range(21, 40)), {20: 1}),
    "a step and a half": (hours(*range(10), *(hour + 0.5 for hour in range(10, 30))), {10: 1}),
    "nearly two steps": (hours(*range(10), *(hour + 0.9 for hour in range(10, 30))), {10: 1}),
    "two steps and a half": (hours(*range(10), *(hour + 1.5 for hour in range(10, 30))), {10: 2}),
    "half a step": (hours(*range(10), *(hour - 0.5 for hour in range(10, 30))), {}),
    "a month": ([*months(30)[:12], *months(30)[13:]], {12: 1}),
    "quarters": (months(120)[::3], {}),
    "three quarters": ([*months(120)[:60:3], *months(120)[69::3]], {20: 3}),
    "ends of months": (month_ends(30), {}),
    "an end of a month": ([*month_ends(30)[:7], *month_ends(30)[8:]], {7: 1}),
    "years": ([datetime(year, 5, 1) for year in range(1990, 2020)], {}),
    "working days": (days(90, range(5)), {}),
    "working days of three years": (days(1100, range(5)), {}),
    "six days a week": (days(90, range(6)), {}),
    "seven hours of trading": (hours(*(24 * day + hour for day in range(20) for hour in range(9, 16))), {}),
    "too few rows to tell": (hours(0, 1, 2, 3, 9), {}),
    "no rows": ([], {}),
}


@pytest.mark.parametrize(("moments", "missing"), MISSING.values(), ids=MISSING)
def test_rows_that_dates_tell_of(moments: list[datetime], missing: dict[int, int]) -> None:
    dates = dates_of(moments)
    counted = missing_rows(dates, step_of(dates))
    assert {row: count for row, count in enumerate(counted.tolist()) if count} == missing


def test_a_row_without_a_date_is_next_to_those_around_it() -> None:
    dates = dates_of([*hours(*range(7)), None, *hours(*range(8, 20))])
    assert not missing_rows(dates, step_of(dates)).any()


EARLY: dict[str, tuple[list[datetime], list[int]]] = {
    "half a step": (hours(*range(20), 19.5, *range(20, 40)), [20, 21]),
    "a date twice, which has a note of its own": (hours(*range(20), *range(19, 40)), []),
    "a month": ([*months(20), datetime(2021, 8, 20), *months(40)[20:]], [20]),
    "working days": (days(90, range(5)), []),
}


@pytest.mark.parametrize(("moments", "early"), EARLY.values(), ids=EARLY)
def test_rows_that_come_before_their_time(moments: list[datetime], early: list[int]) -> None:
    dates = dates_of(moments)
    assert early_rows(dates, step_of(dates)).tolist() == early


# The step if it is regular, and the most common one with its share
USUAL: dict[str, tuple[list[datetime], str | None, str, float]] = {
    "hours": (hours(*range(30)), "1 hour", "1 hour", 1.0),
    "working days of three years": (days(1100, range(5)), None, "1 day", 410 / 512),
    "months, half of which are missing later": (months(60)[:20] + months(60)[20::2], None, "1 month", 20 / 39),
    "years": ([datetime(year, 5, 1) for year in range(1990, 2020)], "1 year", "1 year", 1.0),
}


@pytest.mark.parametrize("case", USUAL)
def test_the_step_of_a_series(case: str) -> None:
    moments, regular, usual, share = USUAL[case]
    step = step_of(dates_of(moments))
    assert (str(step) if step is not None else None) == regular
    known = usual_step(dates_of(moments))
    assert known is not None and (str(known[0]), known[1]) == (usual, share)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("filled", ["", '-> fill("forward") '])
def test_no_window_spans_missing_rows(
    tmp_path: Path, stored: bool, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `a` the hours 8 and 9 are missing, of `b` none."""
    rows = [f"{FIRST + timedelta(hours=hour)},{name},{hour}" for hour in range(14) for name in "ab"]
    kept = [row for row in rows if not row.endswith((",a,8", ",a,9"))]
    (tmp_path / "t.csv").write_text("\n".join(["when,s,v", *kept]) + "\n")
    if stored:
        monkeypatch.setenv(VARIABLE, "1")
    notes: dict[str, list[str]] = {}
    data = 'csv("t.csv") -> by("s") -> calendar("when", features: "hour") '
    data += f'{filled}-> window("v", length: 3, horizon: 1)'
    examples = load(tmp_path, data, "x: f32[batch, 3, 1]", "t: f32[batch, 1, 1]", notes=notes)
    windows = [[*x.ravel().tolist(), t.item()] for x, t in zip(examples.arrays["x"][:], examples.arrays["t"][:])]
    of_a = [[first + step for step in range(4)] for first in (0, 1, 2, 3, 4, 10)]
    assert windows == [*of_a, *([first + step for step in range(4)] for first in range(11))]
    message = "rows are missing, by the dates in `when`: no window spans the gap; "
    message += '`fill("forward", rows: "when")` inserts them'
    place = f"{tmp_path}/t.csv:20, from 2024-01-01 07:00:00 to 2024-01-01 10:00:00"
    assert notes == {message: [place]}


# The hours of a series of a hundred, and which of its 97 windows of four rows there are
UNEVEN = {
    "a step of an hour and a half": ([*range(60), *(hour + 0.5 for hour in range(60, 100))], {57, 58, 59}),
    "a row half an hour after another": ([*range(60), *(hour - 0.5 for hour in range(60, 100))], set()),
    "a date typed wrong": ([*range(60), 10_000, *range(10_001, 10_040)], {57, 58, 59}),
}
NOTES = {
    "a step of an hour and a half": "rows are missing, by the dates in `when`: no window spans the gap; "
    '`fill("forward", rows: "when")` inserts them',
    "a row half an hour after another": "rows follow sooner than by the step of the others, by the dates in `when`: "
    "windows take them as the next",
    "a date typed wrong": "rows are missing, by the dates in `when`: no window spans the gap; more are missing than "
    "the series has, so one of the two dates may be wrong",
}


@pytest.mark.parametrize("case", UNEVEN)
def test_steps_of_other_lengths_are_noted(tmp_path: Path, case: str) -> None:
    numbers, without = UNEVEN[case]
    rows = [f"{FIRST + timedelta(hours=hour)},{row}" for row, hour in enumerate(numbers)]
    (tmp_path / "t.csv").write_text("\n".join(["when,v", *rows]) + "\n")
    notes: dict[str, list[str]] = {}
    data = 'csv("t.csv") -> calendar("when", features: "hour") -> window("v", length: 3, horizon: 1)'
    examples = load(tmp_path, data, "x: f32[batch, 3, 1]", "t: f32[batch, 1, 1]", notes=notes)
    assert examples.arrays["x"][:, 0, 0].tolist() == [row for row in range(97) if row not in without]
    before, after = (FIRST + timedelta(hours=numbers[row]) for row in (59, 60))
    assert notes == {NOTES[case]: [f"{tmp_path}/t.csv:62, from {before} to {after}"]}
