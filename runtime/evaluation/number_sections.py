"""Numbers in a report: predicted against actual, residuals, errors by step, forecasts over the series, backtests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from runtime.charts.bars import histogram
from runtime.charts.lines import Series, line_chart
from runtime.charts.page import Facts, Figures, Folded, Paragraph, Part, Section, Table
from runtime.charts.palette import BLUE, INK, MAGENTA, ORANGE, TEAL
from runtime.charts.panel import Chart
from runtime.charts.points import scatter
from runtime.charts.readable_numbers import readable
from runtime.evaluation.backtest import Backtest
from runtime.evaluation.figures_text import (
    NUMBER_HEADER,
    backtest_heading,
    column_rows,
    heading,
    left_out,
    number,
    number_cells,
    percent,
    step_rows,
)
from runtime.evaluation.number_figures import autocorrelation
from runtime.evaluation.number_results import NumberResult
from runtime.evaluation.shown_examples import location_of, shown_examples
from runtime.evaluation.time_axis import TimeAxis

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples

_WIDE, _LOW = 976, 320
_MOST_COLUMNS = 6  # with charts
_MOST_WORST = 12
_BEFORE = 3  # times the rows of a part: how much of the series is drawn before it, at the most
_BASELINES = (TEAL, MAGENTA)


def number_sections(result: NumberResult, data: Examples, prefix: str) -> list[Section]:
    """The sections of a target of numbers; their headings begin with `prefix`."""
    axis = TimeAxis.of(data.series) if data.series is not None and result.about is not None else None
    sections = [Section(f"{prefix}Errors", [_facts(result), *_table(result)])]
    for index, name in enumerate(result.columns[:_MOST_COLUMNS]):
        charts = [_scatter(result, index, data, axis), _residuals(result, index)]
        if len(result.steps) > 1:
            charts.append(_by_step(result, index))
        if result.ordered:
            charts += [_over_time(result, index, axis), *_autocorrelation(result, index)]
        parts: list[Part] = [Figures(charts)]
        if axis is not None:
            parts.insert(0, Figures([_over_series(result, index, data, axis)]))
        what = "Forecasts" if result.steps else "Predictions"
        sections.append(Section(f"{prefix}{what if len(result.columns) == 1 else f'Column {name}'}", parts))
    if len(result.columns) > _MOST_COLUMNS:
        more = len(result.columns) - _MOST_COLUMNS
        sections[-1] = Section(
            sections[-1].heading,
            [*sections[-1].parts, Paragraph(f"{more:,} more columns have figures above, and no charts.", quiet=True)],
        )
    return [*sections, Section(f"{prefix}Largest errors", _worst(result, data, axis))]


def _facts(result: NumberResult) -> Facts:
    figures = result.figures(0)
    predictions = "" if len(result.columns) == 1 else f"of {result.columns[0]}"
    unit = predictions or "in the units of the data"
    facts: list[tuple[str, str] | tuple[str, str, str]] = [
        ("MAE", number(figures.mae), unit),
        ("RMSE", number(figures.rmse), unit),
        ("R²", number(figures.r2, 3), predictions or "share of the variance explained"),
    ]
    if figures.mape is not None:
        facts.append(("MAPE", f"{readable(figures.mape, 3)}%", predictions or "of the actual value"))
    for name in result.forecasts:
        facts.append((f"skill against {name}", percent(result.skill(name, 0)), "of its MAE removed"))
    return Facts(facts)


def _table(result: NumberResult) -> list[Part]:
    header = ["forecast" if result.steps else "column", *NUMBER_HEADER[1:]]
    rows: list[list[str]] = []
    strong: list[int] = []
    steps: list[list[str]] = []
    for index, name in enumerate(result.columns):
        strong.append(len(rows))
        rows += column_rows(result, index)
        named = f"{name}, " if len(result.columns) > 1 else ""
        steps += [[named + row[0].strip(), *row[1:]] for row in step_rows(result, index)]
    parts: list[Part] = [_filled_table(header, rows, heading(result), strong if result.forecasts else [])]
    if steps:
        parts.append(Folded("Each step of the horizon", [_filled_table(header, steps)]))
    return [*parts, *(Paragraph(line.strip(), quiet=True) for line in left_out(result))]


def _filled_table(header: list[str], rows: list[list[str]], caption: str = "", strong: Sequence[int] = ()) -> Table:
    """A table without the columns that are empty all along."""
    kept = [index for index in range(len(header)) if index == 0 or any(row[index] for row in rows)]
    cells = [[row[index].strip() for index in kept] for row in rows]
    return Table([header[index] for index in kept], cells, caption=caption, strong=strong)


def _pairs(result: NumberResult, column: int) -> tuple[Array, Array]:
    return result.actual[:, :, column].reshape(-1), result.predicted[:, :, column].reshape(-1)


def _scatter(result: NumberResult, column: int, data: Examples, axis: TimeAxis | None) -> Chart:
    actual, predicted = _pairs(result, column)
    tips = [
        f"{where}: actual {readable(truth)}, predicted {readable(guess)}"
        for where, truth, guess in zip(_labels(result, data, axis), actual.tolist(), predicted.tolist(), strict=True)
    ]
    return scatter(
        "Predicted against actual",
        actual.tolist(),
        predicted.tolist(),
        x_name="actual",
        y_name="predicted",
        identity=True,
        tips=tips,
    )


def _labels(result: NumberResult, data: Examples, axis: TimeAxis | None) -> list[str]:
    """What each number is about: a row of the series, or an example."""
    if result.about is not None and axis is not None:
        return [axis.label(int(row)) for row in result.about.reshape(-1)]
    steps = result.actual.shape[1]
    return [location_of(data, int(row)) for row in result.rows for _ in range(steps)]


def _residuals(result: NumberResult, column: int) -> Chart:
    actual, predicted = _pairs(result, column)
    figures = result.figures(column)
    steps = "all steps: " if len(result.steps) > 1 else ""
    note = f"{steps}mean {number(figures.bias, 3)}, deviation {number(figures.spread, 3)}; dashed: no error"
    values = (actual - predicted).tolist()
    return histogram("Residuals", values, x_name="actual - predicted", mark=0.0, note=note, height=440)


def _by_step(result: NumberResult, column: int) -> Chart:
    steps = [float(step) for step in result.steps]
    indices = range(len(steps))
    series = [Series("model", steps, [result.figures(column, index).mae or 0.0 for index in indices], color=BLUE)]
    for color, name in zip(_BASELINES, result.forecasts, strict=False):
        errors = [_or_nan(result.baseline(name, column, index).mae) for index in indices]
        series.append(Series(name, steps, errors, color=color))
    return line_chart("Error by how far ahead", series, x_name="rows ahead", y_name="MAE", whole_x=True, log_y=False)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _over_time(result: NumberResult, column: int, axis: TimeAxis | None) -> Chart:
    residuals = (result.actual[:, 0, column] - result.predicted[:, 0, column]).tolist()
    if result.about is not None and axis is not None:
        at, name, times = axis.positions(result.about[:, 0]), axis.name, axis.times
    else:
        at, name, times = [float(row) for row in result.rows], "example", False
    series = [Series("residual", at, residuals, style="dots", color=BLUE)]
    return line_chart(
        "Residuals over time", series, x_name=name, y_name="actual - predicted", times=times, levels={"no error": 0.0},
        legend=False, log_y=False, note=_first_step(result),
    )  # fmt: skip


def _first_step(result: NumberResult) -> str:
    """Which of several steps a chart of residuals in the order of time is of."""
    return f"{result.steps[0]} row{'' if result.steps[0] == 1 else 's'} ahead" if len(result.steps) > 1 else ""


def _autocorrelation(result: NumberResult, column: int) -> list[Chart]:
    residuals = result.actual[:, 0, column] - result.predicted[:, 0, column]
    values = autocorrelation(residuals)
    if not values:
        return []
    bound = 1.96 / math.sqrt(np.isfinite(residuals).sum())
    lags = [float(lag) for lag in range(1, len(values) + 1)]
    series = [Series("autocorrelation", lags, values, color=BLUE)]
    return [
        line_chart(
            "Residuals: correlation with earlier ones",
            series,
            x_name="rows before",
            y_name=", ".join(filter(None, ["correlation", _first_step(result)])),
            whole_x=True,
            log_y=False,
            levels={"bound": bound, "other bound": -bound},
            legend=False,
            note="chance alone stays within the dashed lines 19 times in 20",
        )
    ]


def _over_series(result: NumberResult, column: int, data: Examples, axis: TimeAxis) -> Chart:
    """The series, and what was forecast of it one step ahead, and as far ahead as possible."""
    assert result.about is not None and data.series is not None
    about = result.about
    shown = _shown_rows(data, int(about.min()), int(about.max()))
    values = data.series.columns([result.columns[column]], shown)[:, 0]
    lines = [Series("actual", axis.at[shown].tolist(), values.tolist(), color=INK)]
    far = [0, len(result.steps) - 1] if len(result.steps) > 1 else [0]
    for color, index in zip((BLUE, ORANGE), far, strict=False):
        ahead = result.steps[index]
        name = "forecast" if len(far) == 1 else f"{ahead} row{'' if ahead == 1 else 's'} ahead"
        predicted = result.predicted[:, index, column].tolist()
        lines.append(Series(name, axis.positions(about[:, index]), predicted, color=color))
    return line_chart(
        f"{result.columns[column]}: forecasts over the series", lines, x_name=axis.name, times=axis.times, width=_WIDE,
        height=_LOW, log_y=False,
    )  # fmt: skip


def _shown_rows(data: Examples, first: int, last: int) -> Array:
    """Indices of the rows that are drawn: those of the part, and some before them."""
    assert data.series is not None
    rows = data.series.rows
    start, end = int(np.searchsorted(rows, first)), int(np.searchsorted(rows, last))
    return np.arange(max(0, start - _BEFORE * (end - start + 1)), end + 1)


def _worst(result: NumberResult, data: Examples, axis: TimeAxis | None) -> list[Part]:
    chosen = _largest(result)
    if not chosen:
        return [Paragraph("There are no examples.")]
    facts: dict[str, list[str]] = {}
    if len(result.columns) > 1:
        facts["column"] = [result.columns[column] for _, _, column in chosen]
    if len(result.steps) > 1:
        facts["rows ahead"] = [str(result.steps[step]) for _, step, _ in chosen]
    for name, array in (("actual", result.actual), ("predicted", result.predicted)):
        facts[name] = [readable(float(array[at])) for at in chosen]
    facts["residual"] = [readable(float(result.actual[at] - result.predicted[at])) for at in chosen]
    if axis is not None and result.about is not None:
        labels = [axis.label(int(result.about[index, step])) for index, step, _ in chosen]
        cells = [labels, *facts.values()]
        return [*_ranking(result), Table([axis.name, *facts], [list(row) for row in zip(*cells, strict=True)])]
    captions = [
        f"{actual}, predicted {guess}" for actual, guess in zip(facts["actual"], facts["predicted"], strict=True)
    ]
    rows = [int(result.rows[index]) for index, _, _ in chosen]
    return [*_ranking(result), *shown_examples(data, rows, captions, facts)]


def _ranking(result: NumberResult) -> list[Part]:
    """How errors of several columns are compared."""
    if len(result.columns) == 1:
        return []
    return [Paragraph("Largest first, as multiples of the RMSE of the column.", quiet=True)]


def _largest(result: NumberResult) -> list[tuple[int, int, int]]:
    """The index, step and column of the largest errors, one for each example, or for each row of a series.

    Errors of several columns are compared in units of each column's own. A prediction that is not finite is
    worse than any that is one; where the actual number is none, there is no error.
    """
    error = np.abs(result.actual - result.predicted)
    sizes = [result.figures(column).rmse or 1.0 for column in range(len(result.columns))]
    error = np.where(np.isfinite(result.predicted), error / np.array(sizes), np.inf)
    error = np.where(np.isfinite(result.actual), error, -1.0)
    chosen: list[tuple[int, int, int]] = []
    seen: set[int] = set()
    for flat in np.argsort(-error, axis=None, kind="stable").tolist():
        index, step, column = (int(part) for part in np.unravel_index(flat, error.shape))
        about = int(result.about[index, step]) if result.about is not None else index
        if about not in seen:
            seen.add(about)
            chosen.append((index, step, column))
            if len(chosen) == _MOST_WORST:
                break
    return chosen


def backtest_section(result: Backtest, data: Examples, prefix: str) -> Section:
    """The backtest of a target: its forecasts over the series, and figures of each fold."""
    assert data.series is not None
    if not result.folds:
        return Section(f"{prefix}Backtest", [Paragraph("No row has enough rows before it.")])
    axis = TimeAxis.of(data.series)
    charts = [_folds_over_series(result, index, data, axis) for index in range(min(len(result.columns), _MOST_COLUMNS))]
    parts: list[Part] = [
        Paragraph(
            f"{backtest_heading(result)}. Each fold is forecast from the rows before it alone, by the trained weights."
        ),
        Figures(charts),
    ]
    rows: list[list[str]] = []
    strong: list[int] = []
    for index in range(len(result.columns)):
        strong.append(len(rows))
        rows += column_rows(result, index)
        for fold in result.folds:
            first, last = (axis.label(int(fold.rows[end])) for end in (0, -1))
            name = f"{first} to {last}" if len(fold.rows) > 1 else first
            if fold.series > 1:
                name = f"{len(fold.rows):,} rows of {fold.series:,} series"
            rows.append(number_cells(name, result.figures(index, [fold])))
    parts.append(_filled_table(["forecast", *NUMBER_HEADER[1:]], rows, strong=strong))
    parts += [Paragraph(line.strip(), quiet=True) for line in left_out(result)]
    by_step = [_backtest_by_step(result, index) for index in range(min(len(result.columns), _MOST_COLUMNS))]
    if len(result.by_step(0)) > 1:
        parts.append(Figures(by_step))
    return Section(f"{prefix}Backtest", parts)


def _folds_over_series(result: Backtest, column: int, data: Examples, axis: TimeAxis) -> Chart:
    assert data.series is not None
    first, last = (int(end(end(fold.rows) for fold in result.folds)) for end in (min, max))
    shown = _shown_rows(data, first, last)
    values = data.series.columns([result.columns[column]], shown)[:, 0]
    at: list[float] = []
    predicted: list[float] = []
    for fold in result.folds:
        # A gap between folds, and between series.
        jumps = np.flatnonzero(np.diff(fold.rows) != 1) + 1 if fold.series > 1 else np.zeros(0, int)
        for rows, values_of_run in zip(
            np.split(fold.rows, jumps), np.split(fold.predicted[:, column], jumps), strict=True
        ):
            at += [*axis.positions(rows), axis.positions(rows[-1:])[0]]
            predicted += [*values_of_run.tolist(), math.nan]
    lines = [
        Series("actual", axis.at[shown].tolist(), values.tolist(), color=INK),
        Series("forecast of each fold", at, predicted, color=ORANGE),
    ]
    return line_chart(
        f"{result.columns[column]}: forecasts of the backtest", lines, x_name=axis.name, times=axis.times, width=_WIDE,
        height=_LOW, log_y=False,
    )  # fmt: skip


def _backtest_by_step(result: Backtest, column: int) -> Chart:
    figures = result.by_step(column)
    series = [
        Series(
            "model", [float(step) for step, _ in figures], [_or_nan(of_step.mae) for _, of_step in figures], color=BLUE
        )
    ]
    name = f"{result.columns[column]}: " if len(result.columns) > 1 else ""
    title = f"{name}error by how far ahead"
    return line_chart(
        title[0].upper() + title[1:] if not name else title, series, x_name="rows ahead", y_name="MAE", whole_x=True,
        log_y=False, legend=False,
    )  # fmt: skip
