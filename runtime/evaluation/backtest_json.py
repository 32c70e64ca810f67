"""The figures of a backtest as JSON, and what is said of a season."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from runtime.evaluation.baselines import Season
from runtime.evaluation.number_figures import BaselineJson, NumberFiguresJson


class SeasonJson(TypedDict):
    """The season that `last season` is compared with."""

    rows: Annotated[int, "its length"]
    detected: Annotated[bool, "whether it was found in the data, not set by `--season`"]


class FoldJson(NumberFiguresJson):
    """The errors in one fold of a backtest."""

    first_row: Annotated[int, "that is forecast, from 1"]
    last_row: Annotated[int, "that is forecast"]


class SeriesFoldJson(NumberFiguresJson):
    """The errors in one fold of a backtest of several series."""

    rows: Annotated[int, "how many are forecast"]
    series: Annotated[int, "how many there are"]


class BacktestStepJson(NumberFiguresJson):
    """The errors at one number of rows ahead."""

    step: Annotated[int, "rows ahead of the last known one"]


class BacktestColumnJson(NumberFiguresJson):
    """The errors of one column over all folds."""

    baselines: Annotated[dict[str, BaselineJson], "`last value`, `last season`"]
    folds: Annotated[list[FoldJson | SeriesFoldJson], "in the order of time"]
    steps: Annotated[list[BacktestStepJson], "in order"]


class BacktestJson(TypedDict):
    """Forecasts from later and later rows of a series."""

    folds: Annotated[int, "how many"]
    fed_back: Annotated[bool, "whether a forecast continues from the model's own"]
    rows_left_out: Annotated[int, "rows that nothing is forecast of"]
    season: NotRequired[Annotated[SeasonJson, "if there is one"]]
    columns: Annotated[dict[str, BacktestColumnJson], "by name"]


def season_to_json(season: Season) -> SeasonJson:
    """Its length, and whether it was found in the data."""
    return {"rows": season.length, "detected": season.rows is not None}
