"""A study as a search algorithm of Ray Tune: it hands out the trials that wait in the storage, and records their ends.

Ray Tune's own `OptunaSearch` would keep a second study. This one draws by the same samplers of Optuna, and its state is
the storage: other processes, with Ray or without, work on the same study, and resume what a dead one was running.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from ray.tune.search import Searcher

from compiler.search import choose_values
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.search.ray_trial import BEST, COMMAND, EPOCH, FAILURE, FOLDER, NUMBER, OUTCOME, REFUSAL, VALUE, VALUES
from runtime.search.suggestions import draw_from
from runtime.search.trial_ends import copy_results, is_of_values, record_failure, record_outcome
from runtime.search.trial_queue import FOLDER as RUN_FOLDER
from runtime.search.trial_run import Outcome
from runtime.training.run_sessions import mask_passwords

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy
    from runtime.search.trial_queue import TrialQueue

_SECONDS = "time_total_s"  # Ray Tune's, in every result


class StudySearch(Searcher):  # type: ignore[misc]  # Ray's classes are untyped
    """The trials of a study for Ray Tune, which calls the methods in the process of the command.

    `stop` is asked for whether trials that end have been stopped. What a method raises is kept as `error`: Ray Tune
    would replace it.
    """

    def __init__(
        self,
        study: OpenStudy,
        queue: TrialQueue,
        stop: Callable[[], bool],
        look: Callable[[], None],
        epoch: Callable[[int, int], None],
    ) -> None:
        super().__init__(metric=VALUE, mode="max" if study.record.higher_is_better else "min")
        self._study, self._queue = study, queue
        self._stop, self._look, self._epoch = stop, look, epoch
        self._trials: dict[str, optuna.Trial] = {}  # that run, by Ray Tune's name
        self._last: dict[str, dict[str, Any]] = {}  # result of each
        self._reported: dict[str, set[int]] = {}  # epochs of each
        self._waiting: dict[int, optuna.Trial] = {}  # for an earlier trial with the same values, which still runs
        self.error: BaseException | None = None

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial; None while all that are left run."""
        try:
            return self._next(trial_id)
        except Exception as error:
            self.error = self.error or error
            return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record the monitored quantity after an epoch, for pruning."""
        try:
            self._record_epoch(trial_id, result)
        except Exception as error:
            self.error = self.error or error

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record the end of a trial: its outcome, its failure, or that it is pruned."""
        try:
            self._record_end(trial_id, result or {}, error)
        except Exception as raised:
            self.error = self.error or raised

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the storage has the state."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune pickles what it is configured with."""
        return {}

    def close(self) -> None:
        """Record the time of the trials that were stopped; they stay running without a worker."""
        for trial_id, trial in self._trials.items():
            seconds = float(self._last.get(trial_id, {}).get(_SECONDS, 0.0))
            record_outcome(self._study.study, trial, Outcome(None, 0, 0, seconds, is_over=False))

    def _next(self, trial_id: str) -> Any:
        study = self._study
        for number, waiting in list(self._waiting.items()):
            if copy_results(study.study, waiting, self._queue.twin(number)):
                del self._waiting[number]
        while not self._stop() and self.error is None:
            trial = self._queue.claim()
            if trial is None:
                self._look()
                return Searcher.FINISHED if self._queue.is_over else None
            try:
                choose_values(study.setup.source, draw_from(trial))
            except NablacError as error:
                if not is_of_values(error):
                    raise
                record_failure(study.study, trial, error.diagnostics[0])
                continue
            twin = self._queue.twin(trial.number)
            if twin is not None:
                if not copy_results(study.study, trial, twin):
                    self._waiting[trial.number] = trial
                continue
            trial.set_user_attr(RUN_FOLDER, str(study.trial_folder(trial.number).resolve()))
            self._trials[trial_id] = trial
            frozen = study.study.get_trials(deepcopy=False)[trial.number]
            self._reported[trial_id] = set(frozen.intermediate_values)
            return {
                FOLDER: str(study.folder.resolve()),
                COMMAND: [mask_passwords(argument) for argument in sys.argv],
                NUMBER: trial.number,
                VALUES: dict(trial.params),
            }
        return None

    def _record_epoch(self, trial_id: str, result: dict[str, Any]) -> None:
        self._last[trial_id] = result
        if EPOCH not in result or trial_id not in self._trials:
            return
        trial, epoch = self._trials[trial_id], result[EPOCH]
        self._epoch(trial.number, epoch)
        # An epoch that is run again, by another worker, has the same result.
        if self._study.record.search.pruner is not None and epoch not in self._reported[trial_id]:
            self._reported[trial_id].add(epoch)
            trial.report(result[VALUE], epoch)

    def _record_end(self, trial_id: str, result: dict[str, Any], failed: bool) -> None:
        is_last = any(name in result for name in (OUTCOME, FAILURE, REFUSAL))
        if trial_id not in self._trials or (self._stop() and not is_last):
            return
        study = self._study.study
        if REFUSAL in result:
            raise NablacError(*result[REFUSAL])
        if not is_last and not failed:
            self._record_epoch(trial_id, result)
        trial = self._trials.pop(trial_id)
        if OUTCOME in result:
            record_outcome(study, trial, result[OUTCOME])
        elif FAILURE in result:
            record_failure(study, trial, result[FAILURE])
        elif failed:
            record_failure(study, trial, Diagnostic(codes.E891, "its worker has died each time"))
        else:
            seconds = float(result.get(_SECONDS, 0.0))
            record_outcome(study, trial, Outcome(None, result[EPOCH], result[BEST], seconds, is_pruned=True))
        self._look()
