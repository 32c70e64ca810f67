"""Forecasts: a model of `window(...)` on whole series, beyond their last rows or for all of their past."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.calendar_features import calendar_of, calendar_requests
from runtime.data.examples import Examples
from runtime.data.filling import flagged, interpolated, requests
from runtime.data.table_blocks import Block
from runtime.prediction.answers import PREDICTED, Answers
from runtime.prediction.beyond import columns_beyond
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from runtime.prediction.rows_ahead import RowsAhead
from runtime.prediction.series_rows import LOOKED_AT, SeriesRows
from runtime.prediction.table_rows import Columns, Keep, beside_predictions, input_columns, kept_names, len_of

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.recipe import Recipe

STEP, ROW = "step", "row"


@dataclass(frozen=True)
class Window:
    """`length` rows in, and `horizon` rows out that begin `begin` rows after the first of them."""

    length: int
    horizon: int
    begin: int

    @staticmethod
    def of(recipe: Recipe) -> Window | None:
        """The windows that a model was trained on; None of a model of anything else."""
        stage = recipe.stage("window")
        if stage is None:
            return None
        length, horizon, shift = (int(stage.arguments[name]) for name in ("length", "horizon", "shift"))
        return Window(length, horizon, shift or length)

    @property
    def rows(self) -> int:
        """How many rows a window and what it predicts take together."""
        return max(self.length, self.begin + self.horizon)

    @property
    def seen(self) -> int:
        """How many of the rows that it predicts it has seen itself."""
        return max(0, min(self.horizon, self.length - self.begin))

    @property
    def gap(self) -> int:
        """How many rows lie between a window and what it predicts."""
        return max(0, self.begin - self.length)

    @property
    def beyond(self) -> int:
        """How many rows the windows of a series predict after its last row."""
        return self.gap + self.horizon - self.seen if self.seen < self.horizon else 0


@dataclass(frozen=True, eq=False)
class Forecasting:
    """What all forecasts of a model have in common; `steps` are the rows to forecast, None for those at once."""

    predictor: Predictor
    window: Window
    answers: Answers
    keep: Keep
    findings: Findings
    steps: int | None = None


class Forecast:
    """The rows after the last one of a series, by default those that the model predicts at once.

    More are predicted by feeding back. NablacError where the series is shorter than a window, or is broken in its last
    one, and where a step needs columns that nothing predicts.
    """

    def __init__(self, of: Forecasting, name: str = "") -> None:
        self.of = of
        self.series = SeriesRows.of(of.predictor, of.findings, name)
        self.ahead = RowsAhead(of.predictor, self.series, of.findings)
        if not of.window.beyond:
            message = "the model looks at no row beyond its window: it predicts none"
            raise NablacError(
                Diagnostic(codes.E882, message, place=of.predictor.name, hint="`--all` predicts the past")
            )
        self.count = of.steps or of.window.beyond
        self.feeds_back = self.count > of.window.beyond
        if self.feeds_back:
            _check_feedback(of.predictor, of.window.beyond, self.count, self.ahead.from_table)

    def add(self, block: Block) -> Iterator[Columns]:
        """More rows of the series; only the last ones are held, and those to predict."""
        window = self.of.window
        for past in self.ahead.past(block):
            self.series.add(past, self.of.predictor, self.of.findings)
            self.series.drop(len(self.series.rows) - max(window.length + window.gap, LOOKED_AT))
        yield from ()

    def end(self) -> Iterator[Columns]:
        """The results, when all rows have been added."""
        predictor, window, series, count = self.of.predictor, self.of.window, self.series, self.count
        self.ahead.end()
        series.check_length(window.length + window.gap)
        total, ends = len(series.numbers), self._ends()
        fed = ends[-1] - total if self.feeds_back else 0
        known = ends[-1] - window.length + window.begin + window.horizon - total if self.ahead.known else 0
        later, gaps_later = self.ahead.rows(max(fed, known, 0), all_dates=self.feeds_back)
        numbers, gaps = np.concatenate([series.numbers, later]), np.concatenate([series.gaps, gaps_later])
        parts: list[Columns] = []
        done = 0
        for end in ends:
            starts = np.array([end - window.length])
            outputs = predictor.run(_feeds(self.of, series, numbers, gaps, starts))
            # The rest of what this window predicts a later one predicts by later rows.
            stop = window.seen + 1 if end < total else window.horizon
            columns = self.of.answers.columns(outputs, 1)
            predictions = {name: column[window.seen : stop] for name, column in columns.items()}
            parts.append(predictions)
            if self.feeds_back:
                self._feed_back(numbers[total + done : total + done + len_of(predictions)], predictions)
            done += len_of(predictions)
        predictions = {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
        beside = columns_beyond(series, window.length, self.of.keep, count, self.of.findings)
        places: Columns = {} if beside else {ROW: series.rows[-1] + 1 + np.arange(1, count + 1)}
        predictions = {STEP: np.arange(1, count + 1), **predictions}
        yield {**places, **beside_predictions(beside, predictions, series.place, self.of.findings)}

    def _ends(self) -> list[int]:
        """The row after each window that is predicted by, counted from the first row that is held."""
        window, total, done = self.of.window, len(self.series.numbers), 0
        ends: list[int] = []
        while done < self.count:
            ends.append(total + done - window.gap)
            done += 1 if ends[-1] < total else window.horizon - window.seen
        return ends

    def _feed_back(self, rows: Array, predictions: Mapping[str, Array]) -> None:
        """Write predictions into the rows that later windows read, [rows, columns], where nothing else is known.

        NablacError where the predictions have no such column.
        """
        if not len(rows):
            return
        fitted = self.of.predictor.recipe.fitted
        calendars, fills = calendar_requests(fitted.stages, fitted.dates), requests(fitted.stages)
        for index, name in enumerate(self.series.names):
            if name in self.ahead.from_table or calendar_of(calendars, name) is not None:
                continue
            if flagged(fills, name) is not None:
                rows[:, index] = 0
            elif f"{PREDICTED}{name}" in predictions:
                rows[:, index] = np.asarray(predictions[f"{PREDICTED}{name}"], np.float64)[: len(rows)]
            else:
                message = f"no output of the model has numbers of `{name}` alone, which a next step reads"
                raise NablacError(Diagnostic(codes.E882, message, place="--steps"))


def _check_feedback(predictor: Predictor, beyond: int, count: int, known: Sequence[str]) -> None:
    """NablacError where the model reads a column that it does not predict, and that is not `known` ahead."""
    predicted = {
        column
        for meaning in predictor.recipe.outputs.values()
        if meaning.kind == "value"
        for column in predictor.recipe.fitted.targets.get(meaning.target, ())
    }
    if predictor.in_scaled_units():
        message = "the model predicts in its own units, as in training, and reads raw ones"
        raise NablacError(Diagnostic(codes.E882, message, place="--steps"))
    fitted = predictor.recipe.fitted
    calendars, fills = calendar_requests(fitted.stages, fitted.dates), requests(fitted.stages)
    missing = [
        name
        for name in input_columns(predictor)
        if name not in (*predicted, *known)
        if calendar_of(calendars, name) is None and flagged(fills, name) is None
    ]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        message = f"{count} steps need later rows of {listed}, which the model reads and does not predict"
        what = "one row" if beyond == 1 else f"{beyond} rows"
        hint = (
            f"it predicts {what} at once; only a model that predicts every column it reads, but for those that are "
            "`known` ahead, can be fed its predictions"
        )
        raise NablacError(Diagnostic(codes.E882, message, place="--steps", hint=hint))


def _feeds(of: Forecasting, series: SeriesRows, numbers: Array, gaps: Array, starts: Array) -> dict[str, Array]:
    """The windows that begin at `starts`, and the rows that they predict, of rows [rows, columns] for each input."""
    predictor, window = of.predictor, of.window
    fitted = predictor.recipe.fitted
    examples = Examples({}, path=series.place)
    past, ahead = starts[:, None] + np.arange(window.length), starts[:, None] + window.begin + np.arange(window.horizon)
    feeds: dict[str, Array] = {}
    for name in predictor.types:
        at = ahead if name in fitted.known else past
        columns = [series.names.index(column) for column in fitted.columns.get(name, ())]
        rows = interpolated(numbers[at][:, :, columns], gaps[at][:, :, columns])
        feeds[name] = predictor.feed(name, rows, examples)
    return feeds


class Past:
    """What every window predicts, beside the rows that it is about; the last ones lie beyond the last row.

    Of a window that predicts several rows each has a row of results, and `step` tells how far ahead it is. Rows that
    a window has seen itself are left out, unless it predicts no others. Windows wait until the dates have told the step
    of the series, since none spans a row that is missing.
    """

    def __init__(self, of: Forecasting, name: str = "") -> None:
        self.of = of
        self.series = SeriesRows.of(of.predictor, of.findings, name)
        self.ahead = RowsAhead(of.predictor, self.series, of.findings)
        self.passed = 0  # rows that were dropped
        self.done = 0  # the first window that is not predicted yet, counted from the rows that are held

    def add(self, block: Block) -> Iterator[Columns]:
        """The results of the windows that are whole with more rows."""
        for past in self.ahead.past(block):
            self.series.add(past, self.of.predictor, self.of.findings)
            last = len(self.series.rows) - self.of.window.rows + 1
            if last > self.done and self.series.has_step:
                yield from _windows(self.of, self.series, self.series.numbers, self.series.gaps, range(self.done, last))
                self.done = last
            spare = min(self.done, len(self.series.rows) - LOOKED_AT)
            if spare > 0:
                self.series.drop(spare)
                self.passed, self.done = self.passed + spare, self.done - spare

    def end(self) -> Iterator[Columns]:
        """The results of the last windows, when all rows have been added."""
        window, series = self.of.window, self.series
        self.ahead.end()
        if not self.passed and len(series.rows) < window.length:
            series.check_length(window.length)
        last, numbers, gaps = len(series.rows) - window.length + 1, series.numbers, series.gaps
        needed = window.begin + window.horizon - window.length  # rows after the last window
        if self.ahead.known and needed > 0:
            count = self.ahead.reach(needed)
            later, gaps_later = self.ahead.rows(count, all_dates=False)
            numbers, gaps = np.concatenate([numbers, later]), np.concatenate([gaps, gaps_later])
            self._note_unknown(needed - count)
            last -= needed - count
        yield from _windows(self.of, series, numbers, gaps, range(self.done, last))

    def _note_unknown(self, count: int) -> None:
        """Note how many windows have no prediction."""
        if count:
            windows = "the last window has" if count == 1 else f"the last {count} windows have"
            columns = ", ".join(f"`{name}`" for name in self.ahead.from_table)
            message = f"{windows} no prediction, as {columns} of the rows that it is of is not in the table"
            self.of.findings.note(self.series.place, message)


def _windows(of: Forecasting, series: SeriesRows, numbers: Array, gaps: Array, starts: range) -> Iterator[Columns]:
    """The results of windows that begin at `starts` of rows [rows, columns]; those over a gap have none.

    The `numbers` are those of the series, and may go on beyond its last row.
    """
    predictor, window, keep, findings = of.predictor, of.window, of.keep, of.findings
    rows = np.array(series.rows) + np.cumsum(series.missing)
    row_count = len(rows)
    whole = [
        start
        for start in starts
        if rows[min(start + window.rows, row_count) - 1] - rows[start] == min(window.rows, row_count - start) - 1
    ]
    most = predictor.batch({name: (window.length, len(series.names)) for name in predictor.types})
    first = window.seen if window.seen < window.horizon else 0
    for begin in range(0, len(whole), most):
        chosen = np.array(whole[begin : begin + most])
        predictions = of.answers.columns(predictor.run(_feeds(of, series, numbers, gaps, chosen)), len(chosen))
        ahead = np.arange(first, window.horizon)
        about = (chosen[:, None] + window.begin + ahead).ravel()
        picked = (np.arange(len(chosen))[:, None] * window.horizon + ahead).ravel()
        results = {name: column[picked] for name, column in predictions.items()}
        beside = _beside(series, about, window, keep, findings)
        places: Columns = {} if beside else {ROW: (rows[chosen][:, None] + window.begin + ahead + 1).ravel()}
        steps = np.tile(window.begin + ahead - window.length + 1, len(chosen))
        if len(ahead) > 1:
            results = {STEP: steps, **results}
        yield {**places, **beside_predictions(beside, results, series.place, findings)}


def _beside(series: SeriesRows, about: Array, window: Window, keep: Keep, findings: Findings) -> Columns:
    """The kept columns of the rows that predictions are about; where these lie beyond the last, dates that go on."""
    row_count = len(series.rows)
    most = int(about.max(initial=0)) - row_count + 1
    beyond = columns_beyond(series, window.length, keep, most, findings) if most > 0 else {}
    kept: Columns = {}
    for name in kept_names(keep, series.values, set(series.names) - series.targets):
        values, after = series.values[name], beyond.get(name)
        kept[name] = [
            values[row] if row < row_count else after[row - row_count] if after is not None else None
            for row in about.tolist()
        ]
    return kept
