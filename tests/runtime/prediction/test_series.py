"""Forecasts of a model that knows how its series goes on: which rows each number is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.data.fitted import Stage
from runtime.prediction import prediction
from runtime.prediction.findings import Findings
from runtime.prediction.prediction import Request, predict
from runtime.prediction.predictor import Predictor
from tests.runtime.prediction.predictors import of_series, steps_on

Array = Any


def results(
    predictor: Predictor, *tables: Any, findings: Findings | None = None, **request: Any
) -> dict[str, list[Any]]:
    """All columns of the results."""
    inputs = tables[0] if isinstance(tables[0], dict) else [str(path) for path in tables]
    parts = list(predict(predictor, inputs, Request(**request), findings or Findings()))
    return {name: [value for part in parts for value in list(part[name])] for name in parts[0]}


def rising(count: int, **columns: Any) -> dict[str, Any]:
    """A series 10, 11, 12 and so on."""
    return {**columns, "v": [10.0 + row for row in range(count)]}


# Length, horizon and shift of a window, the steps asked for, and the rows of 8 that are predicted beyond
FORECASTS: dict[str, tuple[int, int, int, int | None, int]] = {
    "the next row": (3, 1, 0, None, 1),
    "the next rows": (3, 4, 0, None, 4),
    "fewer than at once": (3, 4, 0, 2, 2),
    "more by feeding back": (3, 1, 0, 5, 5),
    "more by feeding blocks back": (3, 2, 0, 5, 5),
    "as far as a shift reaches": (4, 4, 1, None, 1),
    "further than a shift reaches": (4, 4, 2, 5, 5),
    "a window as long as the series": (8, 1, 0, None, 1),
    "over a gap": (3, 1, 5, None, 3),
    "several rows over a gap": (3, 2, 4, None, 3),
    "more over a gap": (3, 2, 5, 9, 9),
    "fewer over a gap": (3, 2, 5, 1, 1),
}


def test_columns_that_hold_nothing_are_not_in_a_forecast() -> None:
    blank: dict[str, list[Any]] = {"wind": [""] * 8, "humidity": [None] * 8, "snow": [float("nan")] * 8}
    columns = results(of_series(steps_on(2, 0), 3, 2), rising(8, site=["n"] * 8, **blank))
    assert columns["site"] == ["n", "n"]
    assert not blank.keys() & columns.keys()


@pytest.mark.parametrize("case", FORECASTS)
def test_a_forecast_begins_behind_the_last_row(case: str) -> None:
    length, horizon, shift, steps, count = FORECASTS[case]
    predictor = of_series(steps_on(horizon, shift), length, horizon, shift)
    days = [f"2024-02-{day:02d}" for day in range(22, 30)]
    columns = results(predictor, rising(8, day=days), steps=steps)
    assert columns["predicted_v"] == [18.0 + step for step in range(count)]
    assert columns["step"] == list(range(1, count + 1))
    assert columns["day"] == [f"2024-03-{day:02d}" for day in range(1, count + 1)]
    assert list(columns) == ["day", "step", "predicted_v"]


def test_every_window_is_predicted_in_batches_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, table = of_series(steps_on(2), 3, 2), rising(20)
    at_once = results(predictor, table, all=True)
    assert len(at_once["step"]) == 36 and at_once["predicted_v"][-2:] == [30, 31]
    monkeypatch.setattr(Predictor, "batch", lambda self, shapes=None: 4)
    assert results(predictor, table, all=True) == at_once


def test_rows_are_counted_where_no_column_goes_on() -> None:
    columns = results(of_series(steps_on(2), 3, 2), rising(8, note=list("abcdefgh")))
    assert columns == {"row": [9, 10], "step": [1, 2], "predicted_v": [18, 19]}


def test_what_is_the_same_all_along_goes_on() -> None:
    table = rising(4, station=["north"] * 4, day=["2023", "2024", "2025", "2026"], weight=[5.0] * 4)
    columns = results(of_series(steps_on(1), 3), table, steps=2)
    assert (
        columns["station"] == ["north", "north"]
        and columns["weight"] == [5.0, 5.0]
        and columns["day"] == ["2027", "2028"]
    )
    assert list(results(of_series(steps_on(1), 3), table, keep="none")) == ["row", "step", "predicted_v"]


def test_a_column_that_is_predicted_or_read_does_not_go_on() -> None:
    def last_of_first(feeds: dict[str, Array]) -> dict[str, Array]:
        return {"y": feeds["x"][:, -1:, :1]}

    predictor = of_series(last_of_first, 2, inputs=("v", "w"), targets=("t",))
    table = {"w": [1.0, 2.0, 3.0], "v": [5.0, 6.0, 7.0], "t": [1.0, 1.0, 1.0], "year": [2001, 2002, 2003]}
    assert results(predictor, table) == {"year": [2004], "step": [1], "predicted_t": [7.0]}


# As above, of 8 rows: the row of each prediction and how far ahead it is
PAST: dict[str, tuple[int, int, int, list[int], list[int]]] = {
    "the next row": (3, 1, 0, [4, 5, 6, 7, 8, 9], []),
    "two rows": (5, 2, 0, [6, 7, 7, 8, 8, 9, 9, 10], [1, 2] * 4),
    "a shift of one": (5, 5, 1, [6, 7, 8, 9], []),
    "a shift of two": (6, 6, 2, [7, 8, 8, 9, 9, 10], [1, 2] * 3),
    "over a gap": (3, 1, 5, [6, 7, 8, 9, 10, 11], []),
    "rows that it has seen": (6, 2, 1, [2, 3, 3, 4, 4, 5], [-4, -3] * 3),
}


@pytest.mark.parametrize("case", PAST)
def test_every_window_of_the_past_predicts(case: str) -> None:
    length, horizon, shift, rows, steps = PAST[case]
    predictor = of_series(steps_on(horizon, shift), length, horizon, shift)
    columns = results(predictor, rising(8, row_of=list(range(1, 9))), all=True)
    assert columns["predicted_v"] == [9.0 + row for row in rows]
    assert columns["row_of"] == rows
    assert columns["v"] == [9.0 + row if row <= 8 else None for row in rows]
    assert columns.get("step", []) == steps


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 6), st.integers(1, 30), st.integers(1, 7))
def test_blocks_do_not_change_what_is_predicted(length: int, horizon: int, shift: int, count: int, most: int) -> None:
    predictor = of_series(steps_on(horizon, shift), length, horizon, shift)
    table = rising(count, row_of=list(range(1, count + 1)))

    def outcome(**request: Any) -> Any:
        try:
            return results(predictor, table, **request)
        except NablacError as error:
            return [diagnostic.code for diagnostic in error.diagnostics]

    whole = [outcome(), outcome(all=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction, "_ROWS_AT_ONCE", most)
        assert [outcome(), outcome(all=True)] == whole
    for predictions in whole:
        if isinstance(predictions, dict) and count > 1:
            assert predictions["predicted_v"] == [9.0 + row for row in predictions["row_of"]]


def test_the_future_changes_nothing_of_the_past() -> None:
    predictor = of_series(steps_on(2), 4, 2)
    table, other = rising(12), rising(12)
    other["v"][9:] = [500.0, -3.0, 8.0]
    before, after = results(predictor, table, all=True), results(predictor, other, all=True)
    untouched = [index for index, (row, step) in enumerate(zip(range(5, 20), before["step"])) if index < 12]
    assert before["predicted_v"][: len(untouched)] == after["predicted_v"][: len(untouched)]


def test_each_file_is_a_series_of_its_own(tmp_path: Path) -> None:
    for name, start in (("a.csv", 0), ("b.csv", 50)):
        (tmp_path / name).write_text("v\n" + "".join(f"{start + row}\n" for row in range(4)))
    columns = results(of_series(steps_on(1), 3), tmp_path / "a.csv", tmp_path / "b.csv")
    assert columns["predicted_v"] == [4.0, 54.0]
    assert columns["file"] == [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]


def refused(predictor: Predictor, *tables: Any, **request: Any) -> str:
    """The one diagnostic of a prediction that cannot be made."""
    with pytest.raises(NablacError) as caught:
        results(predictor, *tables, **request)
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.code} {diagnostic.place}: {diagnostic.message}"


def test_a_series_shorter_than_a_window_is_refused() -> None:
    for request in ({}, {"all": True}):
        message = refused(of_series(steps_on(1), 9), rising(8), **request)
        assert message == "E883 the table: the series has 8 rows, and the model reads the last 9"


def test_a_gap_in_the_last_window_is_refused_and_others_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("v,w\n" + "".join(f"{row},{'x' if row == 6 else ''}\n" for row in range(8)).replace("6,x", "x,x"))
    predictor = of_series(steps_on(1), 3)
    assert refused(predictor, path) == f"E821 {path}:8: column `v`: `x` is not a number"
    skipping = Findings(skip_broken=True)
    with pytest.raises(NablacError) as caught:
        results(predictor, path, findings=skipping)
    message = "rows after line 7 are left out, and the model reads the last 3 without a gap"
    assert caught.value.diagnostics[0].message == message
    columns = results(predictor, path, findings=Findings(skip_broken=True), all=True)
    assert columns["predicted_v"] == [3.0, 4.0, 5.0]


def dated_model() -> Predictor:
    """A model of three rows, whose training read the dates in `when`."""
    predictor = of_series(steps_on(1), 3)
    stages = (*predictor.recipe.fitted.stages, Stage("calendar", {"column": "when", "features": "hour"}))
    fitted = replace(predictor.recipe.fitted, stages=stages, dates={"when": "%Y-%m-%d %H:%M"})
    return replace(predictor, recipe=replace(predictor.recipe, fitted=fitted))


@pytest.mark.parametrize("most", [1, 7, 90, 1 << 14])
@pytest.mark.parametrize("regular", [False, True])
def test_the_first_dates_of_a_series_say_where_rows_are_missing(
    regular: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows a block has; of series without one step none is missing, though the last hundred rows have one.

    Each begins with 20 hours, followed by a step of three, and ends with hours after another of three.
    """
    monkeypatch.setattr(prediction, "_ROWS_AT_ONCE", most)
    between = [1] * 460 if regular else [1, 2] * 230
    steps = np.array([0, *[1] * 19, 3, *between, *[1] * 60, 3, *[1] * 40])
    table = {"v": [float(row) for row in range(len(steps))]}
    table["when"] = [f"{datetime(2024, 1, 1) + timedelta(hours=int(hour)):%Y-%m-%d %H:%M}" for hour in steps.cumsum()]
    gaps = set(np.flatnonzero(steps == 3).tolist()) if regular else set()
    expected = [float(row) for row in range(3, len(steps) + 1) if not gaps & {row - 2, row - 1, row}]
    assert results(dated_model(), table, all=True)["predicted_v"] == expected


def test_rows_that_are_missing_by_their_dates_are_a_gap() -> None:
    """Of 20 hours the last but one is missing, by the dates that training read."""
    dated = dated_model()
    hours = [*range(18), 19]
    table = {"v": [float(hour) for hour in hours], "when": [f"2024-01-01 {hour:02d}:00" for hour in hours]}
    message = "rows after line 18 are missing, by their dates, and the model reads the last 3 without a gap"
    assert refused(dated, table) == f"E883 the table: {message}"
    with pytest.raises(NablacError) as caught:
        results(dated, table)
    hint = 'a model trained with `fill("forward", rows: "when")` inserts them'
    assert caught.value.diagnostics[0].hint == hint
    assert results(dated, table, all=True)["predicted_v"] == [float(hour) for hour in range(3, 18)]
    table["when"][-1] = "9024-01-01 19:00"
    with pytest.raises(NablacError) as caught:
        results(dated, table)
    hours_between = (datetime(9024, 1, 1, 19) - datetime(2024, 1, 1, 17)) // timedelta(hours=1) - 1
    hint = f"correct the date: from `2024-01-01 17:00` to `9024-01-01 19:00` {hours_between:,} rows are missing, "
    assert caught.value.diagnostics[0].hint == hint + "more than the series has"


def test_steps_that_need_what_nobody_knows_are_refused() -> None:
    predictor = of_series(steps_on(1), 3, inputs=("v", "wind", "rain"), targets=("v",))
    table = {name: [1.0, 2.0, 3.0, 4.0] for name in ("v", "wind", "rain")}
    message = "2 steps need later rows of `wind`, `rain`, which the model reads and does not predict"
    assert refused(predictor, table, steps=2) == f"E882 --steps: {message}"
    with pytest.raises(NablacError, match="it predicts one row at once; only a model that predicts every column"):
        results(predictor, table, steps=2)


def test_a_model_that_looks_at_no_later_row_has_no_forecast() -> None:
    predictor = of_series(steps_on(2, 1), 6, 2, 1)
    assert refused(predictor, rising(8)).startswith("E882 M: the model looks at no row beyond its window")


def test_series_are_asked_of_models_of_series() -> None:
    from tests.runtime.prediction.predictors import of_rows

    predictor = of_rows(lambda feeds: {"y": feeds["x"][:, :1]})
    for request, option in (({"steps": 2}, "--steps"), ({"all": True}, "--all")):
        message = refused(predictor, {"a": [1.0], "b": [2.0]}, **request)
        assert message == f"E881 {option}: `{option}` is about series, and the model was not trained on `window(...)`"


def test_dates_that_are_not_evenly_spaced_are_said() -> None:
    days = ["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05", "2024-01-06"]
    findings = Findings()
    columns = results(of_series(steps_on(1), 3), rising(5, day=days), findings=findings)
    assert columns["day"] == ["2024-01-07"]
    assert findings.lines() == ["note: the dates in `day` are not evenly spaced: they go on by 1 day: the table"]


def test_series_one_after_another_in_each_row_of_a_file_are_said() -> None:
    days = ["2024-01-01", "2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03", "2024-01-03"]
    findings = Findings()
    columns = results(of_series(steps_on(1), 3), rising(6, day=days), findings=findings)
    assert "day" not in columns
    assert findings.lines() == [
        "note: the dates in `day` do not go on by one step, so the forecast has none; "
        "all rows of a file are read as one series: the table"
    ]


def test_a_series_from_the_last_to_the_first_is_said() -> None:
    findings = Findings()
    results(of_series(steps_on(1), 2), rising(3, year=[2003, 2002, 2001]), findings=findings)
    assert findings.lines() == [
        "note: `year` runs backwards, and a forecast is of what comes after the last row: the table"
    ]


def test_numbers_that_were_fed_back_are_those_of_one_model_after_another() -> None:
    """The second step sees the first one's number, in the type that the model gave it."""
    seen: list[Array] = []

    def third(feeds: dict[str, Array]) -> dict[str, Array]:
        seen.append(feeds["x"].copy())
        return {"y": feeds["x"].mean(axis=1, keepdims=True) / np.float32(3)}

    columns = results(of_series(third, 2), {"v": [1.0, 2.0]}, steps=3)
    assert [window.ravel().tolist() for window in seen] == [
        [1.0, 2.0],
        [2.0, 0.5],
        [0.5, float(np.float32(1.25) / np.float32(3))],
    ]
    assert columns["predicted_v"][0] == 0.5
