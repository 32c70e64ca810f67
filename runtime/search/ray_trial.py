"""A trial at a worker of a Ray cluster: an ordinary run in the study's folder, which reports each epoch to Ray Tune."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.search import choose_values
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import reason_of
from runtime.search.resuming import study_setup
from runtime.search.study_record import STUDY, TRIALS, StudyRecord, cannot_resume, read_study
from runtime.search.suggestions import replay
from runtime.search.trial_ends import is_of_values
from runtime.search.trial_run import Outcome, Watch, run_trial
from runtime.thread_limits import with_threads

if TYPE_CHECKING:
    from runtime.search.trial_setup import TrialSetup
    from runtime.training.checkpoints import Position

# Of the configuration that Ray Tune passes to a worker, and of the results that this reports.
FOLDER, COMMAND, NUMBER, VALUES = "study", "command", "trial", "values"
EPOCH, VALUE, BEST, OUTCOME, FAILURE, REFUSAL = "epoch", "value", "best_epoch", "outcome", "failure", "refusal"


def run_in_cluster(configuration: dict[str, Any]) -> dict[str, Any]:
    """Run a trial, from its last checkpoint if there is one; returns its last result.

    That has an `Outcome`, the diagnostic of its failure, or those of an error that all trials would meet.
    """
    folder = Path(configuration[FOLDER])
    sys.argv = configuration[COMMAND]  # which a run records
    try:
        record, setup = _study(folder)
    except NablacError as error:
        return _last({REFUSAL: error.diagnostics})
    try:
        with with_threads(record.threads):
            outcome = _run(setup, configuration[VALUES], folder / TRIALS / str(configuration[NUMBER]))
    except NablacError as error:
        if not is_of_values(error):
            return _last({REFUSAL: error.diagnostics})
        first = error.diagnostics[0]
        return _last({FAILURE: Diagnostic(first.code, first.message)})
    except MemoryError:
        return _last({FAILURE: Diagnostic(codes.E810, "not enough memory")})
    except OSError as error:
        return _last({REFUSAL: (Diagnostic(codes.E916, f"a worker ended: {reason_of(error)}", place=str(folder)),)})
    return _last({OUTCOME: outcome, EPOCH: outcome.epochs, VALUE: outcome.value})


def _last(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "done": True}


def _run(setup: TrialSetup, values: dict[str, Any], path: Path) -> Outcome:
    from ray import tune

    def report(position: Position, value: float) -> None:
        tune.report({EPOCH: position.epoch, VALUE: value, BEST: position.best_epoch})

    source = setup.of_texts(choose_values(setup.source, replay(values)).texts)
    return run_trial(setup, source, path, Watch(epoch=report))


@cache  # a worker runs one trial after the other, on the same data
def _study(folder: Path) -> tuple[StudyRecord, TrialSetup]:
    """The record and the setup of a study; NablacError if this machine has another model or other data, or neither."""
    if not os.path.isfile(folder / STUDY):
        message, hint = f"a machine of the cluster does not see {folder}", "put it on a disk that all of them share"
        raise cannot_resume(folder, message, hint)
    record = read_study(folder)
    return record, study_setup(folder, record)[0]
