"""What the trials of a study came to: in the order of their numbers, as a table, and the best of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from runtime.search.trial_queue import BEST_EPOCH, EPOCHS, FOLDER, MESSAGE, SAME, SECONDS

STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
ENDED = ("done", "pruned", "failed")


@dataclass(frozen=True)
class TrialResult:
    """One trial. `values` are those of its variables by name: numbers, or the texts of options."""

    number: int
    state: str
    values: dict[str, Any]
    objective: float | None  # the best of the monitored quantity; of a pruned trial the last
    epochs: int | None
    best_epoch: int | None
    seconds: float
    same_as: int | None  # an earlier trial of the same values
    message: str | None  # why it failed
    folder: str | None

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return asdict(self)


def trial_results(study: optuna.Study) -> list[TrialResult]:
    """Every trial that was begun."""
    trials = study.get_trials(deepcopy=False)
    return [_result(trial) for trial in trials if trial.state is not TrialState.WAITING]


def _result(trial: FrozenTrial) -> TrialResult:
    facts = trial.user_attrs
    return TrialResult(
        number=trial.number,
        state=STATES[trial.state],
        values=dict(trial.params),
        objective=trial.value if trial.state.is_finished() else None,
        epochs=facts.get(EPOCHS),
        best_epoch=facts.get(BEST_EPOCH),
        seconds=0.0 if SAME in facts else float(facts.get(SECONDS, 0.0)),
        same_as=facts.get(SAME),
        message=facts.get(MESSAGE),
        folder=facts.get(FOLDER),
    )


def ranked(trials: Iterable[TrialResult], higher_is_better: bool) -> list[TrialResult]:
    """The trials that are done, the best first; of equal ones the earlier."""
    done = [trial for trial in trials if trial.state == "done" and trial.objective is not None]
    sign = -1.0 if higher_is_better else 1.0
    return sorted(done, key=lambda trial: sign * (trial.objective or 0.0))


def variable_columns(trials: Sequence[TrialResult]) -> list[str]:
    """The names of all variables that a trial had, as the first trials met them."""
    return list(dict.fromkeys(name for trial in trials for name in trial.values))


def table(trials: Sequence[TrialResult], monitor: str) -> str:
    """All trials as CSV; a cell is empty where a trial had no such variable."""
    names = variable_columns(trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *names, monitor, "epochs", "best_epoch", "seconds", "same_as", "message"])
    for trial in trials:
        values = [trial.values.get(name, "") for name in names]
        ends = (trial.objective, trial.epochs, trial.best_epoch, trial.seconds, trial.same_as, trial.message)
        writer.writerow([trial.number, trial.state, *values, *("" if each is None else each for each in ends)])
    return text.getvalue()
