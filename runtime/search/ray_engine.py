"""Working on a study with Ray Tune, whose trials run on the machines of a Ray cluster."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.search.ray_search import StudySearch
from runtime.search.ray_trial import EPOCH, VALUE, run_in_cluster
from runtime.search.study_sampler import STARTUP_TRIALS, first_epochs
from runtime.search.trial_queue import TrialQueue
from runtime.workers.ray_cluster import require_ray

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.search.locks import Locks
    from runtime.search.studies import OpenStudy

_RETRIES = 2  # of a trial whose worker dies
_BRACKETS = 3  # of hyperband
_FILES = "ray"  # the folder of Ray Tune's own files in a study's, while it runs
_SETTINGS = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the command handles signals
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # each run writes its history
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failure has no value
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # whose tables are printed at any verbosity
}


def work_on_ray(
    study: OpenStudy,
    jobs: int | None,
    stop: Callable[[], bool],
    look: Callable[[], None],
    epoch: Callable[[int, int], None],
) -> None:
    """Work on a study until every trial has ended, or `stop` returns true, with at most `jobs` trials at a time.

    The process has joined a cluster. NablacError for one without room for a trial, and for errors that all trials
    would meet.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _SETTINGS.items()})
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    resources = _resources(study)
    most = _room(resources)
    with TrialQueue(study.study, study.locks) as queue:
        search = StudySearch(study, queue, stop, look, epoch)
        files = study.folder.resolve() / _FILES
        _remove_leftovers(files, study.locks)
        try:
            with closing(search):
                _tuner(
                    study, search, resources, min(jobs or most, most), str(files), queue.name,
                    lambda: stop() or search.error is not None,
                ).fit()  # fmt: skip
        except tune.TuneError:
            if search.error is None:
                raise
        finally:
            shutil.rmtree(files / queue.name, ignore_errors=True)
            if files.is_dir() and not any(files.iterdir()):
                files.rmdir()
        if search.error is not None:
            raise search.error


def _remove_leftovers(files: Path, locks: Locks) -> None:
    """Remove the files of Ray Tune's that killed commands have left: the folders of workers whose locks are free."""
    for folder in files.iterdir() if files.is_dir() else ():
        if locks.acquire(folder.name, wait=False):
            shutil.rmtree(folder, ignore_errors=True)
            locks.release(folder.name, is_last=True)


def _tuner(
    study: OpenStudy,
    search: StudySearch,
    resources: dict[str, float],
    jobs: int,
    files: str,
    name: str,
    stop: Callable[[], bool],
) -> Any:
    epochs = study.setup.training(study.setup.source).settings().epochs
    return tune.Tuner(
        tune.with_resources(run_in_cluster, resources),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=_scheduler(study, epochs),
            num_samples=-1,  # until the search has no more
            max_concurrent_trials=jobs,
            reuse_actors=True,  # a worker keeps what it has read
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=files,
            stop=_Stop(stop),
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            verbose=0,
        ),
    )


def _scheduler(study: OpenStudy, epochs: int) -> Any:
    """Ray Tune's scheduler for a study's pruner; None without one."""
    common = {"time_attr": EPOCH, "metric": VALUE, "mode": "max" if study.record.higher_is_better else "min"}
    first = first_epochs(epochs)
    # A trial that reaches its last epoch still writes its results, and is not to be stopped there.
    match study.record.search.pruner:
        case "halving":
            return ASHAScheduler(max_t=epochs + 1, grace_period=max(1, first), **common)
        case "hyperband":
            return ASHAScheduler(max_t=epochs + 1, grace_period=max(1, first), brackets=_BRACKETS, **common)
        case "median":
            return MedianStoppingRule(grace_period=first, min_samples_required=STARTUP_TRIALS, **common)
    return None


def _resources(study: OpenStudy) -> dict[str, float]:
    """What a trial needs of a machine."""
    needed = {"CPU": float(study.record.threads or 1)}
    if study.record.options.device == "cuda":  # any one; a numbered device is the same on all machines
        needed["GPU"] = 1.0
    return needed


def _room(resources: dict[str, float]) -> int:
    """The number of trials that a cluster runs at a time; NablacError for one without room for any."""
    machines = [node["Resources"] for node in require_ray().nodes() if node["Alive"]]
    room = sum(min(int(machine.get(name, 0) // needed) for name, needed in resources.items()) for machine in machines)
    if not room:
        words = {"CPU": "processors", "GPU": "GPUs"}
        needs = " and ".join(f"{needed:g} {words[name]}" for name, needed in resources.items())
        message = f"no machine of the cluster has {needs}, as a trial needs"
        hint = "fewer `--threads`, another `--device`, or a larger cluster"
        raise NablacError(Diagnostic(codes.E893, message, place="--engine", hint=hint))
    return room


class _Stop(tune.Stopper):  # type: ignore[misc]  # Ray's classes are untyped
    """Stops all trials once a function returns true."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._stop()

    def __getstate__(self) -> dict[str, Any]:
        return {}
