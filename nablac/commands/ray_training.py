"""`nablac train --engine ray`: the command that starts the workers on a cluster, and watches them until they end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.visible import shell_word
from nablac.commands.output import note
from nablac.commands.ray_worker import WATCH, Ended, News, Task, Terminal, TrainingWorker
from nablac.commands.signals import collected_signals, end_by
from runtime.training.folder import RunFolder
from runtime.workers.ray_cluster import Cluster, connect, require_ray
from runtime.workers.ray_collective import EXCHANGE

_START = 120.0  # seconds in which workers have to start
_END = 10.0  # seconds in which the others have to end when one has failed
_NAMING = 1.0  # seconds in which it is known which worker has died
_RELEASE = 20.0  # seconds in which the processors of workers are free again
_RESTARTS = 3  # without a new checkpoint between them


@dataclass(frozen=True)
class RayTraining:
    """A training on a cluster. `resumed` are the arguments with which workers continue the run in a folder."""

    arguments: list[str]
    resumed: Callable[[Path], list[str]]
    workers: int
    timeout: float  # seconds in which a worker has to answer
    threads: int = 1  # processors for each
    gpus: int = 0  # for each
    address: str | None = None
    elastic: bool = False
    folder: Path | None = None  # of a run that is continued


class _Lost(Exception):
    """Some of the workers are lost; the run's folder, if there is one."""

    def __init__(self, reason: str, folder: Path | None) -> None:
        super().__init__(reason)
        self.folder = folder


def watch_training(training: RayTraining) -> int:
    """Train; returns the exit status. Raises NablacError for a cluster that cannot be used, and for lost workers."""
    with connect(training.address) as cluster:
        require_processors(cluster, training)
        arguments, size, restarts = training.arguments, training.workers, 0
        folder, seen = training.folder, _checkpoints(training.folder)
        while True:
            try:
                with _workers(cluster, size, training) as workers:
                    return _watch(workers, arguments, training.timeout)
            except _Lost as lost:
                reason, folder = str(lost), lost.folder or folder
            restarts = restarts + 1 if _checkpoints(folder) <= seen else 1
            seen |= _checkpoints(folder)
            if not training.elastic:
                raise _lost_worker(reason, folder)
            if restarts > _RESTARTS:
                raise _lost_worker(f"{reason}, as after {_RESTARTS} restarts since the last checkpoint", folder)
            size = min(training.workers, *(free // per_worker for _, per_worker, free, _ in _needs(cluster, training)))
            if not size:
                raise _lost_worker(f"{reason}, and the cluster has no processor or GPU for another", folder)
            again = "continues from its last checkpoint" if folder is not None else "starts again"
            note(f"{reason}: the run {again} with {f'{size} workers' if size > 1 else 'one worker'}")
            arguments = training.resumed(folder) if folder is not None else arguments


def _lost_worker(reason: str, folder: Path | None) -> NablacError:
    hint = None
    if folder is not None:
        command = f"nablac train --resume {shell_word(folder)}"
        hint = f"the last checkpoint is good: `{command}` continues from it, on any number of workers"
    return NablacError(Diagnostic(codes.E891, f"{reason}: all workers end", hint=hint))


def require_processors(cluster: Cluster, training: RayTraining) -> None:
    """NablacError where the cluster cannot run all workers at once."""
    whose = "this machine" if cluster.is_own else "the cluster"
    with_threads = f" with {training.threads} threads each" if training.threads > 1 else ""
    for what, own, free, lent in _needs(cluster, training):
        if free < (needed := training.workers * own):
            used = f", {lent - free} of them in use" if free < lent else ""
            message = f"{training.workers} workers{with_threads} need {needed} {what}, and {whose} has {lent}{used}"
            option = "--num-cpus" if what == "processors" else "--num-gpus"
            hint = f"start fewer, or `ray start {option}` says how many a machine lends"
            raise NablacError(Diagnostic(codes.E893, message, place="--workers", hint=hint))


def _needs(cluster: Cluster, training: RayTraining) -> Iterator[tuple[str, int, int, int]]:
    """What workers need: its name, how much of it each, how much is free, and how much there is."""
    yield "processors", training.threads, cluster.free_cpus, cluster.cpus
    if training.gpus:
        yield "GPUs", training.gpus, cluster.free_gpus, cluster.gpus


def _checkpoints(folder: Path | None) -> set[str]:
    """The names of a run's checkpoints."""
    return {path.name for path in RunFolder.checkpoints_of(folder).glob("step-*")} if folder is not None else set()


@contextmanager
def _workers(cluster: Cluster, size: int, training: RayTraining) -> Iterator[list[Any]]:
    """The actors of the workers, which end with the block; after an error only when their processes have ended."""
    ray = require_ray()
    groups = {EXCHANGE: size, WATCH: 2}
    needs = {"num_cpus": training.threads, "num_gpus": training.gpus}
    actor = ray.remote(**needs, max_restarts=0, concurrency_groups=groups)(TrainingWorker)
    free = cluster.free_cpus
    workers = [actor.remote(size) for _ in range(size)]
    failed = True
    try:
        yield workers
        failed = False
    finally:
        for worker in workers:
            ray.kill(worker)
        deadline = time.monotonic() + _RELEASE
        # One that hangs is killed after some seconds, and the first has the run's folder until then.
        while failed and cluster.free_cpus < free and time.monotonic() < deadline:
            time.sleep(0.1)


def _tasks(workers: list[Any], arguments: list[str], timeout: float) -> list[Task]:
    """What each worker is to do, when all have started; NablacError where one does not, or lacks the folder."""
    ray = require_ray()
    folder = os.getcwd()
    started, missing = ray.wait(
        [worker.machine.remote(folder) for worker in workers], num_returns=len(workers), timeout=_START
    )
    try:
        machines = ray.get(started)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1][:200]
        message, hint = "a worker cannot be started", "all machines need the same Python, nablac and its extras"
        raise NablacError(Diagnostic(codes.E893, message, place="--engine", note=reason, hint=hint)) from None
    if missing:
        message = f"{len(missing)} of {len(workers)} workers have not started in {_START:g} seconds"
        raise NablacError(Diagnostic(codes.E893, message, place="--workers", hint="`ray status` shows what is in use"))
    for name, has_folder in machines:
        if not has_folder:
            message, hint = f"the machine {name} has no folder {folder}", "start in a folder that all machines share"
            raise NablacError(Diagnostic(codes.E890, message, hint=hint))
    nodes = [node for node, _ in machines]
    terminal = Terminal.present()
    local = [(nodes[:rank].count(node), nodes.count(node)) for rank, node in enumerate(nodes)]
    return [Task(rank, arguments, own, timeout, terminal) for rank, own in enumerate(local)]


def _watch(workers: list[Any], arguments: list[str], timeout: float) -> int:
    """Show what the workers print until all have ended; returns the exit status. Raises _Lost for lost workers."""
    tasks = _tasks(workers, arguments, timeout)
    with collected_signals() as caught:
        watched = _Watched(workers, tasks)
        handled = 0
        while watched.goes_on:
            watched.look()
            if len(caught) > handled:
                handled = len(caught)
                watched.interrupt(caught[-1])
    return watched.status


class _Watched:
    """Workers that run, with what is known of each."""

    def __init__(self, workers: list[Any], tasks: list[Task]) -> None:
        self.workers = workers
        self.folder: Path | None = None
        self.ended: dict[int, Ended] = {}
        self._ray = require_ray()
        self._runs = {worker.run.remote(task, workers): task.rank for worker, task in zip(workers, tasks, strict=True)}
        self._reads = {self._read(rank): rank for rank in range(len(workers))}
        self._deadline: float | None = None
        self._is_interrupted = False

    def _read(self, rank: int) -> Any:
        return self.workers[rank].read.options(concurrency_group=WATCH).remote()

    @property
    def goes_on(self) -> bool:
        """Whether something is to be expected from a worker."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            return False
        return bool(self._runs or self._reads)

    @property
    def status(self) -> int:
        """The exit status of the first worker that failed, or 0."""
        return next((ended.status for _, ended in sorted(self.ended.items()) if ended.status), 0)

    def look(self) -> None:
        """Wait a moment for news and show it; raises _Lost where a worker is lost."""
        ready, _ = self._ray.wait([*self._runs, *self._reads], num_returns=1, timeout=0.25)
        for call in ready:
            result = self._result(call)
            if isinstance(result, News):
                self._show(self._reads.pop(call), result)
            else:
                self._end(self._runs.pop(call), result)

    def _result(self, call: Any) -> Any:
        """The result of a call; _Lost where its worker has died, but its own error where it has failed."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(call)
        except errors.RayTaskError:
            raise
        except errors.RayError:
            rank = self._runs.get(call, self._reads.get(call, 0))
            raise _Lost(f"worker {rank + 1} of {len(self.workers)} has died", self.folder) from None

    def _show(self, rank: int, news: News) -> None:
        for stream, text in news.printed:
            if rank == 0 or not self._is_interrupted:
                output = sys.stdout if stream == "stdout" else sys.stderr
                output.write(text)
                output.flush()
        self.folder = news.folder or self.folder
        if not news.has_ended:
            self._reads[self._read(rank)] = rank

    def _end(self, rank: int, ended: Ended) -> None:
        self.ended[rank] = ended
        if ended.lost:
            others = list(self._runs)
            for call in self._ray.wait(others, num_returns=len(others), timeout=_NAMING)[0] if others else ():
                self._result(call)  # raises for the one that died
            raise _Lost(ended.lost, self.folder)
        if ended.status and self._deadline is None:
            self._deadline = time.monotonic() + _END

    def interrupt(self, number: int) -> None:
        """Let the workers save and stop; end the command where they have not begun."""
        self._is_interrupted = True
        if self.folder is None:
            end_by(number)
        for worker in self.workers:
            worker.interrupt.options(concurrency_group=WATCH).remote(number)
