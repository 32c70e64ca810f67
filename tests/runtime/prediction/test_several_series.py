"""Forecasts of several series in one table: those that each has in a table of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from grammar.diagnostics import NablacError
from runtime.data.fitted import Stage
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from tests.runtime.prediction.predictors import of_series, steps_on
from tests.runtime.prediction.test_series import results

DAYS = [f"2024-02-{day:02d}" for day in range(22, 28)]


def of_several(length: int, horizon: int = 1, by: Any = "station") -> Predictor:
    """A model that knows that series rise by 1, and was trained on several."""
    predictor = of_series(steps_on(horizon), length, horizon)
    first, *rest = predictor.recipe.fitted.stages
    stages = (first, Stage("by", {"columns": by}), *rest)
    fitted = replace(predictor.recipe.fitted, stages=stages)
    return replace(predictor, recipe=replace(predictor.recipe, fitted=fitted))


def interleaved(**starts: float) -> dict[str, list[Any]]:
    """A row of each station for every day."""
    return {
        "day": [day for day in DAYS for _ in starts],
        "station": [station for _ in DAYS for station in starts],
        "v": [start + row for row in range(len(DAYS)) for start in starts.values()],
    }


def test_each_series_goes_on_by_itself_with_its_dates() -> None:
    columns = results(of_several(3, 2), interleaved(north=10.0, south=50.0))
    assert columns == {
        "station": ["north", "north", "south", "south"],
        "day": ["2024-02-28", "2024-02-29"] * 2,
        "step": [1, 2, 1, 2],
        "predicted_v": [16, 17, 56, 57],
    }


@pytest.mark.parametrize("options", [{}, {"steps": 3}, {"all": True}, {"keep": "none"}, {"keep": "all"}])
@pytest.mark.parametrize("length", [1, 3])
def test_the_results_are_those_of_tables_of_one_series(length: int, options: dict[str, Any]) -> None:
    table = interleaved(north=10.0, south=50.0)
    whole = results(of_several(length), table, **options)
    for station in ("north", "south"):
        rows = [row for row, name in enumerate(table["station"]) if name == station]
        alone = {name: [values[row] for row in rows] for name, values in table.items()}
        expected = results(of_series(steps_on(1), length), alone, **options)
        chosen = [row for row, name in enumerate(whole["station"]) if name == station]
        assert {name: [whole[name][row] for row in chosen] for name in expected if name != "station"} == {
            name: values for name, values in expected.items() if name != "station"
        }


def test_keys_keep_their_types() -> None:
    table = {"station": [7, 8] * 3, "part": ["x", "x"] * 3, "v": [1.0, 5.0, 2.0, 6.0, 3.0, 7.0]}
    columns = results(of_several(2, by=["station", "part"]), table, keep="none")
    assert columns == {"station": [7, 8], "part": ["x", "x"], "row": [4, 4], "step": [1, 1], "predicted_v": [4, 8]}


def test_a_series_that_is_too_short_is_named_or_left_out() -> None:
    table = interleaved(north=10.0)
    table = {name: [*values, {"day": "2024-02-28", "station": "new", "v": 1.0}[name]] for name, values in table.items()}
    with pytest.raises(NablacError) as caught:
        results(of_several(3), table)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "the series `new` has 1 row, and the model reads the last 3"
    findings = Findings(skip_broken=True)
    assert results(of_several(3), table, findings=findings)["station"] == ["north"]
    assert findings.skipped == 1


def test_a_row_of_no_series_is_refused() -> None:
    with pytest.raises(NablacError) as caught:
        results(of_several(1), {"station": ["a", ""], "v": [1.0, 2.0]})
    assert caught.value.diagnostics[0].message == "column `station`: the cell is empty"
