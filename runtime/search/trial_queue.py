"""The queue of trials, shared by workers: each trial is claimed by one, and by another if that dies."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from runtime.search.locks import Locks, hold_claims
from runtime.search.suggestions import Values

# Attributes of a trial in the storage.
WORKER, FOLDER, MESSAGE, SAME = "worker", "folder", "message", "same_as"
EPOCHS, BEST_EPOCH, SECONDS = "epochs", "best_epoch", "seconds"
_TOTAL = "total"  # of trials, once they are known


class TrialQueue:
    """One worker's access to the queue, a context manager that holds a lock while the worker is alive.

    Trials wait in the storage. Claims are made one at a time, so that only one worker claims a running trial whose
    worker has died, and resumes it.
    """

    def __init__(self, study: optuna.Study, locks: Locks) -> None:
        self.study = study
        self.name = secrets.token_hex(8)
        self._locks = locks
        self._claimed: set[int] = set()

    def __enter__(self) -> TrialQueue:
        self._locks.acquire(self.name)
        return self

    def __exit__(self, *raised: object) -> None:
        self._locks.release(self.name, is_last=True)

    def claim(self) -> optuna.Trial | None:
        """A trial whose worker has died, or else the first that waits; None if there is neither."""
        with hold_claims(self._locks):
            trials = self.study.get_trials(deepcopy=False)
            trial = None
            for other in trials:
                if other.state is TrialState.RUNNING and other.number not in self._claimed and self._is_orphan(other):
                    trial = optuna.Trial(self.study, other._trial_id)
                    break
            if trial is None and any(other.state is TrialState.WAITING for other in trials):
                trial = self.study.ask()
            if trial is not None:
                trial.set_user_attr(WORKER, self.name)
                self._claimed.add(trial.number)
            return trial

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        """Whether a running trial's worker is dead, so that its lock is free. Call it with the claims lock held."""
        worker = trial.user_attrs.get(WORKER)
        if worker is None:  # killed before it recorded its name
            return True
        is_dead = self._locks.acquire(str(worker), wait=False)
        if is_dead:
            self._locks.release(str(worker), is_last=True)
        return is_dead

    @property
    def is_over(self) -> bool:
        """Whether every trial has ended."""
        return all(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))

    def twin(self, number: int) -> FrozenTrial | None:
        """An earlier trial with the same values, which may still run; None if there is none."""
        trials = self.study.get_trials(deepcopy=False)
        own = trials[number]
        return next((trial for trial in trials[:number] if trial.params == own.params and _is_begun(trial)), None)


def _is_begun(trial: FrozenTrial) -> bool:
    return trial.state is not TrialState.WAITING and bool(trial.params)


def total(study: optuna.Study) -> int | None:
    """The number of trials of the study; None if its queue was never completely filled."""
    value: int | None = study.user_attrs.get(_TOTAL)
    return value


def fill(study: optuna.Study, trials: Iterable[Values], count: int) -> None:
    """Add the missing ones of the first `count` trials to the queue, with fixed values or none."""
    present = len(study.get_trials(deepcopy=False))
    for number, values in enumerate(trials):
        if number >= count:
            break
        if number >= present:
            study.enqueue_trial(values)
    study.set_user_attr(_TOTAL, count)
