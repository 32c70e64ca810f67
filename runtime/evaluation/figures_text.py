"""Figures as a person reads them in a terminal: a short table for each target."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime.charts.readable_numbers import readable
from runtime.evaluation.backtest import Backtest, Fold
from runtime.evaluation.calibration import calibration_error
from runtime.evaluation.class_results import ClassResult, LabelResult
from runtime.evaluation.evaluation import Evaluation, Result
from runtime.evaluation.number_figures import NumberFigures
from runtime.evaluation.number_results import NumberResult
from runtime.evaluation.token_results import TokenResult

_LARGE = 1000.0  # shares beyond it are no shares any more
_MOST_ROWS = 12  # of a table: steps of a horizon, classes
NOTHING = "–"  # a figure that has no value
NUMBER_HEADER = ("", "MAE", "RMSE", "MAPE", "R²", "skill")
CLASS_HEADER = ("", "precision", "recall", "F1", "AUC", "examples")


def number(value: float | None, digits: int = 4) -> str:
    """A figure, or that there is none."""
    return NOTHING if value is None else readable(value, digits)


def _aligned(value: float | None, digits: int = 4) -> str:
    """A figure with so many digits, zeros at its end among them, as it is read best below others."""
    if value is None or not math.isfinite(value) or not 1e-3 <= abs(value) < 1e6:
        return number(value, digits)
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{decimals}f}"


def share(value: float | None) -> str:
    """A share of 1 with as many decimals as its neighbours."""
    if value is None or not abs(value) < _LARGE:
        return number(value)
    return f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share of 1 in percent."""
    if value is None or not abs(value) < _LARGE:
        return number(value)
    return f"{value:.1%}"


def number_cells(name: str, figures: NumberFigures, skill: str = "") -> list[str]:
    """A row of figures."""
    mape = NOTHING if figures.mape is None else f"{_aligned(figures.mape, 3)}%"
    return [name, _aligned(figures.mae), _aligned(figures.rmse), mape, share(figures.r2), skill]


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """All figures as lines."""
    lines: list[str] = []
    for target, result in evaluation.results.items():
        lines += ["", *_lines(result)]
        if target in evaluation.backtests:
            lines += ["", *_backtest_lines(evaluation.backtests[target])]
    return lines


def _lines(result: Result) -> list[str]:
    match result:
        case NumberResult():
            return _number_lines(result)
        case ClassResult():
            return _class_lines(result)
        case LabelResult():
            return _label_lines(result)
    return _token_lines(result)


def _number_lines(result: NumberResult) -> list[str]:
    rows: list[list[str]] = []
    for index in range(len(result.columns)):
        steps = step_rows(result, index)
        rows += column_rows(result, index) + [steps[at] for at in _spread(len(steps))]
    lines = [f"{result.task.title}: {heading(result)}", *table(NUMBER_HEADER, rows), *left_out(result)]
    if len(result.steps) > _MOST_ROWS:
        lines.append(f"  {_MOST_ROWS} of {len(result.steps)} steps; --json and --report have all of them")
    return lines


def _spread(count: int) -> list[int]:
    """The indices of rows that stand for so many: all of a few, or else the first, the last, and some between them."""
    if count <= _MOST_ROWS:
        return list(range(count))
    return [round(row * (count - 1) / (_MOST_ROWS - 1)) for row in range(_MOST_ROWS)]


def heading(result: NumberResult) -> str:
    """What is judged of a target of numbers, and in which units."""
    if not result.steps:
        return "in the units of the data"
    steps = result.steps
    ahead = f"{steps[0]} row{'' if steps[0] == 1 else 's'}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]} rows"
    season = f"; a season is {result.season}" if result.season is not None else ""
    return f"{ahead} ahead, in the units of the data{season}"


def column_rows(result: NumberResult | Backtest, column: int) -> list[list[str]]:
    """A row for a column, then one for each baseline."""
    name = result.columns[column] if len(result.columns) > 1 else "model"
    return [
        number_cells(name, result.figures(column)),
        *(
            number_cells(f"  {baseline}", result.baseline(baseline, column), percent(result.skill(baseline, column)))
            for baseline in result.baselines
        ),
    ]


def step_rows(result: NumberResult, column: int) -> list[list[str]]:
    """A row for each step of a horizon; none of a single one."""
    if len(result.steps) < 2:
        return []
    return [number_cells(f"  step {step}", result.figures(column, at)) for at, step in enumerate(result.steps)]


def left_out(result: NumberResult | Backtest) -> list[str]:
    """What the figures are not about."""
    lines = []
    for index, name in enumerate(result.columns):
        figures = result.figures(index)
        if figures.left_out:
            lines.append(
                f"  {name}: {figures.left_out:,} of {figures.count + figures.left_out:,} are not finite: left out"
            )
        for baseline in result.baselines:
            naive = result.baseline(baseline, index)
            if naive.left_out:
                row = f"{name}, {baseline}" if len(result.columns) > 1 else baseline
                count = naive.count + naive.left_out
                lines.append(f"  {row}: {naive.left_out:,} of {count:,} have no known value before them: left out")
        if figures.zeros:
            lines.append(f"  {name}: {figures.zeros:,} of {figures.count:,} are 0: left out of MAPE")
    return lines


def _backtest_lines(result: Backtest) -> list[str]:
    rows: list[list[str]] = []
    for index in range(len(result.columns)):
        rows += column_rows(result, index)
        rows += [
            number_cells(f"  {_rows_of(fold)}", result.figures(index, [fold])) for fold in result.folds[:_MOST_ROWS]
        ]
    lines = [f"backtest: {backtest_heading(result)}", *table(NUMBER_HEADER, rows), *left_out(result)]
    if len(result.folds) > _MOST_ROWS:
        lines.append(f"  and {len(result.folds) - _MOST_ROWS} more folds, which --json and --report have")
    return lines


def _rows_of(fold: Fold) -> str:
    if fold.series > 1:
        return f"{len(fold.rows):,} rows of {fold.series:,} series"
    first, last = int(fold.rows[0]) + 1, int(fold.rows[-1]) + 1
    return f"row {first:,}" if first == last else f"rows {first:,} to {last:,}"


def backtest_heading(result: Backtest) -> str:
    """How forecasts of a backtest are made."""
    count = len(result.folds)
    how = "feeding back its own forecasts" if result.fed_back else "going on from the actual rows"
    skipped = f"; {result.skipped:,} rows have too few before or after them" if result.skipped else ""
    return f"{count} fold{'' if count == 1 else 's'}, {how}{skipped}"


def class_summary(result: ClassResult) -> list[tuple[str, str]]:
    """The figures of all classes together."""
    figures = result.figures
    area = "AUC" if figures.is_binary else "AUC, each class against the rest"
    facts = [("accuracy", percent(figures.accuracy)), ("F1, mean of classes", _aligned(figures.average()["f1"]))]
    facts.append((area, _aligned(figures.auc)))
    if figures.probabilities is not None:
        facts.append(("log loss", _aligned(figures.log_loss)))
        facts.append(("Brier score", _aligned(figures.brier)))
        facts.append(("calibration error", percent(calibration_error(figures.calibration))))
    return facts


def class_rows(result: ClassResult) -> list[list[str]]:
    """A row for each class, then their averages."""
    figures = result.figures
    rows = [
        [
            of_class.name,
            *(share(value) for value in (of_class.precision, of_class.recall, of_class.f1, of_class.auc)),
            f"{of_class.support:,}",
        ]
        for of_class in figures.classes
    ]
    for name, weighted in (("mean of classes", False), ("weighted mean", True)):
        average = figures.average(weighted)
        cells = [share(average[key]) for key in ("precision", "recall", "f1")]
        area = share(figures.auc) if not weighted and not figures.is_binary else ""
        rows.append([name, *cells, area, f"{figures.count:,}"])
    return rows


def _class_lines(result: ClassResult) -> list[str]:
    rows = class_rows(result)
    more = len(rows) - 2 - _MOST_ROWS
    if more > 0:
        rows = [*rows[:_MOST_ROWS], *rows[-2:]]
    lines = [f"{result.task.title}: {len(result.figures.names)} classes"]
    summary = class_summary(result)
    width = max(len(name) for name, _ in summary)
    lines += [f"  {name:<{width}}  {value}" for name, value in summary]
    lines += ["", *table(CLASS_HEADER, rows)]
    if more > 0:
        lines.append(f"  and {more} more classes, which --json and --report have")
    if result.figures.left_out:
        lines.append(f"  {result.figures.left_out:,} examples have no finite prediction: left out")
    return lines


def label_rows(result: LabelResult) -> list[list[str]]:
    """A row for each label."""
    return [
        [
            name,
            *(share(value) for value in (yes.precision, yes.recall, yes.f1, label.auc)),
            f"{yes.support:,}",
        ]
        for name, label in zip(result.figures.names, result.figures.labels, strict=True)
        for yes in [label.classes[1]]
    ]


def label_summary(result: LabelResult) -> list[tuple[str, str]]:
    """The figures of all labels together."""
    figures = result.figures
    return [
        ("all labels right", percent(figures.all_right)),
        ("F1 of all answers", number(figures.micro())),
        ("F1, mean of labels", number(figures.macro())),
    ]


def _label_lines(result: LabelResult) -> list[str]:
    summary = label_summary(result)
    lines = [f"{result.task.title}: {len(result.figures.names)} labels"]
    lines += [f"  {name:<20}  {value}" for name, value in summary]
    lines += ["", *table(CLASS_HEADER, label_rows(result)[:_MOST_ROWS])]
    more = len(result.figures.names) - _MOST_ROWS
    return [*lines, f"  and {more} more labels, which --json and --report have"] if more > 0 else lines


def token_summary(result: TokenResult) -> list[tuple[str, str]]:
    """The figures of all tokens together."""
    return [
        ("perplexity", number(result.perplexity)),
        ("bits per token", number(result.bits)),
        ("token accuracy", percent(result.accuracy)),
        ("tokens", f"{result.tokens:,}"),
    ]


def _token_lines(result: TokenResult) -> list[str]:
    return [f"{result.task.title}: tokens", *(f"  {name:<20}  {value}" for name, value in token_summary(result))]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, numbers at the right; a column that is empty all along is left out."""
    kept = [index for index in range(len(header)) if index == 0 or any(row[index] for row in rows)]
    cells = [[row[index] for index in kept] for row in (header, *rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(kept))]
    lines = []
    for row in cells:
        first, *others = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append(f"  {'  '.join([first, *others])}".rstrip())
    return lines
