"""A worker: claims trials, runs them and records their results, until none is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import optuna

from compiler.search import choose_values
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.search.storages import storage_errors
from runtime.search.suggestions import draw_from
from runtime.search.trial_ends import copy_results, is_of_values, record_failure, record_outcome
from runtime.search.trial_queue import FOLDER, TrialQueue
from runtime.search.trial_run import Pruned, Watch, run_trial

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy
    from runtime.training.checkpoints import Position

_PAUSE = 0.25  # seconds between checks of trials that other workers run


def work(
    study: OpenStudy,
    stop: Callable[[], bool],
    look: Callable[[], None] = lambda: None,
    epoch: Callable[[int, int], None] = lambda number, epoch: None,
) -> None:
    """Work on a study until every trial has ended, or `stop` returns true; it is called after every batch.

    `look` is called when a trial may have ended, here or elsewhere, and `epoch` after each epoch of a trial.
    NablacError for errors of the environment; errors of one trial's values are recorded, and the study continues.
    """
    waiting: dict[int, optuna.Trial] = {}  # for an earlier trial with the same values, which runs elsewhere
    with storage_errors(study.address), TrialQueue(study.study, study.locks) as queue:
        while not stop():
            for number, trial in list(waiting.items()):
                if copy_results(study.study, trial, queue.twin(number)):
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
        epoch: Callable[[int, int], None],
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
                return copy_results(study.study, trial, twin)
            path = study.trial_folder(trial.number)
            trial.set_user_attr(FOLDER, str(path.resolve()))
            outcome = run_trial(
                study.setup, study.setup.of_texts(choices.texts), path, Watch(stop=self.stop, epoch=self._epoch)
            )
        except NablacError as error:
            if not is_of_values(error):
                raise
            record_failure(study.study, trial, error.diagnostics[0])
        except MemoryError:
            record_failure(study.study, trial, Diagnostic(codes.E810, "not enough memory"))
        else:
            record_outcome(study.study, trial, outcome)
        return True

    def _epoch(self, position: Position, value: float) -> None:
        self.shown(self.trial.number, position.epoch)
        if self.study.record.search.pruner is None:
            return
        if position.epoch not in self.reported:  # an epoch that is run again has the same result
            self.reported.add(position.epoch)
            self.trial.report(value, position.epoch)
        if self.trial.should_prune():
            raise Pruned
