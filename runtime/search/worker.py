"""A worker: claims trials, runs them and records their results, until none is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from compiler.search import choose_values
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.search.storages import storage_errors
from runtime.search.suggestions import draw_from
from runtime.search.trial_queue import BEST_EPOCH, EPOCHS, FOLDER, MESSAGE, SAME, SECONDS, TrialQueue
from runtime.search.trial_run import Outcome, Pruned, Watch, run_trial

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy
    from runtime.training.checkpoints import Position

_PAUSE = 0.25  # seconds between checks of trials that other workers run
_OF_ENVIRONMENT = (codes.E809, codes.E841, codes.E843)  # errors that the next trial would meet too


def work(
    study: OpenStudy,
    stop: Callable[[], bool],
    look: Callable[[], None] = lambda: None,
    epoch: Callable[[int, Position], None] = lambda number, position: None,
) -> None:
    """Work on a study until every trial has ended, or `stop` returns true; it is called after every batch.

    `look` is called when a trial may have ended, here or elsewhere. NablacError for errors of the environment; errors
    of one trial's values are recorded, and the study continues.
    """
    waiting: dict[int, optuna.Trial] = {}  # for an earlier trial with the same values, which runs elsewhere
    with storage_errors(study.address), TrialQueue(study.study, study.locks) as queue:
        while not stop():
            for number, trial in list(waiting.items()):
                if _copy_results(study, trial, queue.twin(number)):
                    del waiting[number]
            claimed = queue.claim()
            if claimed is not None:
                if not _Attempt(study, claimed, queue, stop, epoch).run():
                    waiting[claimed.number] = claimed
            elif queue.is_over:
                look()
                return
            else:
                time.sleep(_PAUSE)
            look()


class _Attempt:
    """One trial at a worker."""

    def __init__(
        self,
        study: OpenStudy,
        trial: optuna.Trial,
        queue: TrialQueue,
        stop: Callable[[], bool],
        epoch: Callable[[int, Position], None],
    ) -> None:
        self.study, self.trial, self.queue = study, trial, queue
        self.stop, self.shown = stop, epoch
        self.reported = set(study.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def run(self) -> bool:
        """Run the trial; False if it waits for an earlier one with the same values."""
        study, trial = self.study, self.trial
        try:
            choices = choose_values(study.setup.source, draw_from(trial))
            twin = self.queue.twin(trial.number)
            if twin is not None:
                return _copy_results(study, trial, twin)
            path = study.trial_folder(trial.number)
            trial.set_user_attr(FOLDER, str(path.resolve()))
            outcome = run_trial(
                study.setup, study.setup.of_texts(choices.texts), path, Watch(stop=self.stop, epoch=self._epoch)
            )
        except NablacError as error:
            if not _is_of_values(error):
                raise
            self._fail(error.diagnostics[0])
        except MemoryError:
            self._fail(Diagnostic(codes.E810, "not enough memory"))
        else:
            self._record(outcome)
        return True

    def _epoch(self, position: Position, value: float) -> None:
        self.shown(self.trial.number, position)
        if self.study.record.search.pruner is None:
            return
        if position.epoch not in self.reported:  # an epoch that is run again has the same result
            self.reported.add(position.epoch)
            self.trial.report(value, position.epoch)
        if self.trial.should_prune():
            raise Pruned

    def _record(self, outcome: Outcome) -> None:
        trial = self.trial
        before = float(trial.user_attrs.get(SECONDS, 0.0))
        trial.set_user_attr(SECONDS, round(before + outcome.seconds, 3))
        if not outcome.is_over:
            return  # it stays running without a worker: the next one resumes it
        trial.set_user_attr(EPOCHS, outcome.epochs)
        trial.set_user_attr(BEST_EPOCH, outcome.best_epoch)
        if outcome.is_pruned:
            self.study.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.study.tell(trial, outcome.value)

    def _fail(self, diagnostic: Diagnostic) -> None:
        self.trial.set_user_attr(MESSAGE, f"{diagnostic.code}: {diagnostic.message}")
        self.study.study.tell(self.trial, state=TrialState.FAIL)


def _copy_results(study: OpenStudy, trial: optuna.Trial, twin: FrozenTrial | None) -> bool:
    """Record the results of an earlier trial with the same values; False if that has not ended yet."""
    assert twin is not None, "trials are never removed"
    if not twin.state.is_finished():
        return False
    trial.set_user_attr(SAME, twin.user_attrs.get(SAME, twin.number))
    for name in (MESSAGE, EPOCHS, BEST_EPOCH):
        if name in twin.user_attrs:
            trial.set_user_attr(name, twin.user_attrs[name])
    if twin.state is TrialState.COMPLETE:
        study.study.tell(trial, twin.value)
        return True
    if twin.last_step is not None and twin.state is TrialState.PRUNED:
        trial.report(twin.intermediate_values[twin.last_step], twin.last_step)
    study.study.tell(trial, state=twin.state)
    return True


def _is_of_values(error: NablacError) -> bool:
    """Whether an error is about a trial's values, and not about the environment of all trials."""
    return all(fault.code[1] != "9" and fault.code not in _OF_ENVIRONMENT for fault in error.diagnostics)
