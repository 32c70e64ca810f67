"""Forecasts that read columns of the rows to predict, of a model whose answer tells which rows it was given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.output_meanings import Meaning
from grammar.diagnostics import NablacError
from runtime.data.fitted import Fitted, Stage
from runtime.data.recipe import Recipe
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from tests.runtime.prediction.predictors import CSV, floats
from tests.runtime.prediction.test_series import results

Array = Any


FORWARD = Stage("fill", {"method": "forward", "columns": [], "flag": False})


def last_plus_price(feeds: dict[str, Array]) -> dict[str, Array]:
    """The last `v` of the past, and a thousand times the first column that is known of each row."""
    return {"y": feeds["x"][:, -1:, :1] + 1000 * feeds["k"][:, :, :1]}


def of_known(
    length: int,
    horizon: int = 1,
    shift: int = 0,
    inputs: tuple[str, ...] = ("v",),
    known: tuple[str, ...] = ("p",),
    stages: tuple[Stage, ...] = (),
    **fitted: Any,
) -> Predictor:
    """A model of windows of `v`, that reads the `known` columns of the rows to predict."""
    arguments = {"columns": list(inputs), "length": length, "horizon": horizon, "shift": shift, "stride": 1}
    facts = Fitted(
        columns={"x": inputs, "k": known},
        targets={"target": ("v",)},
        stages=(CSV, *stages, Stage("window", {**arguments, "target": ["v"], "known": list(known)})),
        known=("k",),
        **fitted,
    )
    types = {"x": floats("time", len(inputs)), "k": floats("later", len(known))}
    return Predictor("M", Recipe(facts, {"y": Meaning("value", "target")}), types, {}, last_plus_price)


def table_of(past: int, later: int, **columns: Any) -> dict[str, Any]:
    """`v` is 0.0, 1.0 and so on, and then missing; `p` counts all rows."""
    return {**columns, "v": [*map(float, range(past)), *[None] * later], "p": list(map(float, range(past + later)))}


# Length, horizon, shift and steps of a forecast of a table of 6 rows and 12 later ones, and what it says
FORECASTS: dict[str, tuple[int, int, int, int | None, list[float]]] = {
    "the next row": (3, 1, 0, None, [6005]),
    "the next rows": (3, 3, 0, None, [6005, 7005, 8005]),
    "fewer than at once": (3, 3, 0, 2, [6005, 7005]),
    "as many as a shift reaches": (4, 4, 2, None, [6005, 7005]),
    # fed back: the last value of the second window is what the first one predicted
    "by feeding back": (3, 2, 0, 5, [6005, 7005, 15005, 16005, 26005]),
    "over a gap": (2, 1, 4, None, [6003, 7004, 8005]),
}


@pytest.mark.parametrize("case", FORECASTS)
def test_a_forecast_reads_the_rows_that_it_is_of(case: str) -> None:
    length, horizon, shift, steps, expected = FORECASTS[case]
    days = [f"2024-02-{day:02d}" for day in range(12, 30)]
    columns = results(of_known(length, horizon, shift), table_of(6, 12, day=days), steps=steps)
    assert columns["predicted_v"] == expected
    assert columns["day"] == days[6 : 6 + len(expected)]
    assert list(columns) == ["day", "step", "predicted_v"]


def test_fed_back_rows_have_the_known_columns_of_the_table() -> None:
    def sum_of_p(feeds: dict[str, Array]) -> dict[str, Array]:
        return {"y": feeds["x"][:, :, 1:].sum(axis=1, keepdims=True)}

    predictor = replace(of_known(3, 1, inputs=("v", "p")), run=sum_of_p)
    assert results(predictor, table_of(4, 3), steps=3)["predicted_v"] == [1 + 2 + 3, 2 + 3 + 4, 3 + 4 + 5]


def test_rows_without_targets_within_the_past_are_no_rows_to_predict() -> None:
    predictor = of_known(2, 1, stages=(FORWARD,), fills={"v": 50.0, "p": 60.0})
    table = {"v": [0.0, 1.0, None, 3.0, None, None], "p": [0.0, 1.0, 2.0, 3.0, 4.0, None]}
    assert results(predictor, table)["predicted_v"] == [4003]
    table["p"][4:] = [None, 5.0]  # the first row ahead is filled by the last one known, as in training
    predictor = of_known(2, 2, stages=(FORWARD,), fills={"v": 50.0, "p": 60.0})
    assert results(predictor, table)["predicted_v"] == [3003, 5003]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 4), st.integers(1, 9), st.integers(0, 6), st.integers(1, 5))
def test_blocks_change_nothing(length: int, horizon: int, shift: int, past: int, later: int, most: int) -> None:
    from runtime.prediction import prediction

    predictor = of_known(length, horizon, shift)
    table = table_of(past, later, row_of=list(range(past + later)))

    def outcome(**request: Any) -> Any:
        try:
            return results(predictor, table, **request)
        except NablacError as error:
            return [(diagnostic.code, diagnostic.message) for diagnostic in error.diagnostics]

    requests: list[dict[str, Any]] = [{}, {"all": True}, {"steps": 4}]
    whole = [outcome(**request) for request in requests]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction, "_ROWS_AT_ONCE", most)
        assert [outcome(**request) for request in requests] == whole
    for outcomes in whole[:2]:
        if isinstance(outcomes, dict) and past + later > 1:
            assert [value // 1000 for value in outcomes["predicted_v"]] == outcomes["row_of"]


def test_the_past_is_predicted_as_far_as_columns_are_known() -> None:
    for later, rows in ((2, [2, 3, 3, 4, 4, 5]), (1, [2, 3, 3, 4]), (0, [2, 3])):
        findings = Findings()
        table = table_of(4, later, row_of=list(range(4 + later)))
        columns = results(of_known(2, 2), table, all=True, findings=findings)
        assert columns["row_of"] == rows
        assert columns["predicted_v"] == [
            1000 * row + origin for row, origin in zip(rows, [1, 1, 2, 2, 3, 3], strict=False)
        ]
        notes = {2: [], 1: ["the last window has"], 0: ["the last 2 windows have"]}[later]
        said = "no prediction, as `p` of the rows that it is of is not in the table"
        assert list(findings.notes) == [f"{note} {said}" for note in notes]


HOURS = [str(datetime(2024, 2, 28, 20) + timedelta(hours=hour)) for hour in range(12)]


def of_hours(known: tuple[str, ...] = ("hour",), inputs: tuple[str, ...] = ("v",), horizon: int = 3) -> Predictor:
    stages = (Stage("calendar", {"column": "time", "features": ["hour"], "format": ""}),)
    return of_known(2, horizon, inputs=inputs, known=known, stages=stages, dates={"time": "%Y-%m-%d %H:%M:%S"})


@pytest.mark.parametrize("later", range(5))
def test_dates_go_on_by_themselves(later: int) -> None:
    """With the first rows to predict in the table, with all, and with none."""
    table = {"time": HOURS[: 3 + later], "v": [0.0, 1.0, 2.0, *[None] * later]}
    assert results(of_hours(), table) == {
        "time": HOURS[3:6],
        "step": [1, 2, 3],
        "predicted_v": [23002, 2, 1002],
    }
    columns = results(of_hours(inputs=("v", "hour")), table, steps=6)
    assert columns["predicted_v"] == [23002, 2, 1002, 3002, 4002, 5002]
    assert columns["time"] == HOURS[3:9]


@pytest.mark.parametrize("later", [0, 1, 3])
@pytest.mark.parametrize(
    ("format", "change"),
    [
        ("%d-%b-%Y %I:%M %p", str),
        ("%d-%b-%Y %I:%M %p", str.lower),
        ("%d-%b-%Y %I:%M %p", str.upper),
        ("%d.%m.%Y %Hh", str),
        ("%Y%m%dT%H%M", str),
        ("%m/%d/%Y %H:%M", str),  # which may be read in two ways
    ],
)
def test_dates_go_on_as_training_reads_them(format: str, change: Callable[[str], str], later: int) -> None:
    times = [change((datetime(2024, 2, 2, 20) + timedelta(hours=hour)).strftime(format)) for hour in range(6)]
    predictor = of_hours()
    fitted = replace(predictor.recipe.fitted, dates={"time": format})
    predictor = replace(predictor, recipe=replace(predictor.recipe, fitted=fitted))
    table = {"time": times[: 3 + later], "v": [0.0, 1.0, 2.0, *[None] * later]}
    assert results(predictor, table) == {"time": times[3:], "step": [1, 2, 3], "predicted_v": [23002, 2, 1002]}


# The dates of three past rows and of three to predict, and the diagnostic
BAD_DATES: dict[str, tuple[str, str]] = {
    "no date ahead": ("1 2 3 4 x 6", ":6: column `time`: `2024-02-x` is not a date as the others are"),
    "two past rows swapped": ("2 1 3 4 5 6", ":3: column `time` goes back from `2024-02-2` to `2024-02-1`"),
    "two later rows swapped": ("1 2 3 4 6 5", ":7: column `time` goes back from `2024-02-6` to `2024-02-5`"),
    "later rows before the past": ("4 5 6 1 2 3", ":5: column `time` goes back from `2024-02-6` to `2024-02-1`"),
}


@pytest.mark.parametrize("known", [("hour",), ("p",)])
@pytest.mark.parametrize("case", BAD_DATES)
def test_dates_that_cannot_be_are_refused_as_in_training(tmp_path: Path, case: str, known: tuple[str, ...]) -> None:
    """Also where the model reads the dates of past rows alone."""
    days, message = BAD_DATES[case]
    path = tmp_path / "t.csv"
    rows = zip(days.split(), ["1", "2", "3", "", "", ""], strict=True)
    path.write_text("time,v,p\n" + "".join(f"2024-02-{day},{v},1\n" for day, v in rows))
    predictor = of_hours(known, ("v", "hour"), 2)
    fitted = replace(predictor.recipe.fitted, dates={"time": "%Y-%m-%d"})
    predictor = replace(predictor, recipe=replace(predictor.recipe, fitted=fitted))
    assert refused(predictor, path)[0] == f"E821 {path}{message}"


def test_a_date_that_training_did_not_read_is_not_lost() -> None:
    table = table_of(3, 2, day=["2024-02-26", "2024-02-27", "2024-02-28", "soon", "2024-03-01"])
    message, _ = refused(of_known(2, 2), table)
    assert message == "E821 the table:4: column `day`: `soon` is not a date as the others are"


def test_dates_of_the_table_need_no_common_step() -> None:
    times = [
        "2024-02-28 20:00:00",
        "2024-02-28 21:00:00",
        "2024-02-29 05:00:00",
        "2024-02-29 09:00:00",
        "2024-03-02 11:00:00",
    ]
    table = {"time": times, "v": [0.0, 1.0, None, None, None]}
    assert results(of_hours(), table) == {"time": times[2:], "step": [1, 2, 3], "predicted_v": [5001, 9001, 11001]}
    shorter = {name: values[:3] for name, values in table.items()}
    assert refused(of_hours(), shorter) == (
        "E882 the table: the dates in `time` do not go on by one step, and the model reads those of later rows",
        "add the rows to predict with their dates",
    )


def test_each_series_has_rows_of_its_own() -> None:
    stages = (Stage("by", {"columns": "s"}),)
    table = {
        "s": ["a", "b"] * 5,
        "day": [f"2024-02-{day}" for day in range(25, 30) for _ in "ab"],
        "v": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, None, None, None, None],
        "p": [0.0] * 6 + [1.0, 2.0, 3.0, 4.0],
    }
    assert results(of_known(2, 2, stages=stages), table) == {
        "s": ["a", "a", "b", "b"],
        "day": ["2024-02-28", "2024-02-29"] * 2,
        "step": [1, 2, 1, 2],
        "predicted_v": [1005, 3005, 2006, 4006],
    }


def refused(predictor: Predictor, *tables: Any, **request: Any) -> tuple[str, str | None]:
    """The one diagnostic of a prediction that cannot be made, and its hint."""
    with pytest.raises(NablacError) as caught:
        results(predictor, *tables, **request)
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.code} {diagnostic.place}: {diagnostic.message}", diagnostic.hint


ADD = "add the rows to predict: with dates and `p`, and `v` empty"
# The lines of a CSV file after `v,p`, the stages before `window`, and the diagnostic with its hint
MISSING: dict[str, tuple[list[str], tuple[Stage, ...], int | None, str, str]] = {
    "no later row": (
        ["1,1", "2,2"],
        (),
        None,
        "HERE:3: the model reads `p` of the 2 rows that it predicts, and none follows the last row with `v`",
        ADD,
    ),
    "too few": (
        ["1,1", "2,2", ",3"],
        (),
        None,
        "HERE:4: the model reads `p` of the 2 rows that it predicts, and 1 follows the last row with `v`",
        ADD,
    ),
    "too few for more steps": (
        ["1,1", "2,2", ",3", ",4", ",5"],
        (),
        3,
        "HERE:6: the model reads `p` of the 4 rows that it predicts, and 3 follow the last row with `v`",
        ADD,
    ),
    "an empty cell": (
        ["1,1", "2,2", ",3", ","],
        (),
        None,
        "HERE:5: column `p`: the cell is empty, and the model reads it of the rows that it predicts",
        "`p` is known ahead: fill in the cell, or train with `fill`",
    ),
    "nothing in a column that is filled": (
        ["1,1", "2,2", ",", ",", ",5"],
        (FORWARD,),
        None,
        "HERE:4: column `p`: no row to predict has a number, and the model reads 2 of them",
        "`p` is known ahead: fill in its cells in the rows without `v`",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_is_named(tmp_path: Path, case: str) -> None:
    lines, stages, steps, message, hint = MISSING[case]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["v,p", *lines]) + "\n")
    predictor = of_known(2, 2, stages=stages, fills={"v": 0.0, "p": 0.0} if stages else {})
    assert refused(predictor, path, steps=steps) == (f"E884 {message}".replace("HERE", str(path)), hint)


def test_a_broken_row_ahead_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("v,p\n1,1\n2,2\n,x\n,4\n")
    message, _ = refused(of_known(2, 2), path)
    assert message == f"E821 {path}:4: column `p`: `x` is not a number"
    with pytest.raises(NablacError) as caught:
        results(of_known(2, 2), path, findings=Findings(skip_broken=True))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.place == f"{path}:4"
    assert diagnostic.message == "the row is broken, and the model reads `p` of all rows that it predicts"


@pytest.mark.parametrize(("lines", "line"), [("1,1\n2,2\n,3,5\n,4\n,5\n", 5), ("1,1\n2,2\nx,3\n,4\n,5\n", 5)])
def test_rows_ahead_follow_the_past_without_a_gap(tmp_path: Path, lines: str, line: int) -> None:
    """A row of too many cells, and a last row of the past that is no number."""
    path = tmp_path / "t.csv"
    path.write_text(f"v,p\n{lines}")
    with pytest.raises(NablacError) as caught:
        results(of_known(2, 2), path, findings=Findings(skip_broken=True))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place) == ("E884", f"{path}:{line}")
    assert diagnostic.message == "rows before this line are left out, and the model reads all rows that it predicts"


def test_a_series_that_lacks_them_is_named_or_left_out() -> None:
    table = {"s": ["a", "a", "b", "b", "b"], "v": [1.0, 2.0, 3.0, 4.0, None], "p": [0.0] * 4 + [7.0]}
    predictor = of_known(2, 1, stages=(Stage("by", {"columns": "s"}),))
    message, _ = refused(predictor, table)
    assert message == (
        "E884 the table:2: the model reads `p` of the 1 row that it predicts, and none follows the last row of the"
        " series `a` with `v`"
    )
    findings = Findings(skip_broken=True)
    assert results(predictor, table, findings=findings)["predicted_v"] == [7004]
    assert findings.skipped == 1


def test_steps_need_columns_that_are_predicted_or_known() -> None:
    predictor = of_known(2, 1, inputs=("v", "wind", "p"))
    table = {"v": [1.0, 2.0, None, None], "wind": [1.0] * 4, "p": [1.0] * 4}
    message, _ = refused(predictor, table, steps=2)
    assert message == "E882 --steps: 2 steps need later rows of `wind`, which the model reads and does not predict"
    assert results(predictor, table)["predicted_v"] == [1002]


@pytest.mark.parametrize("wind", [1.0, -5.0, None, "calm"])
def test_other_columns_of_rows_ahead_are_not_read(wind: Any) -> None:
    table = {"v": [1.0, 2.0, None, None], "wind": [1.0, 1.0, wind, wind], "p": [0.0, 0.0, 3.0, 4.0]}
    predictor = replace(
        of_known(2, 2, inputs=("v", "wind")), run=lambda feeds: {"y": feeds["x"].sum() + feeds["k"][:, :, :1]}
    )
    assert results(predictor, table)["predicted_v"] == [8, 9]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_tables_of_every_form_have_rows_ahead(tmp_path: Path, suffix: str) -> None:
    table = {"day": [f"2024-02-{day}" for day in range(25, 30)], "v": [1.0, 2.0, 3.0, None, None], "p": [0, 0, 0, 4, 5]}
    path = tmp_path / f"t.{suffix}"
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(table), path)
    elif suffix == "csv":
        lines = [",".join("" if cell is None else str(cell) for cell in row.values()) for row in rows]
        path.write_text("\n".join([",".join(table), *lines]) + "\n")
    else:
        path.write_text(json.dumps(rows) if suffix == "json" else "".join(f"{json.dumps(row)}\n" for row in rows))
    columns = results(of_known(2, 2), path)
    assert (columns["day"], columns["predicted_v"]) == (["2024-02-28", "2024-02-29"], [4003, 5003])


def test_frames_and_missing_numbers_from_python() -> None:
    table = {"v": np.array([1.0, 2.0, np.nan]), "p": np.array([0, 0, 4])}
    assert results(of_known(2), table)["predicted_v"] == [4002]
