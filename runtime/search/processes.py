"""Worker processes: started, watched and stopped by the process of the command."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import reason_of
from runtime.thread_limits import asked_threads, processors, with_threads

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy

_PAUSE = 0.25  # seconds between two looks


def share_of_processors(jobs: int) -> int | None:
    """The number of threads of each worker; None for a single worker, or if the environment sets it."""
    if jobs == 1 or asked_threads() is not None:
        return None
    return max(1, processors() // jobs)


def run_workers(
    study: OpenStudy, jobs: int, seconds: float | None, stop: Callable[[], bool], look: Callable[[], None]
) -> None:
    """Run workers on a study; NablacError for the first error of a worker, and if all were killed."""
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[BaseProcess, Connection]] = []
    target = (str(study.folder), study.address if study.record.storage is not None else None)
    for _ in range(jobs):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(target, seconds, sender, os.getpid()), daemon=True)
        with _interrupts_blocked():
            process.start()
        sender.close()
        workers.append((process, receiver))
    try:
        error = _watch(workers, stop, look)
    except BaseException:
        for worker, _ in workers:
            worker.kill()
        raise
    if error is not None:
        raise error
    if not stop() and all(worker.exitcode for worker, _ in workers):
        message = f"the workers ended with status {workers[0][0].exitcode}"
        hint = f"`{study.resume_command}` resumes; fewer `--jobs` leave more memory for each"
        raise NablacError(Diagnostic(codes.E916, message, place=str(study.folder), hint=hint))


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started within the block do not get Ctrl-C, which a terminal sends to the whole group."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _watch(
    workers: list[tuple[BaseProcess, Connection]], stop: Callable[[], bool], look: Callable[[], None]
) -> NablacError | None:
    """Wait until all workers have ended, stopping them on `stop` or an error; returns the first error."""
    stopped, error = False, None
    while True:
        running = [worker for worker, _ in workers if worker.is_alive()]
        error = error or next((failure for _, receiver in workers if (failure := _receive(receiver))), None)
        if not running:
            return error
        if not stopped and (stop() or error is not None):
            stopped = True
            for worker in running:
                worker.terminate()
        wait([worker.sentinel for worker in running], timeout=_PAUSE)
        look()


def _receive(receiver: Connection) -> NablacError | None:
    try:
        if receiver.poll():
            return NablacError(*receiver.recv())
    except EOFError:
        pass
    return None


def _worker(target: tuple[str, str | None], seconds: float | None, sender: Connection, parent: int) -> None:
    """The main function of a worker process, for a study's folder and storage; it ends when its parent does."""
    from runtime.search.resuming import resume_study
    from runtime.search.worker import work

    folder, address = target

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it, and stops all workers
    caught: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
    ends = time.monotonic() + seconds if seconds is not None else None

    def stop() -> bool:
        return bool(caught) or os.getppid() != parent or (ends is not None and time.monotonic() > ends)

    try:
        study = resume_study(Path(folder), address=address)
        with with_threads(study.record.threads):
            work(study, stop)
    except NablacError as error:
        sender.send(error.diagnostics)
        raise SystemExit(error.exit_code) from None
    except (OSError, MemoryError) as error:
        failure = NablacError(Diagnostic(codes.E916, f"a worker ended: {reason_of(error)}", place=folder))
        sender.send(failure.diagnostics)
        raise SystemExit(failure.exit_code) from None
