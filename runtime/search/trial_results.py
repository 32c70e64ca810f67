"""The results of the trials of a study: in order, as a table, and ranked."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, TypedDict, cast

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from runtime.search.trial_queue import BEST_EPOCH, EPOCHS, FOLDER, MESSAGE, SAME, SECONDS
from runtime.search.trial_rows import State, TrialRow, Value

_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
ENDED = ("done", "pruned", "failed")


class TrialJson(TypedDict):
    """A trial of a study."""

    number: Annotated[int, "from 0"]
    state: Annotated[State, "`done`, `pruned`, `failed` or `running`"]
    values: Annotated[dict[str, Value], "of the variables that it reached, by name"]
    objective: Annotated[float | None, "the monitored quantity in the best epoch"]
    epochs: Annotated[int | None, "finished ones"]
    seconds: Annotated[float | None, "of all its epochs"]
    message: Annotated[str, "why it failed or was not trained; else empty"]
    best_epoch: Annotated[int | None, "from 1"]
    same_as: Annotated[int | None, "an earlier trial with the same values, whose results it has"]
    folder: Annotated[str | None, "of its run"]


@dataclass(frozen=True)
class TrialResult(TrialRow):
    """One trial with facts of its run."""

    best_epoch: int | None = None
    same_as: int | None = None  # an earlier trial with the same values, whose results it has
    folder: str | None = None  # of its run

    def to_json(self) -> TrialJson:
        """As `nablac tune --json` prints it."""
        return cast("TrialJson", asdict(self))


def trial_results(study: optuna.Study) -> list[TrialResult]:
    """The results of all trials that have started."""
    trials = study.get_trials(deepcopy=False)
    return [_result(trial) for trial in trials if trial.state is not TrialState.WAITING]


def _result(trial: FrozenTrial) -> TrialResult:
    facts = trial.user_attrs
    same = facts.get(SAME)
    return TrialResult(
        number=trial.number,
        state=_STATES[trial.state],
        values={name: _value(trial, name) for name in trial.params},
        objective=trial.value if trial.state.is_finished() else None,
        epochs=facts.get(EPOCHS),
        seconds=None if same is not None else facts.get(SECONDS),
        message=facts.get(MESSAGE) or (f"the same as trial {same}" if same is not None else ""),
        best_epoch=facts.get(BEST_EPOCH),
        same_as=same,
        folder=facts.get(FOLDER),
    )


def _value(trial: FrozenTrial, name: str) -> Value:
    """The value of a variable; options that are numbers or flags are converted from their texts."""
    value: Value = trial.params[name]
    distribution = trial.distributions[name]
    if not isinstance(distribution, CategoricalDistribution):
        return value
    for read in (int, float):
        try:
            numbers: list[float] = [read(str(choice)) for choice in distribution.choices]
        except ValueError:
            continue
        return numbers[distribution.choices.index(value)]
    flags = {"true": True, "false": False}
    return flags[str(value)] if flags.keys() >= set(distribution.choices) else value


def ranked(trials: Iterable[TrialResult], higher_is_better: bool) -> list[TrialResult]:
    """The trials that are done, best first, equal ones in order."""
    done = [(trial.objective, trial) for trial in trials if trial.state == "done" and trial.objective is not None]
    sign = -1.0 if higher_is_better else 1.0
    return [trial for _, trial in sorted(done, key=lambda pair: (sign * pair[0], pair[1].number))]


def variable_columns(trials: Sequence[TrialResult]) -> list[str]:
    """The names of all variables of the trials, in the order in which they appear."""
    return list(dict.fromkeys(name for trial in trials for name in trial.values))


def table(trials: Sequence[TrialResult], monitor: str) -> str:
    """All trials as CSV; cells of variables that a trial did not reach are empty."""
    names = variable_columns(trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *names, monitor, "epochs", "best_epoch", "seconds", "same_as", "message"])
    for trial in trials:
        values = [trial.values.get(name, "") for name in names]
        ends = (trial.objective, trial.epochs, trial.best_epoch, trial.seconds, trial.same_as, trial.message)
        writer.writerow([trial.number, trial.state, *values, *("" if end is None else end for end in ends)])
    return text.getvalue()
