"""Forecasts: a model of `window(...)` on whole series, beyond their last rows or for all of their past."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.calendar_features import calendar_of, calendar_requests
from runtime.data.dates import Continued, are_dates, continued
from runtime.data.examples import Examples
from runtime.data.filling import filled, flagged, gaps_of, interpolated, requests
from runtime.data.table_blocks import Block
from runtime.prediction.answers import PREDICTED, Answers
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from runtime.prediction.table_rows import (
    Columns,
    Keep,
    beside_predictions,
    input_columns,
    kept_names,
    len_of,
    numbers_of,
)

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.recipe import Recipe

STEP, ROW = "step", "row"
_LOOKED_AT = 64  # rows from whose dates their step is read, where a window has fewer


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


@dataclass
class _Series:
    """The last rows of a series: numbers [rows, columns], where each stands, and every column as it stands.

    The numbers are filled; `gaps` are those that windows interpolate.
    """

    names: list[str]  # that the model reads
    targets: set[str]  # that it predicts
    numbers: Array
    gaps: Array
    rows: list[int] = field(default_factory=list)  # the number of each among all rows of the table
    lines: list[int] = field(default_factory=list)
    values: dict[str, list[Any]] = field(default_factory=dict)
    place: str = ""
    name: str = ""  # where a table has several

    @property
    def what(self) -> str:
        """The series in messages."""
        return f"the series `{self.name}`" if self.name else "the series"

    @staticmethod
    def of(predictor: Predictor, name: str = "") -> _Series:
        names = input_columns(predictor)
        targets = {column for columns in predictor.recipe.fitted.targets.values() for column in columns}
        return _Series(names, targets, np.empty((0, len(names))), np.empty((0, len(names)), bool), name=name)

    def add(self, block: Block, predictor: Predictor, findings: Findings) -> None:
        table = numbers_of(block, self.names, predictor, findings)
        fitted = predictor.recipe.fitted
        fills = requests(fitted.stages)
        before = self.numbers[-1] if len(self.numbers) else None
        self.place = block.rows.path
        self.numbers = np.concatenate([self.numbers, filled(table.numbers, self.names, fills, fitted.fills, before)])
        self.gaps = np.concatenate([self.gaps, gaps_of(table.numbers, self.names, fills)])
        kept = table.kept.tolist()
        self.rows += [block.rows.numbers[row] for row in kept]
        self.lines += [block.rows.lines[row] for row in kept]
        for name, values in block.values.items():
            self.values.setdefault(name, []).extend(values[row] for row in kept)

    def drop(self, count: int) -> None:
        """Forget the first rows."""
        if count > 0:
            self.numbers, self.gaps = self.numbers[count:], self.gaps[count:]
            del self.rows[:count], self.lines[:count]
            for values in self.values.values():
                del values[:count]


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
        self.series = _Series.of(of.predictor, name)
        if not of.window.beyond:
            message = "the model looks at no row beyond its window: it predicts none"
            raise NablacError(
                Diagnostic(codes.E882, message, place=of.predictor.name, hint="`--all` predicts the past")
            )
        self.count = of.steps or of.window.beyond
        if self.count > of.window.beyond:
            _check_feedback(of.predictor, of.window.beyond, self.count)

    def add(self, block: Block) -> Iterator[Columns]:
        """More rows of the series; only the last ones are held."""
        window = self.of.window
        self.series.add(block, self.of.predictor, self.of.findings)
        self.series.drop(len(self.series.rows) - max(window.length + window.gap, _LOOKED_AT))
        yield from ()

    def end(self) -> Iterator[Columns]:
        """The results, when all rows have been added."""
        predictor, window, series, count = self.of.predictor, self.of.window, self.series, self.count
        _check_length(series, window.length + window.gap)
        numbers, gaps = series.numbers, series.gaps
        parts: list[Columns] = []
        while (done := sum(len_of(part) for part in parts)) < count:
            end = len(series.numbers) + done - window.gap
            chosen = slice(end - window.length, end)
            windows = interpolated(numbers[None, chosen], gaps[None, chosen])
            outputs = predictor.run(_feeds(predictor, windows, series))
            # The rest of what this window predicts a later one predicts by later rows.
            stop = window.seen + 1 if end < len(series.numbers) else window.horizon
            columns = self.of.answers.columns(outputs, 1)
            predictions = {name: column[window.seen : stop] for name, column in columns.items()}
            parts.append(predictions)
            if count > window.beyond:
                later = self._fed_back(predictions, len(numbers) - len(series.numbers))
                numbers = np.concatenate([numbers, later])
                gaps = np.concatenate([gaps, np.zeros(later.shape, bool)])
        predictions = {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
        beside = _beyond(series, window, self.of.keep, count, self.of.findings)
        places: Columns = {} if beside else {ROW: series.rows[-1] + 1 + np.arange(1, count + 1)}
        predictions = {STEP: np.arange(1, count + 1), **predictions}
        yield {**places, **beside_predictions(beside, predictions, series.place, self.of.findings)}

    def _fed_back(self, predictions: Mapping[str, Array], done: int) -> Array:
        """Rows that were predicted, [rows, columns], as if they had been read after `done` others.

        NablacError where the predictions have no such column.
        """
        count = len_of(predictions)
        fitted = self.of.predictor.recipe.fitted
        calendars = calendar_requests(fitted.stages, fitted.dates)
        fills = requests(fitted.stages)
        columns: list[Array] = []
        for name in self.series.names:
            request = calendar_of(calendars, name)
            if request is not None:
                dates = self._later_dates(request.column, done, count)
                columns.append(request.numbers(name, dates))
            elif flagged(fills, name) is not None:
                columns.append(np.zeros(count))
            elif f"{PREDICTED}{name}" in predictions:
                columns.append(np.asarray(predictions[f"{PREDICTED}{name}"], np.float64))
            else:
                message = f"no output of the model has numbers of `{name}` alone, which a next step reads"
                raise NablacError(Diagnostic(codes.E882, message, place="--steps"))
        return np.stack(columns, axis=1)

    def _later_dates(self, column: str, done: int, count: int) -> list[str]:
        """The dates of later rows; NablacError where those of the series do not go on."""
        how = continued(self.series.values[column][-_LOOKED_AT:])
        if how is None:
            message = f"the dates in `{column}` do not go on by one step, and the model reads those of later rows"
            raise NablacError(Diagnostic(codes.E882, message, place="--steps"))
        return [str(how.after(done + step)) for step in range(1, count + 1)]


def _check_feedback(predictor: Predictor, beyond: int, count: int) -> None:
    """NablacError where the model reads a column that it does not predict."""
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
        if name not in predicted and calendar_of(calendars, name) is None and flagged(fills, name) is None
    ]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        message = f"{count} steps need later rows of {listed}, which the model reads and does not predict"
        what = "one row" if beyond == 1 else f"{beyond} rows"
        hint = (
            f"it predicts {what} at once; only a model that predicts every column it reads can be fed its predictions"
        )
        raise NablacError(Diagnostic(codes.E882, message, place="--steps", hint=hint))


def _check_length(series: _Series, length: int) -> None:
    """NablacError where the last `length` rows are not there, or have a gap."""
    row_count = len(series.rows)
    if row_count < length:
        counted = f"{row_count} row{'' if row_count == 1 else 's'}"
        message = f"{series.what} has {counted}, and the model reads the last {length}"
        raise NablacError(Diagnostic(codes.E883, message, place=series.place))
    last = series.rows[-length:]
    if last[-1] - last[0] != length - 1:
        gap = max(index for index in range(1, length) if last[index] - last[index - 1] > 1)
        line = series.lines[-length:][gap - 1]
        of_name = f" of {series.what}" if series.name else ""
        message = f"rows{of_name} after line {line} are left out, and the model reads the last {length} without a gap"
        raise NablacError(Diagnostic(codes.E883, message, place=series.place))


def _feeds(predictor: Predictor, windows: Array, series: _Series) -> dict[str, Array]:
    """Windows [examples, length, columns] as each input takes them."""
    names, columns = series.names, predictor.recipe.fitted.columns
    examples = Examples({}, path=series.place)
    return {
        name: predictor.feed(name, windows[:, :, [names.index(column) for column in columns.get(name, ())]], examples)
        for name in predictor.types
    }


def _going_on(series: _Series, unknown: set[str]) -> tuple[str, Continued] | None:
    """The column that says when a row is, and how it goes on: the first that is a date, or that counts."""
    for name, values in series.values.items():
        if name not in unknown:
            how = continued(values[-_LOOKED_AT:])
            if how is not None:
                return name, how
    return None


def _note_undated(series: _Series, unknown: set[str], findings: Findings) -> None:
    """Note the first column of dates, none of which goes on: there may be several series in the file."""
    for name, values in series.values.items():
        last = values[-_LOOKED_AT:]
        if name not in unknown and len(set(map(str, last))) > 1 and are_dates(last):
            message = f"the dates in `{name}` do not go on by one step, so the forecast has none"
            one = "" if series.name else "; all rows of a file are read as one series"
            findings.note(series.place, f"{message}{one}")
            return


def _beyond(series: _Series, window: Window, keep: Keep, count: int, findings: Findings) -> Columns:
    """The kept columns of rows that are not there: dates that go on, and what has been the same all along."""
    if keep == "none":
        return {}
    unknown = {*series.names, *series.targets}
    dated = _going_on(series, unknown)
    kept: Columns = {}
    if dated is None:
        _note_undated(series, unknown, findings)
    for name, values in series.values.items():
        if dated is not None and name == dated[0]:
            how = dated[1]
            if how.descends:
                findings.note(
                    series.place, f"`{name}` runs backwards, and a forecast is of what comes after the last row"
                )
            if not how.regular:
                findings.note(series.place, f"the dates in `{name}` are not evenly spaced: they go on by {how.what}")
            try:
                kept[name] = [how.after(step) for step in range(1, count + 1)]
            except (OverflowError, ValueError):  # beyond the year 9999
                findings.note(series.place, f"the dates in `{name}` go on beyond the last year that there is")
        elif name not in unknown and window.length > 1 and len(set(map(str, values[-window.length :]))) == 1:
            kept[name] = [values[-1]] * count
    return kept


class Past:
    """What every window predicts, beside the rows that it is about; the last ones lie beyond the last row.

    Of a window that predicts several rows each has a row of results, and `step` tells how far ahead it is. Rows that
    a window has seen itself are left out, unless it predicts no others.
    """

    def __init__(self, of: Forecasting, name: str = "") -> None:
        self.of = of
        self.series = _Series.of(of.predictor, name)
        self.passed = 0  # rows that were dropped
        self.done = 0  # the first window that is not predicted yet, counted from the rows that are held

    def add(self, block: Block) -> Iterator[Columns]:
        """The results of the windows that are whole with more rows."""
        self.series.add(block, self.of.predictor, self.of.findings)
        last = len(self.series.rows) - self.of.window.rows + 1
        if last > self.done:
            yield from _windows(self.of, self.series, range(self.done, last))
            self.done = last
        spare = min(self.done, len(self.series.rows) - _LOOKED_AT)
        if spare > 0:
            self.series.drop(spare)
            self.passed, self.done = self.passed + spare, self.done - spare

    def end(self) -> Iterator[Columns]:
        """The results of the last windows, when all rows have been added."""
        length = self.of.window.length
        if not self.passed and len(self.series.rows) < length:
            _check_length(self.series, length)
        yield from _windows(self.of, self.series, range(self.done, len(self.series.rows) - length + 1))


def _windows(of: Forecasting, series: _Series, starts: range) -> Iterator[Columns]:
    """The results of windows that begin at `starts`; those over a gap have none."""
    predictor, window, keep, findings = of.predictor, of.window, of.keep, of.findings
    rows = np.array(series.rows)
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
        at = chosen[:, None] + np.arange(window.length)
        windows = interpolated(series.numbers[at], series.gaps[at])
        predictions = of.answers.columns(predictor.run(_feeds(predictor, windows, series)), len(chosen))
        ahead = np.arange(first, window.horizon)
        about = (chosen[:, None] + window.begin + ahead).ravel()
        picked = (np.arange(len(chosen))[:, None] * window.horizon + ahead).ravel()
        results = {name: column[picked] for name, column in predictions.items()}
        beside = _beside(series, about, window, keep, findings)
        numbers = (rows[chosen][:, None] + window.begin + ahead + 1).ravel()
        places: Columns = {} if beside else {ROW: numbers}
        steps = np.tile(window.begin + ahead - window.length + 1, len(chosen))
        if len(ahead) > 1:
            results = {STEP: steps, **results}
        yield {**places, **beside_predictions(beside, results, series.place, findings)}


def _beside(series: _Series, about: Array, window: Window, keep: Keep, findings: Findings) -> Columns:
    """The kept columns of the rows that predictions are about; where these lie beyond the last, dates that go on."""
    row_count = len(series.rows)
    most = int(about.max(initial=0)) - row_count + 1
    beyond = _beyond(series, window, keep, most, findings) if most > 0 else {}
    kept: Columns = {}
    for name in kept_names(keep, series.values, set(series.names) - series.targets):
        values, after = series.values[name], beyond.get(name)
        kept[name] = [
            values[row] if row < row_count else after[row - row_count] if after is not None else None
            for row in about.tolist()
        ]
    return kept
