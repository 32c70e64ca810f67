"""How trials end: what is recorded of their outcomes and failures, and which errors are those of a trial."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.search.trial_queue import BEST_EPOCH, EPOCHS, MESSAGE, SAME, SECONDS
from runtime.search.trial_run import Outcome

_OF_ENVIRONMENT = (codes.E809, codes.E841, codes.E843)  # errors that the next trial would meet too


def record_outcome(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> None:
    """Record the outcome of a trial; one that is not over stays running without a worker: the next one resumes it."""
    before = float(trial.user_attrs.get(SECONDS, 0.0))
    trial.set_user_attr(SECONDS, round(before + outcome.seconds, 3))
    if not outcome.is_over:
        return
    trial.set_user_attr(EPOCHS, outcome.epochs)
    trial.set_user_attr(BEST_EPOCH, outcome.best_epoch)
    if outcome.is_pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, outcome.value)


def record_failure(study: optuna.Study, trial: optuna.Trial, diagnostic: Diagnostic) -> None:
    """Record why a trial failed."""
    trial.set_user_attr(MESSAGE, f"{diagnostic.code}: {diagnostic.message}")
    study.tell(trial, state=TrialState.FAIL)


def copy_results(study: optuna.Study, trial: optuna.Trial, twin: FrozenTrial | None) -> bool:
    """Record the results of an earlier trial with the same values; False if that has not ended yet."""
    assert twin is not None, "trials are never removed"
    if not twin.state.is_finished():
        return False
    trial.set_user_attr(SAME, twin.user_attrs.get(SAME, twin.number))
    for name in (MESSAGE, EPOCHS, BEST_EPOCH):
        if name in twin.user_attrs:
            trial.set_user_attr(name, twin.user_attrs[name])
    if twin.state is TrialState.COMPLETE:
        study.tell(trial, twin.value)
        return True
    if twin.last_step is not None and twin.state is TrialState.PRUNED:
        trial.report(twin.intermediate_values[twin.last_step], twin.last_step)
    study.tell(trial, state=twin.state)
    return True


def is_of_values(error: NablacError) -> bool:
    """Whether an error is about a trial's values, and not about the environment of all trials."""
    return all(fault.code[1] != "9" and fault.code not in _OF_ENVIRONMENT for fault in error.diagnostics)
