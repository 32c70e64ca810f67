"""Predictions of tables with missing rows: those of the same tables with the rows put in by hand, as empty cells."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from runtime.prediction import prediction
from tests.command_line import invoke, succeed

FIRST = datetime(2024, 1, 1)
COUNT, AHEAD = 60, 3
# The hours that are missing of each station: within, in the last window, before the rows to predict, and among these
GAPS = {"a": {1, 20, 30, 31, 57, COUNT - 1}, "b": {25, 55, COUNT + 1}}

SPEC = """
model Forecaster {
    input x: f32[batch, 6, 3]
    input ahead: f32[batch, 2, 3]
    output y = concat([x, ahead], axis: 1) -> Flatten() -> Dense(2)
}
train Forecaster {
    target next: f32[batch, 2]
    loss mse(y, next)
    epochs 1
    validation 0.25
    data csv("gaps.csv") -> by("station") -> fill("interpolate", rows: "time", flag: true)
        -> calendar("time", features: "hour") -> standardize(columns: "v")
        -> window(["v", "price", "missing_v"], length: 6, horizon: 2, target: "v",
                  known: ["price", "missing_price", "hour"])
}
"""
ALONE = """
model Alone {
    input x: f32[batch, 4, 1]
    output y = x -> Flatten() -> Dense(1)
}
train Alone {
    target next: f32[batch, 1]
    loss mse(y, next)
    epochs 1
    validation 0.25
    data csv("alone.csv") -> fill("forward", rows: "time") -> window("v", length: 4, target: "v")
}
"""


def rows_of(station: str, by_hand: bool, ahead: bool = True) -> list[tuple[datetime, str, float | None, float | None]]:
    """Hour, station, `v` and price; what is missing is left out, or `by_hand` without numbers."""
    generator = np.random.default_rng(ord(station))
    numbers = generator.normal(size=(COUNT + AHEAD, 2)).round(3)
    rows: list[tuple[datetime, str, float | None, float | None]] = []
    for hour in range(COUNT + AHEAD if ahead else COUNT - 1):
        time, missing = FIRST + timedelta(hours=hour), hour in GAPS[station]
        if not missing:
            rows.append((time, station, float(numbers[hour, 0]) if hour < COUNT else None, float(numbers[hour, 1])))
        elif by_hand:
            rows.append((time, station, None, None))
    return rows


def write(path: Path, by_hand: bool, stations: str = "ab", ahead: bool = True) -> None:
    rows = sorted(row for station in stations for row in rows_of(station, by_hand, ahead))
    lines = []
    for time, station, *cells in rows:
        texts = ["" if cell is None else str(cell) for cell in cells]
        lines.append(",".join([f"{time:%Y-%m-%d %H:%M}", *([station] if ahead else []), *texts]))
    path.write_text("\n".join(["time,station,v,price" if ahead else "time,v,price", *lines]) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with and without the missing rows, and a run on those without."""
    folder = tmp_path_factory.mktemp("inserted")
    write(folder / "gaps.csv", by_hand=False)
    write(folder / "whole.csv", by_hand=True)
    write(folder / "alone.csv", by_hand=False, stations="a", ahead=False)
    write(folder / "alone_whole.csv", by_hand=True, stations="a", ahead=False)
    for name, spec in (("m", SPEC), ("alone", ALONE)):
        (folder / f"{name}.model").write_text(spec)
        succeed("train", folder / f"{name}.model", "-o", folder / name, "-q")
    return folder


def said(*arguments: str | Path) -> Any:
    return json.loads(succeed(*arguments, "--json", "-q").stdout)


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results of blocks of any size in one order."""
    return sorted(rows, key=lambda row: (row["station"], row["time"], row["step"]))


@pytest.mark.parametrize("most", [5, 1 << 14])
@pytest.mark.parametrize("model", ["m", "m/model.onnx"])
@pytest.mark.parametrize("options", [[], ["--all"], ["--keep", "all"]])
def test_several_series(
    folder: Path, model: str, options: list[str], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where blocks end within gaps; rows to predict that are missing are filled too."""
    monkeypatch.setattr(prediction, "_ROWS_AT_ONCE", most)
    inserted, by_hand = (said("predict", folder / model, folder / name, *options) for name in ("gaps.csv", "whole.csv"))
    actual, expected = in_order(inserted), in_order(by_hand)
    numbers = [[row.pop("predicted_v") for row in rows] for rows in (actual, expected)]
    assert actual == expected and len(actual) > 2
    np.testing.assert_allclose(*numbers, rtol=1e-5)  # batches of other sizes may be rounded in another way


@pytest.mark.parametrize("options", [[], ["--steps", "5"], ["--all"]])
def test_one_series(folder: Path, options: list[str]) -> None:
    """Forecasts that feed back, and dates of inserted rows."""
    names = ("alone.csv", "alone_whole.csv")
    inserted, by_hand = (said("predict", folder / "alone", folder / name, *options) for name in names)
    assert inserted == by_hand
    if options == ["--all"]:
        times = [row["time"] for row in inserted]
        assert times == [f"{FIRST + timedelta(hours=hour):%Y-%m-%d %H:%M}" for hour in range(4, COUNT)]


def test_a_note_says_what_was_inserted(folder: Path) -> None:
    done = succeed("predict", folder / "m", folder / "gaps.csv")
    message = "9 rows that are missing by the dates in `time` are inserted, at a step of 1 hour (6 of `a`, 3 of `b`)"
    assert done.stderr.splitlines() == [f"note: {message}: {folder}/gaps.csv"]


@pytest.mark.parametrize("model", ["m", "m/model.onnx"])
def test_eval(folder: Path, model: str) -> None:
    """The same figures and baselines of both tables."""
    inserted, by_hand = (
        said("eval", folder / model, "--data", folder / name)["figures"] for name in ("gaps.csv", "whole.csv")
    )
    assert inserted == by_hand


def test_resumed_runs_insert_the_same_rows(folder: Path, tmp_path: Path) -> None:
    succeed("train", folder / "m.model", "-o", tmp_path / "at_once", "--epochs", "2", "-q")
    succeed("train", folder / "m.model", "-o", tmp_path / "resumed", "-q")
    succeed("train", "--resume", tmp_path / "resumed", "--epochs", "2", "-q")
    at_once, resumed = (json.loads((tmp_path / name / "data.json").read_text()) for name in ("at_once", "resumed"))
    assert at_once == resumed
    forecasts = [said("predict", tmp_path / name, folder / "gaps.csv") for name in ("at_once", "resumed")]
    assert forecasts[0] == forecasts[1]


def test_columns_from_python_have_dates_of_their_own_type(folder: Path) -> None:
    """Those of a data frame, or of Parquet, are no texts; other columns of an inserted row are empty."""
    rows = rows_of("a", by_hand=False, ahead=False)
    columns = {"time": np.array([row[0] for row in rows], "datetime64[s]"), "v": [row[2] for row in rows]}
    predictions = nablac.load(folder / "alone").predict(columns, all=True)
    assert list(predictions["time"]) == [FIRST + timedelta(hours=hour) for hour in range(4, COUNT)]
    assert predictions["v"][16] is None
    of_texts = said("predict", folder / "alone", folder / "alone.csv", "--all")
    expected = [row["predicted_v"] for row in of_texts]
    np.testing.assert_allclose(predictions["predicted_v"], expected, rtol=1e-6)


def test_a_wrong_date_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "alone.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([lines[0], "1970-01-01 00:00,1,1", *lines[1:]]) + "\n")
    done = invoke("predict", folder / "alone", tmp_path / "t.csv", "-o", tmp_path / "out.csv")
    message = "column `time`: from `1970-01-01 00:00` to `2024-01-01 00:00` 473,351 rows are missing"
    assert done.exit_code == 2
    assert f"error[E821]: {message} at a step of 1 hour, more than the series has" in done.stderr
    assert f"{tmp_path}/t.csv:3" in done.stderr and not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("unit", ["us", "ns"])  # those of `ns` are read as the dates of pandas
def test_inserted_rows_of_parquet_are_in_its_time_zone(folder: Path, tmp_path: Path, unit: str) -> None:
    """Clocks change among the missing hours; the dates are those of pandas."""
    pandas = pytest.importorskip("pandas")
    hours = pandas.date_range("2024-03-30 20:00", periods=24, freq="h", tz="Europe/Berlin", name="time").as_unit(unit)
    table = pandas.DataFrame({"v": np.arange(22.0)}, hours[:22]).drop(hours[[3, 4, 5, 6]])
    table.reset_index().to_parquet(tmp_path / "t.parquet")
    for option, times in (("--all", hours[4:23]), ("--steps=2", hours[22:24])):
        succeed("predict", folder / "alone", tmp_path / "t.parquet", option, "-o", tmp_path / "out.parquet", "-q")
        predicted = pandas.read_parquet(tmp_path / "out.parquet")["time"]
        assert list(map(str, predicted)) == list(map(str, times))
