"""Walk-forward backtests: forecasts from later and later rows of a series, each of what comes after its origin.

The weights are the trained ones, and every forecast reads rows before its origin alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.examples import Examples
from runtime.data.filling import interpolated
from runtime.evaluation.backtest_json import BacktestColumnJson, BacktestJson, FoldJson, SeriesFoldJson, season_to_json
from runtime.evaluation.baselines import Baselines, Past, Season, season_of
from runtime.evaluation.number_figures import NumberFigures, skill
from runtime.evaluation.tasks import Task
from runtime.prediction.series import Window

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Series
    from runtime.prediction.predictor import Predictor

_AT_ONCE = 256  # forecasts


@dataclass(frozen=True, eq=False)
class Fold:
    """The forecasts of consecutive rows: `actual` and `predicted: [rows, columns]`, with what baselines forecast.

    `steps: [rows]` are how many rows ahead of its origin each forecast is.
    """

    rows: Array  # their numbers among all rows of the series
    steps: Array
    actual: Array
    predicted: Array
    forecasts: Mapping[str, Array]
    series: int = 1  # how many series the rows are of


@dataclass(frozen=True, eq=False)
class Backtest:
    """The folds of a backtest in the order of time; `fed_back` where a forecast continues from the model's own."""

    columns: tuple[str, ...]
    folds: tuple[Fold, ...]
    fed_back: bool
    season: Season | None
    skipped: int  # rows that nothing is forecast of: the rows before them are too few, or known ones after them

    def figures(self, column: int, folds: Sequence[Fold] | None = None) -> NumberFigures:
        """The figures of a column over all folds, or over some."""
        chosen = self.folds if folds is None else folds
        return NumberFigures.of(*(_column(chosen, name, column) for name in ("actual", "predicted")))

    def baseline(self, name: str, column: int, folds: Sequence[Fold] | None = None) -> NumberFigures:
        """The figures of a baseline."""
        chosen = self.folds if folds is None else folds
        forecasts = [fold.forecasts[name][:, column] for fold in chosen]
        return NumberFigures.of(_column(chosen, "actual", column), _joined(forecasts))

    def skill(self, name: str, column: int) -> float | None:
        """The skill against a baseline, of the forecasts that both of them make."""
        truth, guess = (_column(self.folds, part, column) for part in ("actual", "predicted"))
        other = _joined([fold.forecasts[name][:, column] for fold in self.folds])
        both = np.isfinite(guess) & np.isfinite(other)
        return skill(NumberFigures.of(truth[both], guess[both]), NumberFigures.of(truth[both], other[both]))

    @property
    def baselines(self) -> list[str]:
        """The names of the baselines."""
        return list(self.folds[0].forecasts) if self.folds else []

    def by_step(self, column: int) -> list[tuple[int, NumberFigures]]:
        """The figures of each number of rows ahead."""
        steps = _joined([fold.steps for fold in self.folds])
        truth, guess = (_column(self.folds, part, column) for part in ("actual", "predicted"))
        return [(int(step), NumberFigures.of(truth[steps == step], guess[steps == step])) for step in np.unique(steps)]

    def to_json(self) -> BacktestJson:
        """All figures, column by column."""
        facts: BacktestJson = {
            "folds": len(self.folds),
            "fed_back": self.fed_back,
            "rows_left_out": self.skipped,
            "columns": {name: self._column_to_json(index) for index, name in enumerate(self.columns)},
        }
        if self.season is not None:
            facts["season"] = season_to_json(self.season)
        return facts

    def _column_to_json(self, column: int) -> BacktestColumnJson:
        return {
            **self.figures(column).to_json(),
            "baselines": {
                name: {**self.baseline(name, column).to_json(), "skill": self.skill(name, column)}
                for name in self.baselines
            },
            "folds": [self._fold_to_json(column, fold) for fold in self.folds],
            "steps": [{**figures.to_json(), "step": step} for step, figures in self.by_step(column)],
        }

    def _fold_to_json(self, column: int, fold: Fold) -> FoldJson | SeriesFoldJson:
        """The figures of a fold, and which rows it is about; of several series how many."""
        figures = self.figures(column, [fold]).to_json()
        if fold.series > 1:
            return {**figures, "rows": len(fold.rows), "series": fold.series}
        return {**figures, "first_row": int(fold.rows[0]) + 1, "last_row": int(fold.rows[-1]) + 1}


def _column(folds: Sequence[Fold], part: str, column: int) -> Array:
    return _joined([getattr(fold, part)[:, column] for fold in folds])


def _joined(arrays: list[Array]) -> Array:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def backtest(
    predictor: Predictor, task: Task, data: Examples, part: str, folds: int, period: int | None, batch: int
) -> Backtest:
    """Forecasts of the rows that a part's targets lie in, cut into `folds` of about one length.

    A model that predicts all columns that it reads forecasts a fold as a whole from the rows before it, by feeding
    back; any other forecasts as many rows as it predicts at once, and goes on from the actual ones. NablacError for
    data that is not a series, and for a model that predicts no row beyond its window.
    """
    window = Window.of(predictor.recipe)
    if window is None or data.series is None or data.starts is None or task.what != "forecast":
        raise NablacError(
            Diagnostic(
                codes.E881, "a backtest is of a series, and the model was not trained on one", place="--backtest"
            )
        )
    beyond = window.horizon - window.seen
    if beyond <= 0:
        message = "the model looks at no row beyond its window: it forecasts none"
        raise NablacError(Diagnostic(codes.E882, message, place="--backtest"))
    series, columns = data.series, task.columns
    past = Past.of(series, columns)
    assert past is not None  # a window is cut of its inputs and targets alike
    spans = _spans(series, data.starts[data.parts[part]], window)
    season = season_of(past, spans[0][0], period)
    if season is not None and all(season.length > last - begin for _, last, begin in spans):
        season = None  # no row has one before it
    naive = Baselines(past, season)
    fed_back = feeds_back(predictor, series, columns)
    inside = [np.flatnonzero((series.rows >= first) & (series.rows <= last)) for first, last, _ in spans]
    count = min(folds, max(map(len, inside)))
    blocks = list(zip(*(np.array_split(rows, count) for rows in inside), strict=True))
    forecaster = _Forecaster(predictor, task, series, window, batch)
    runs = [
        [forecaster.with_known(run) for rows in block if len(rows) for run in _Forecast.of(rows, beyond, fed_back)]
        for block in blocks
    ]
    predicted = forecaster.run([origin for run in runs for origin in run])
    results, skipped, offset = [], sum(map(len, inside)), 0
    for run in runs:
        whole = [
            (origin, rows)
            for origin, rows in zip(run, predicted[offset : offset + len(run)], strict=True)
            if rows is not None and len(rows)
        ]
        offset += len(run)
        skipped -= sum(origin.count for origin, _ in whole)
        if whole:
            results.append(_fold(series, naive, whole))
    return Backtest(columns, tuple(results), fed_back, season, skipped)


def _spans(series: Series, starts: Array, window: Window) -> list[tuple[int, int, int]]:
    """Of each series whose windows begin at `starts`: the first and last row that they predict, and its first row."""
    borders = np.array(series.borders, int)
    of_starts, of_rows = (np.searchsorted(borders, numbers, side="right") for numbers in (starts, series.rows))
    spans: list[tuple[int, int, int]] = []
    for number in np.unique(of_starts):
        about = starts[of_starts == number] + window.begin
        first, last = int(about.min()) + window.seen, int(about.max()) + window.horizon - 1
        spans.append((first, last, int(series.rows[of_rows == number][0])))
    return spans


@dataclass(frozen=True)
class _Forecast:
    """`count` rows from index `begin` of a series on, forecast of the rows before."""

    begin: int
    count: int

    @staticmethod
    def of(block: Array, beyond: int, fed_back: bool) -> list[_Forecast]:
        """The forecasts of a block of indices: one, or one for each so many rows that a model predicts at once."""
        step = len(block) if fed_back else beyond
        return [_Forecast(int(block[at]), min(step, len(block) - at)) for at in range(0, len(block), step)]


def feeds_back(predictor: Predictor, series: Series, columns: tuple[str, ...]) -> bool:
    """Whether a model predicts every column that it reads, in the units in which it reads them."""
    fitted = predictor.recipe.fitted
    known = {name for input in fitted.known for name in fitted.columns[input]}
    read = {name for names in fitted.columns.values() for name in names} - known
    return bool(read) and read <= set(columns) and not predictor.in_scaled_units()


def _fold(series: Series, naive: Baselines, forecasts_with_rows: list[tuple[_Forecast, Array]]) -> Fold:
    origins = [forecast for forecast, _ in forecasts_with_rows]
    index = np.concatenate([np.arange(origin.begin, origin.begin + origin.count) for origin in origins])
    last = np.repeat([int(series.rows[origin.begin - 1]) for origin in origins], [origin.count for origin in origins])
    rows = series.rows[index]
    predicted = np.concatenate([values for _, values in forecasts_with_rows])
    forecasts = naive.forecasts(last, rows - last)
    count = len(np.unique(naive.past.files_of(rows)))
    return Fold(rows, rows - last, naive.past.numbers[index], predicted, forecasts, count)


class _Forecaster:
    """Runs a model from several origins of a series at once, and feeds back what it says where more is asked for."""

    def __init__(self, predictor: Predictor, task: Task, series: Series, window: Window, batch: int) -> None:
        self.predictor, self.task, self.series, self.window = predictor, task, series, window
        self.batch = min(batch, _AT_ONCE)
        fitted = predictor.recipe.fitted
        self.columns = {
            name: [series.names.index(column) for column in fitted.columns.get(name, ())] for name in predictor.types
        }
        self.targets = [series.names.index(name) for name in task.columns]
        self.known = fitted.known
        self.known_columns = sorted({index for name in self.known for index in self.columns[name]})
        self.breaks = np.flatnonzero(np.diff(series.rows) != 1) + 1  # the rows that do not follow the one before

    def with_known(self, forecast: _Forecast) -> _Forecast:
        """A forecast of the rows for which the series has all known ones that the model reads."""
        if not self.known:
            return forecast
        window, following = self.window, self.breaks[self.breaks > forecast.begin]
        end = int(following[0]) if len(following) else len(self.series.rows)
        spare = end - forecast.begin - window.horizon + window.seen
        beyond = window.horizon - window.seen
        return _Forecast(forecast.begin, min(forecast.count, (spare // beyond + 1) * beyond if spare >= 0 else 0))

    def run(self, forecasts: Sequence[_Forecast]) -> list[Array | None]:
        """The rows of each forecast [count, columns]; None where the rows before it are too few or have a gap."""
        results: list[Array | None] = [None] * len(forecasts)
        possible = [
            index for index, forecast in enumerate(forecasts) if forecast.count and self._is_whole(forecast.begin)
        ]
        for start in range(0, len(possible), self.batch):
            chosen = possible[start : start + self.batch]
            rows = self._run_batch([forecasts[index] for index in chosen])
            for index, predicted in zip(chosen, rows, strict=True):
                results[index] = predicted[: forecasts[index].count]
        return results

    def _is_whole(self, begin: int) -> bool:
        length, rows = self.window.length + self.window.gap, self.series.rows
        return begin >= length and bool(rows[begin - 1] - rows[begin - length] == length - 1)

    def _run_batch(self, forecasts: list[_Forecast]) -> Array:
        """The rows of all forecasts, [forecasts, rows, columns], as many as the longest takes."""
        window, count = self.window, max(forecast.count for forecast in forecasts)
        begins = np.array([forecast.begin for forecast in forecasts])[:, None]
        past, gaps = self._rows(begins - np.arange(window.length + window.gap, 0, -1))
        parts: list[Array] = []
        done = 0
        while done < count:
            ahead = interpolated(*self._rows(begins + done - window.seen + np.arange(window.horizon)))
            rows = slice(done, done + window.length)
            part = self._step(interpolated(past[:, rows], gaps[:, rows]), ahead)
            parts.append(part)
            actual, gaps_after = self._rows(begins + done + np.arange(part.shape[1]))
            following = np.full(actual.shape, np.nan)
            following[:, :, self.known_columns] = actual[:, :, self.known_columns]
            following[:, :, self.targets] = part
            gaps_after[:, :, self.targets] = False
            past, gaps = np.concatenate([past, following], axis=1), np.concatenate([gaps, gaps_after], axis=1)
            done += part.shape[1]
        return np.concatenate(parts, axis=1)

    def _rows(self, at: Array) -> tuple[Array, Array]:
        """Rows [forecasts, rows, columns] of the series, and which of their numbers windows interpolate.

        Beyond its end the last row stands in, for forecasts that are cut off before.
        """
        index = np.minimum(at, len(self.series.rows) - 1)
        return self.series.as_read(index)

    def _step(self, windows: Array, ahead: Array) -> Array:
        """The rows beyond windows [forecasts, length, columns] that the model predicts at once.

        `ahead` are the rows that it predicts, of which it reads what is known of them.
        """
        nowhere = Examples({}, path=self.predictor.name)
        feeds = {
            name: self.predictor.feed(name, (ahead if name in self.known else windows)[:, :, columns], nowhere)
            for name, columns in self.columns.items()
        }
        predictions = self.predictor.run(feeds)[self.task.output].astype(np.float64)
        rows: Array = predictions.reshape(len(windows), self.window.horizon, len(self.targets))
        return rows[:, self.window.seen :]
