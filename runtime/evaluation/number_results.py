"""Numbers that were predicted beside the actual ones: of a regression, or of forecasts and what they have to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict, cast

import numpy as np

from runtime.evaluation.backtest_json import BacktestJson, SeasonJson, season_to_json
from runtime.evaluation.baselines import SEASON, Baselines, Past, Season, season_of
from runtime.evaluation.number_figures import (
    BaselineJson,
    NumberFigures,
    NumberFiguresJson,
    ResidualsJson,
    residuals_to_json,
    skill,
)
from runtime.evaluation.tasks import Task, columns_by_name
from runtime.prediction.series import Window

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples

_MOST_COLUMNS = 64  # more numbers of an example are judged together, as the pixels of a picture


class ForecastStepJson(NumberFiguresJson):
    """The errors at one number of rows ahead."""

    step: Annotated[int, "rows ahead of the last known one"]
    baselines: NotRequired[Annotated[dict[str, BaselineJson], "of a forecast: `last value`, `last season`"]]


class ColumnJson(NumberFiguresJson):
    """The errors of one column of a target."""

    residuals: Annotated[ResidualsJson, "of a forecast those of the first step"]
    baselines: NotRequired[Annotated[dict[str, BaselineJson], "of a forecast: `last value`, `last season`"]]
    steps: NotRequired[Annotated[list[ForecastStepJson], "of a forecast of several rows"]]


class NumberResultJson(TypedDict):
    """The figures of a target of numbers."""

    task: Annotated[str, "`regression` or `forecast`"]
    output: Annotated[str, "the output that predicts the target"]
    units: Annotated[str, "`of the data`"]
    season: NotRequired[Annotated[SeasonJson, "of a forecast"]]
    columns: Annotated[dict[str, ColumnJson], "by name"]
    backtest: NotRequired[Annotated[BacktestJson, "with `--backtest`"]]


@dataclass(frozen=True, eq=False)
class NumberResult:
    """`actual` and `predicted: [examples, steps, columns]` in the units of the data, of examples `rows`.

    `steps` are how many rows ahead of the last known one each is; they are empty of anything but a forecast.
    `about: [examples, steps]` are the numbers of the rows that forecasts are about. `forecasts` are those of each
    baseline by its name.
    """

    task: Task
    rows: Array
    actual: Array
    predicted: Array
    columns: tuple[str, ...]
    steps: tuple[int, ...] = ()
    about: Array | None = None
    forecasts: Mapping[str, Array] = field(default_factory=dict)
    season: Season | None = None
    ordered: bool = False
    notes: tuple[str, ...] = ()

    @property
    def baselines(self) -> list[str]:
        """The names of the baselines."""
        return list(self.forecasts)

    def figures(self, column: int, step: int | None = None) -> NumberFigures:
        """The figures of a column, at all steps or at the one of an index."""
        return self._figures(self.predicted, column, step)

    def baseline(self, name: str, column: int, step: int | None = None) -> NumberFigures:
        """The figures of a baseline, by its name."""
        return self._figures(self.forecasts[name], column, step)

    def skill(self, name: str, column: int, step: int | None = None) -> float | None:
        """The skill against a baseline, of the forecasts that both of them make."""
        chosen = slice(None) if step is None else slice(step, step + 1)
        truth, guess, other = (
            array[:, chosen, column] for array in (self.actual, self.predicted, self.forecasts[name])
        )
        both = np.isfinite(guess) & np.isfinite(other)
        return skill(NumberFigures.of(truth[both], guess[both]), NumberFigures.of(truth[both], other[both]))

    def _figures(self, predicted: Array, column: int, step: int | None) -> NumberFigures:
        chosen = slice(None) if step is None else slice(step, step + 1)
        return NumberFigures.of(self.actual[:, chosen, column], predicted[:, chosen, column])

    def to_json(self) -> NumberResultJson:
        """All figures, column by column."""
        facts: NumberResultJson = {
            "task": self.task.what,
            "output": self.task.output,
            "units": "of the data",
            "columns": {name: self._column_to_json(index) for index, name in enumerate(self.columns)},
        }
        if self.season is not None:
            facts["season"] = season_to_json(self.season)
        return facts

    def _column_to_json(self, column: int) -> ColumnJson:
        first = 0 if self.steps else slice(None)  # of forecasts in time those of the first step
        pair = self.actual[:, first, column], self.predicted[:, first, column]
        figures = self.figures(column).to_json()
        facts = cast("ColumnJson", {**figures, "residuals": residuals_to_json(*pair, self.ordered)})
        if self.forecasts:
            facts["baselines"] = {name: self._baseline_to_json(name, column) for name in self.forecasts}
        if len(self.steps) > 1:
            facts["steps"] = [self._step_to_json(column, index) for index in range(len(self.steps))]
        return facts

    def _step_to_json(self, column: int, index: int) -> ForecastStepJson:
        facts = cast("ForecastStepJson", {**self.figures(column, index).to_json(), "step": self.steps[index]})
        if self.forecasts:
            facts["baselines"] = {name: self._baseline_to_json(name, column, index) for name in self.forecasts}
        return facts

    def _baseline_to_json(self, name: str, column: int, step: int | None = None) -> BaselineJson:
        return {**self.baseline(name, column, step).to_json(), "skill": self.skill(name, column, step)}


def regression_result(task: Task, data: Examples, rows: Array, actual: Array, predicted: Array) -> NumberResult:
    """The result of a regression; arrays of an example of very many numbers are taken as one column."""
    count = len(rows)
    guess = predicted.reshape(actual.shape)
    width = actual.shape[-1] if actual.ndim > 1 else 1
    if width > _MOST_COLUMNS and len(task.columns) != width:
        width = 1
    columns = columns_by_name(task, width)
    shape = (count, -1 if count else 1, width)
    return NumberResult(
        task, rows, _exact(actual, shape), _exact(guess, shape), columns, ordered=data.ordered and actual.size == count
    )


def forecast_result(
    task: Task, window: Window, data: Examples, rows: Array, actual: Array, predicted: Array, period: int | None
) -> NumberResult:
    """The result of forecasts, beside those of the baselines; `period` is the length of a season that the user names.

    Of rows that a window has seen itself nothing is judged, unless it predicts no others.
    """
    columns = columns_by_name(task, max(actual[0].size // window.horizon, 1) if len(actual) else 1)
    shape = (len(rows), window.horizon, len(columns))
    if actual.size != len(rows) * window.horizon * len(columns):
        return regression_result(task, data, rows, actual, predicted)
    ahead = np.arange(window.seen if window.seen < window.horizon else 0, window.horizon)
    truth, guess = (_exact(array, shape)[:, ahead] for array in (actual, predicted))
    steps = window.begin + ahead - window.length + 1
    if data.series is None or data.starts is None or steps[0] < 1:
        return NumberResult(task, rows, truth, guess, columns, tuple(steps.tolist()), ordered=data.ordered)
    origins = data.starts[rows] + window.length - 1
    about = origins[:, None] + steps
    past = Past.of(data.series, columns)
    forecasts, season, notes = {}, None, []
    if past is not None:
        season = season_of(past, int(about.min()) if about.size else 0, period)
        forecasts = Baselines(past, season).forecasts(origins[:, None], steps)
        if season is None:
            notes.append(f"`{task.target}`: no season shows in the data; `--season N` compares with one of N rows")
        elif np.isnan(forecasts[SEASON]).all():
            del forecasts[SEASON]
            notes.append(
                f"`{task.target}`: there are fewer rows before the forecasts than in a season of {season.length:,}"
            )
            season = None
    return NumberResult(
        task, rows, truth, guess, columns, tuple(steps.tolist()), about, forecasts, season, True, tuple(notes)
    )


def _exact(array: Array, shape: tuple[int, ...]) -> Array:
    exact: Array = array.astype(np.float64).reshape(shape)
    return exact
