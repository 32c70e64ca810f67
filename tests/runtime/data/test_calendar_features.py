"""Features of dates: the same numbers as NumPy's calendar, however the dates are written."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.data.calendar_features import Calendar, not_a_date
from runtime.data.examples import fitted_to
from runtime.data.fitted import facts_of, parse_facts
from tests.command_line import invoke, succeed
from tests.runtime.data.descriptions import load, refused
from tests.runtime.data.forecasters import forecaster, write_stations

FORMAT = "%Y-%m-%d %H:%M:%S"
ALL = ("minute", "hour", "weekday", "weekend", "day", "yearday", "month", "quarter", "year")


def by_numpy(moment: datetime) -> dict[str, float]:
    """The features of a moment by the arithmetic of NumPy's dates."""
    at = np.datetime64(moment, "s")
    day, month, year = (at.astype(f"M8[{unit}]") for unit in "DMY")
    seconds = (at - day).astype(int)
    weekday = (day.astype(int) + 3) % 7  # the first day of 1970 was a Thursday
    in_month, in_year = (int((day - begin.astype("M8[D]")).astype(int)) for begin in (month, year))
    month_days = int(((month + 1).astype("M8[D]") - month.astype("M8[D]")).astype(int))
    year_days = int(((year + 1).astype("M8[D]") - year.astype("M8[D]")).astype(int))
    passed = seconds / 86400
    number = int(month.astype(int)) % 12
    numbers = {
        "minute": (seconds // 60 % 60, seconds % 3600 / 3600),
        "hour": (seconds // 3600, passed),
        "weekday": (weekday, (weekday + passed) / 7),
        "weekend": (weekday > 4, None),
        "day": (in_month + 1, (in_month + passed) / month_days),
        "yearday": (in_year + 1, (in_year + passed) / year_days),
        "month": (number + 1, (number + (in_month + passed) / month_days) / 12),
        "quarter": (number // 3 + 1, None),
        "year": (int(year.astype(int)) + 1970, None),
    }
    expected: dict[str, float] = {}
    for name, (whole, part) in numbers.items():
        expected[name] = float(whole)
        if part is not None:
            expected |= {f"{name}_sin": math.sin(2 * math.pi * part), f"{name}_cos": math.cos(2 * math.pi * part)}
    return expected


@given(st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2100, 12, 31)), min_size=1, max_size=5))
def test_features_are_those_of_numpys_calendar(moments: list[datetime]) -> None:
    cells = [moment.strftime(FORMAT) for moment in moments]
    request = Calendar("time", ALL, FORMAT)
    expected = [by_numpy(moment.replace(microsecond=0)) for moment in moments]
    assert set(request.names) == set(expected[0])
    for name in request.names:
        np.testing.assert_allclose(request.numbers(name, cells), [row[name] for row in expected], atol=1e-9)


WINDOW = 'window(["v", "hour", "weekday_sin"], length: 2, target: "v")'
WAYS = {
    "%Y-%m-%d %H:%M": "a common form",
    "%d.%m.%Y %H:%M": "day first",
    "%m/%d/%Y %H:%M": "month first",
    "%Y-%m-%dT%H:%M:%S": "as JSON has it",
}


@pytest.mark.parametrize("way", WAYS)
def test_windows_have_features_of_their_rows(tmp_path: Path, way: str) -> None:
    moments = [datetime(2024, 5, 30 + row // 24 % 2, row % 24) for row in range(40)]
    rows = [f"{moment.strftime(way)},{row}" for row, moment in enumerate(moments)]
    (tmp_path / "s.csv").write_text("\n".join(["time,v", *rows]) + "\n")
    data = f'csv("s.csv") -> calendar("time", features: ["hour", "weekday"]) -> {WINDOW}'
    examples = load(tmp_path, data, "x: f64[batch, time, 3]", "t: f64[batch, 1]")
    expected = [[row, moment.hour, by_numpy(moment)["weekday_sin"]] for row, moment in enumerate(moments)]
    np.testing.assert_allclose(examples.arrays["x"][:, 0], expected[:-2], atol=1e-12)
    fitted = fitted_to(examples)
    assert fitted.dates == {"time": way}
    facts = json.loads(json.dumps(facts_of(fitted)))
    assert parse_facts(facts, None).dates == fitted.dates
    with pytest.raises(ValueError, match="how the dates of `time` are written is not there"):
        parse_facts({**facts, "dates": {}}, None)


def test_dates_of_parquet_have_features(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    moments = [datetime(2024, 2, 28, 22), datetime(2024, 2, 28, 23), datetime(2024, 2, 29, 0), datetime(2024, 2, 29, 1)]
    parquet.write_table(pyarrow.table({"time": moments, "v": [1.0, 2.0, 3.0, 4.0]}), tmp_path / "s.parquet")
    data = 'parquet("s.parquet") -> calendar("time", features: "day") -> columns(inputs: ["day"], targets: "v")'
    examples = load(tmp_path, data, "x: f64[batch, 1]", "t: f64[batch, 1]")
    assert examples.arrays["x"].ravel().tolist() == [28, 28, 29, 29]


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+02:00", "-0330", "+05", ""])
def test_a_date_with_any_time_zone_is_read_as_it_is_written(zone: str, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("time,v\n" + "".join(f"2024-02-28T{hour:02d}:00:00{zone},1\n" for hour in range(4)))
    data = 'csv("s.csv") -> calendar("time", features: "hour") -> columns(inputs: ["hour"], targets: "v")'
    examples = load(tmp_path, data, "x: f64[batch, 1]", "t: f64[batch, 1]")
    assert examples.arrays["x"].ravel().tolist() == [0, 1, 2, 3]


# The cells of a column `time`, the stage, and the diagnostic
REFUSED: dict[str, tuple[list[str], str, str]] = {
    "no dates": (["x", "y"], "", "E823 : column `time` of HERE/s.csv holds no dates: `x`"),
    "dates of two readings": (
        ["01/02/2024", "02/02/2024"],
        "",
        "E823 : the dates in column `time` of HERE/s.csv may be read in two ways: `01/02/2024`",
    ),
    "a cell that is no date": (
        ["2024-01-01", "soon"],
        "",
        "E821 HERE/s.csv:3: column `time`: `soon` is not a date as the others are",
    ),
    "an empty cell": (["2024-01-01", '""'], "", "E821 HERE/s.csv:3: column `time`: the cell is empty"),
    "another format than the one said": (
        ["1.2.2024", "2/2/2024"],
        ', format: "%d.%m.%Y"',
        "E821 HERE/s.csv:3: column `time`: `2/2/2024` is not a date as the others are",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_date_is_refused(tmp_path: Path, case: str) -> None:
    cells, format, expected = REFUSED[case]
    (tmp_path / "s.csv").write_text("time,v\n" + "".join(f"{cell},{row}\n" for row, cell in enumerate(cells)))
    data = f'csv("s.csv") -> calendar("time", features: "day"{format}) -> columns(inputs: "day", targets: "v")'
    assert refused(tmp_path, data, inputs="x: f64[batch, 1]", target="t: f64[batch, 1]") == expected


ORDERS: dict[str, tuple[list[str], str]] = {
    "dates that go back": (
        ["2024-01-03,a,1", "2024-01-02,a,2", "2024-01-04,a,3"],
        "E821 HERE/s.csv:3: column `time` goes back from `2024-01-03` to `2024-01-02`",
    ),
    "dates that go back in one of the series": (
        ["2024-01-03,a,1", "2024-01-02,b,2", "2024-01-04,a,3", "2024-01-01,b,3", "2024-01-05,a,3", "2024-01-06,b,3"],
        "E821 HERE/s.csv:5: column `time` goes back from `2024-01-02` to `2024-01-01`",
    ),
}


@pytest.mark.parametrize("case", ORDERS)
def test_windows_of_dates_that_go_back_are_refused(tmp_path: Path, case: str) -> None:
    rows, expected = ORDERS[case]
    (tmp_path / "s.csv").write_text("\n".join(["time,station,v", *rows]) + "\n")
    data = 'csv("s.csv") -> by("station") -> calendar("time", features: "day") -> window("v", length: 1)'
    assert refused(tmp_path, data) == expected


def test_a_date_after_a_wrong_one_goes_back(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("time,v\n2024-01-01,1\n9024-01-02,2\n2024-01-03,3\n")
    with pytest.raises(NablacError) as caught:
        load(tmp_path, 'csv("s.csv") -> calendar("time", features: "day") -> window("v", length: 1)')
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "column `time` goes back from `9024-01-02` to `2024-01-03`"
    hint = "correct the date, if one of the two is wrong, sort the rows by date, or tell several series apart: "
    assert diagnostic.hint == hint + '`by("station")`'


def test_dates_that_repeat_are_noted(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("time,v\n2024-01-01,1\n2024-01-01,2\n2024-01-02,3\n")
    notes: dict[str, list[str]] = {}
    load(tmp_path, 'csv("s.csv") -> calendar("time", features: "day") -> window("v", length: 1)', notes=notes)
    message = "column `time` has the date of the row before: `by` tells several series apart"
    assert notes == {message: [f"{tmp_path}/s.csv:3"]}


def test_which_of_two_readings_may_be_said(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("time,v\n01/02/2024,1\n02/03/2024,2\n")
    for format, days in (("%d/%m/%Y", [1, 2]), ("%m/%d/%Y", [2, 3])):
        data = (
            f'csv("s.csv") -> calendar("time", features: "day", format: "{format}")'
            ' -> columns(inputs: "day", targets: "v")'
        )
        assert load(tmp_path, data, "x: f64[batch, 1]", "t: f64[batch, 1]").arrays["x"].ravel().tolist() == days


@pytest.mark.parametrize(
    ("format", "example"),
    [
        ("%Y-%m-%d", "2024-12-31"),
        ("%d-%b-%Y %I:%M %p", "31-Dec-2024 11:59 PM"),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-12-31T23:59:58+01:00"),
    ],
)
def test_a_cell_that_is_no_date_is_told_how_dates_are_written(format: str, example: str) -> None:
    hint = f"the dates of the training data are written as in `{example}`: `{format}`"
    assert not_a_date("soon", format) == ("`soon` is not a date as the others are", hint)
    assert not_a_date(" ", format) == ("the cell is empty", None)


def test_features_whose_name_is_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("time,hour\n2024-01-01,1\n2024-01-02,2\n")
    message = refused(tmp_path, 'csv("s.csv") -> calendar("time", features: "hour") -> window("hour", length: 1)')
    assert message == "E823 : `calendar` adds a column `hour`, and there is one of this name"


@pytest.mark.parametrize("features", ['"moon"', '["hour", "moon"]', "[]"])
def test_features_that_dates_do_not_have_are_refused_without_data(tmp_path: Path, features: str) -> None:
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f'csv("s.csv") -> calendar("time", features: {features}) -> window("v", length: 1)')
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E605"
    assert diagnostic.message.startswith("`features` of `calendar` must be one of minute, hour, weekday, weekend, day,")


SPEC = forecaster(
    'by("station") -> calendar("time", features: "hour")'
    ' -> window(["v", "hour_sin", "hour_cos"], length: 4, horizon: 2, target: "v")',
    *(4, 3, 2),
)


@pytest.mark.parametrize("way", ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"])  # another one than in training
def test_predictions_have_the_features_of_their_dates(tmp_path: Path, way: str) -> None:
    moments = [datetime(2024, 1, 1 + row // 24, row % 24) for row in range(30)]
    values = np.random.default_rng(0).normal(size=(2, 30)).round(3)

    for name, form in (("s.csv", "%Y-%m-%d %H:%M"), ("later.csv", way)):
        write_stations(tmp_path / name, [moment.strftime(form) for moment in moments], values.tolist())
    (tmp_path / "m.model").write_text(SPEC)
    succeed("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q")
    done = invoke("run", tmp_path / "run", tmp_path / "later.csv", "-q")
    assert done.exit_code == 2 and "`nablac predict` makes `hour_sin` of the table, as training did" in done.output
    done = succeed("predict", tmp_path / "run", tmp_path / "later.csv", "--steps", "4", "--json", "-q")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    assert [row["time"] for row in rows] == [datetime(2024, 1, 2, 6 + h).strftime(way) for h in range(4)] * 2
    predicted = np.reshape([row["predicted_v"] for row in rows], (2, 4))
    moments += [datetime(2024, 1, 2, 6), datetime(2024, 1, 2, 7)]
    known = np.concatenate([values, predicted[:, :2]], axis=1)
    for end, expected in ((30, predicted[:, :2]), (32, predicted[:, 2:])):  # the second from the first
        features = [by_numpy(moment) for moment in moments[end - 4 : end]]
        windows = [
            [[v, f["hour_sin"], f["hour_cos"]] for v, f in zip(of, features, strict=True)]
            for of in known[:, end - 4 : end]
        ]
        np.save(tmp_path / "x.npy", np.array(windows, np.float32))
        done = succeed("run", tmp_path / "run", tmp_path / "x.npy", "--json", "-q")
        np.testing.assert_allclose(expected, json.loads(done.stdout)["y"], rtol=1e-5)
    write_stations(tmp_path / "later.csv", [f"{moment:%d/%m/%Y %H:%M}" for moment in moments[:30]], values.tolist())
    done = invoke("predict", tmp_path / "run", tmp_path / "later.csv", "-q")
    assert done.stderr == (
        f"error[E821]: column `time`: `01/01/2024 00:00` is not a date as the others are\n --> {tmp_path}/later.csv:2\n"
        "help: the dates of the training data are written as in `2024-12-31 23:59`: `%Y-%m-%d %H:%M`\n"
    )
