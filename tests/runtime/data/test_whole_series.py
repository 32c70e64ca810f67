"""Rows that are inserted depend on the whole of a series, and not on the parts in which its table is read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from compiler.time_steps import TimeStep
from grammar.diagnostics import NablacError
from runtime.data import table_blocks
from runtime.data.file_rows import VARIABLE
from runtime.data.python_columns import mapping_blocks
from runtime.data.row_insertion import RowsToInsert
from runtime.prediction.findings import Findings
from runtime.prediction.inserted_blocks import InsertedBlocks
from tests.runtime.data.descriptions import load, refused

ROWS_AT_ONCE = [1, 2, 3, 7, 1000]

# The first date, the months of a step, the day (31 for ends of months), and which of thirty dates are missing
SERIES: dict[str, tuple[str, int, int, set[int]]] = {
    "ends of months, of which a short one is first": ("2023-04-30", 1, 31, {1}),
    "ends of months, none of which tells": ("2023-04-30", 1, 31, {row for row in range(30) if row % 12 not in (0, 2)}),
    "ends from a February on": ("2023-02-28", 1, 31, {1, 3, 5}),
    "the thirtieth, as a later month tells": ("2023-04-30", 1, 30, {1}),
    "the thirtieth, from a February on": ("2023-02-28", 1, 30, {1, 3, 4, 5}),
    "the 29th": ("2023-02-28", 1, 29, {1, 13}),
    "the fifteenth": ("2023-01-15", 1, 15, {1, 2, 7}),
    "ends of quarters": ("2022-06-30", 3, 31, {2, 3, 6}),
    "the thirtieth of quarters": ("2022-06-30", 3, 30, {2, 3, 6}),
    "the end of every February": ("2021-02-28", 12, 31, {3, 7}),
    "the 28th of every February": ("2021-02-28", 12, 28, {3, 11}),
    "the end of every June": ("2001-06-30", 12, 31, {1, 20}),
}


def months(first: str, step: int, day: int, missing: set[int]) -> tuple[list[str], list[str]]:
    """The dates that a table has, and those of `asfreq` in pandas."""
    pandas: Any = pytest.importorskip("pandas")
    offset = pandas.DateOffset(months=step, day=day)
    every = pandas.date_range(first, periods=30, freq=offset)
    if day == 31 and step == 1:
        assert every.equals(pandas.date_range(first, periods=30, freq="ME"))
    there = pandas.Series(1.0, every)[[row not in missing for row in range(30)]]
    return [list(index.strftime("%Y-%m-%d")) for index in (there.index, there.asfreq(offset).index)]


def in_training(folder: Path, dates: list[str], count: int, step: int) -> list[str]:
    """The dates of all rows but the last of a table, as one window has them."""
    rows = (f"{date},{number}" for number, date in enumerate(dates))
    (folder / "t.csv").write_text("\n".join(["time,v", *rows]) + "\n")
    data = f'csv("t.csv") -> fill("forward", rows: "time", step: "{step} months") '
    data += '-> calendar("time", features: ["year", "month", "day"]) '
    data += f'-> window(["year", "month", "day"], length: {count - 1}, target: "v")'
    examples = load(folder, data, f"x: f64[batch, {count - 1}, 3]", "t: f64[batch, 1, 1]")
    return [f"{year:04.0f}-{month:02.0f}-{day:02.0f}" for year, month, day in examples.arrays["x"][0]]


def in_predictions(dates: Iterable[str], step: TimeStep, most: int) -> list[str]:
    """The dates of all rows of a table that is predicted `most` rows at a time."""
    blocks = InsertedBlocks(RowsToInsert("time", "%Y-%m-%d", step), (), Findings())
    read = [line for part in mapping_blocks({"time": [*dates]}, "t", most) for line in blocks.add(part)]
    return [date for part in [*read, *blocks.end()] for date in part.values["time"]]


@pytest.mark.parametrize("case", SERIES)
def test_months_go_on_as_in_pandas(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there, every = months(*SERIES[case])
    step = SERIES[case][1]
    assert in_training(tmp_path, there, len(every), step) == every[:-1]
    monkeypatch.setenv(VARIABLE, "1")
    for most in ROWS_AT_ONCE:
        monkeypatch.setattr(table_blocks, "_AT_ONCE", most)
        assert in_training(tmp_path, there, len(every), step) == every[:-1]
        assert in_predictions(there, TimeStep(step, in_months=True), most) == every


def test_rows_to_predict_tell_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last row is to be predicted, and on the day 30 of a month of 31: the missing one is then a day 30 too."""
    dates = ["2023-04-30", "2023-06-30", "2023-07-30"]
    (tmp_path / "t.csv").write_text(f"time,v,p\n{dates[0]},1,1\n{dates[1]},2,1\n{dates[2]},,1\n")
    data = 'csv("t.csv") -> fill("forward", rows: "time", step: "1 month") -> calendar("time", features: "day") '
    data += '-> window("day", length: 2, target: "v", known: "p")'
    inputs = "x: f64[batch, 2, 1]; input k: f64[batch, 1, 1]"
    assert load(tmp_path, data, inputs, "t: f64[batch, 1, 1]").arrays["x"][0].ravel().tolist() == [30, 30]
    monkeypatch.setenv(VARIABLE, "1")
    for most in ROWS_AT_ONCE:
        monkeypatch.setattr(table_blocks, "_AT_ONCE", most)
        assert load(tmp_path, data, inputs, "t: f64[batch, 1, 1]").arrays["x"][0].ravel().tolist() == [30, 30]
        assert in_predictions(dates, TimeStep(1, in_months=True), most)[1] == "2023-05-30"


HINT = "are not whole steps of 1 month, at which `fill` inserts rows"
# Dates of months, and the first that does not fit
MISFITS: dict[str, tuple[list[str], str]] = {
    "after a day that is not the end": (["2023-01-15", "2023-02-15", "2023-03-16", "2023-04-15"], "2023-03-16"),
    "after an end of 31 days": (["2023-01-31", "2023-02-28", "2023-03-30", "2023-04-30"], "2023-03-30"),
    "a day that an earlier end contradicts": (["2023-04-30", "2023-06-30", "2023-07-29"], "2023-07-29"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_the_first_date_that_does_not_fit_is_named(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dates, misfit = MISFITS[case]
    row = dates.index(misfit)
    expected = f"column `time`: from `{dates[row - 1]}` to `{misfit}` {HINT}"
    (tmp_path / "t.csv").write_text("\n".join(["time,v", *(f"{date},1" for date in dates)]) + "\n")
    data = 'csv("t.csv") -> fill("mean", rows: "time", step: "1 month") -> window("v", length: 1)'
    assert refused(tmp_path, data) == f"E821 HERE/t.csv:{row + 2}: {expected}"
    monkeypatch.setenv(VARIABLE, "1")
    for most in ROWS_AT_ONCE:
        monkeypatch.setattr(table_blocks, "_AT_ONCE", most)
        assert refused(tmp_path, data) == f"E821 HERE/t.csv:{row + 2}: {expected}"
        with pytest.raises(NablacError) as caught:
            in_predictions(dates, TimeStep(1, in_months=True), most)
        assert caught.value.diagnostics[0].message == expected


@pytest.mark.parametrize("later", [1100, 1300])
def test_a_long_gap_is_measured_by_the_whole_series(
    tmp_path: Path, later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,200 days are missing after the tenth: less than the series has, or more."""
    numbers = [*range(10), *range(1210, 1210 + later)]
    dates = [(datetime(2001, 1, 1) + timedelta(days=number)).strftime("%Y-%m-%d") for number in numbers]
    (tmp_path / "t.csv").write_text("\n".join(["time,v", *(f"{date},1" for date in dates)]) + "\n")
    data = 'csv("t.csv") -> fill("mean", rows: "time", step: "1 day") -> window("v", length: 1)'
    message = f"column `time`: from `{dates[9]}` to `{dates[10]}` 1,200 rows are missing at a step of 1 day, more than "
    for limit in (None, "1"):
        if limit is not None:
            monkeypatch.setenv(VARIABLE, limit)
        for most in (7, 1000):
            monkeypatch.setattr(table_blocks, "_AT_ONCE", most)
            if later < 1200:
                assert refused(tmp_path, data) == f"E821 HERE/t.csv:12: {message}the series has"
                with pytest.raises(NablacError, match="more than the series has"):
                    in_predictions(dates, TimeStep(86_400_000_000), most)
            else:
                examples = load(tmp_path, data)  # one for each row that is there, but the first
                assert len(examples) == 9 + later
                assert len(in_predictions(dates, TimeStep(86_400_000_000), most)) == 1210 + later
