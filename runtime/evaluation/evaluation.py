"""The evaluation of a model on a part of its data: a result for each target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from runtime.data.target_gaps import missing_entries
from runtime.evaluation.backtest import Backtest, backtest
from runtime.evaluation.class_results import (
    ClassResult,
    ClassResultJson,
    LabelResult,
    LabelResultJson,
    binary_result,
    class_result,
    label_result,
    margin_result,
)
from runtime.evaluation.number_results import NumberResult, NumberResultJson, forecast_result, regression_result
from runtime.evaluation.part_outputs import PartOutputs, gathered, outputs_of
from runtime.evaluation.tasks import Task, reconstruction_tasks, tasks_of
from runtime.evaluation.token_results import TokenResult, TokenResultJson
from runtime.prediction.series import Window

if TYPE_CHECKING:
    from runtime.data.examples import Examples
    from runtime.data.padding import Padding
    from runtime.prediction.predictor import Predictor

Result = NumberResult | ClassResult | LabelResult | TokenResult
ResultJson = NumberResultJson | ClassResultJson | LabelResultJson | TokenResultJson


@dataclass(frozen=True)
class EvaluationSettings:
    """Examples in a batch, how rows of tokens are padded, and the user's choices for a series."""

    batch: int
    padding: Padding | None = None
    measured: frozenset[str] | None = None  # see `tasks_of`
    rebuilt: Mapping[str, str] = field(default_factory=dict)  # by an output the input that it is to be again
    season: int | None = None
    folds: int | None = None  # of a backtest, where one is asked for


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of a part, by target, and what there is to say of those that have none."""

    part: str
    results: dict[str, Result]
    backtests: dict[str, Backtest] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, ResultJson]:
        """All figures, target by target."""
        return {target: self._result_to_json(target) for target in self.results}

    def _result_to_json(self, target: str) -> ResultJson:
        result = self.results[target]
        if isinstance(result, NumberResult) and target in self.backtests:
            return {**result.to_json(), "backtest": self.backtests[target].to_json()}
        return result.to_json()


def evaluate(predictor: Predictor, data: Examples, part: str, settings: EvaluationSettings) -> Evaluation:
    """Evaluate a model on a part of the data, in raw units; NablacError for a backtest of what is not a series."""
    tasks, notes = tasks_of(predictor, data, settings.measured)
    tasks += reconstruction_tasks(predictor, data, settings.rebuilt)
    by_tokens = {
        task.target: TokenResult(task, data.padding_of(task.target) if data.padded else None)
        for task in tasks
        if task.what == "tokens"
    }
    kept: list[PartOutputs] = []
    names, targets = {task.output for task in tasks}, {task.target for task in tasks}
    of_tokens = {result.task.output for result in by_tokens.values()}
    for outputs in outputs_of(predictor, data, part, settings.batch, settings.padding, names) if tasks else ():
        for target, result in by_tokens.items():
            result.add(outputs.rows, outputs.targets[target], outputs.outputs[result.task.output])
        rest = {name: array for name, array in outputs.outputs.items() if name not in of_tokens}
        if rest:
            kept.append(PartOutputs(outputs.rows, rest, {name: outputs.targets[name] for name in targets}))
    results: dict[str, Result] = {}
    for task in tasks:
        results[task.target] = (
            by_tokens[task.target] if task.what == "tokens" else _result(task, predictor, data, kept, settings)
        )
    backtests: dict[str, Backtest] = {}
    if settings.folds is not None:
        backtests = {
            task.target: backtest(predictor, task, data, part, settings.folds, settings.season, settings.batch)
            for task in _forecasts(tasks)
        }
    if settings.season is not None and not any(task.what == "forecast" for task in tasks):
        notes.append("`--season` is of a series, and the model was not trained on one: it changes nothing")
    noted = [note for result in results.values() if isinstance(result, NumberResult) for note in result.notes]
    return Evaluation(part, results, backtests, (*notes, *noted))


def _forecasts(tasks: list[Task]) -> Iterable[Task]:
    """The tasks that are of a series; where there is none the first, for which a backtest says why it cannot be."""
    return [task for task in tasks if task.what == "forecast"] or tasks[:1]


def _result(
    task: Task, predictor: Predictor, data: Examples, parts: list[PartOutputs], settings: EvaluationSettings
) -> NumberResult | ClassResult | LabelResult:
    rows, predictions, truth = gathered(parts, task.output, task.target)
    if task.what not in ("forecast", "regression") and truth.dtype.kind == "f":
        lacking, _ = missing_entries(truth)
        rows, predictions, truth = rows[~lacking], predictions[~lacking], truth[~lacking]
    match task.what:
        case "classes":
            return replace(class_result(task, rows, truth, predictions), lines=data.lines, files=data.files)
        case "binary":
            return replace(binary_result(task, rows, truth, predictions), lines=data.lines, files=data.files)
        case "labels":
            return label_result(task, rows, truth, predictions)
        case "margin":
            return margin_result(task, rows, truth, predictions)
        case "forecast":
            window = Window.of(predictor.recipe)
            assert window is not None
            return forecast_result(task, window, data, rows, truth, predictions, settings.season)
    return regression_result(task, data, rows, truth, predictions)
