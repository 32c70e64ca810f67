"""A benchmark of one model: what is compared, one process for each candidate, and the table of results.

A process has its own number of threads, which the libraries for linear algebra read when they are loaded. All take
turns, so that a machine that becomes slower does so for all.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from nablac.commands.model_options import ModelOptions
from runtime.profiling.grouping import BACKEND_NAMES
from runtime.profiling.steady import Turn, take_turn, warm_up
from runtime.thread_limits import with_threads

if TYPE_CHECKING:
    from runtime.profiling.workload import Workload

AS_COMPILED, BY_NAME = "as compiled", "weights by name"


@dataclass(frozen=True)
class Candidate:
    """What is measured: a backend, its threads, and the form of the model: a pass less, weights by name, or loops."""

    backend: str
    threads: int
    disabled: str | None = None
    keep_weights: bool = False
    jit: bool | None = None  # whether a training step's loops are compiled; None for those that pay

    @property
    def form(self) -> str:
        """The form in words."""
        if self.disabled is not None:
            return f"without {self.disabled}"
        if self.jit is not None:
            return "with --jit" if self.jit else "with --no-jit"
        return BY_NAME if self.keep_weights else AS_COMPILED

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{BACKEND_NAMES[self.backend]}, {threads}, {self.form}"


@dataclass
class Result:
    """What was measured of a candidate. `first` are the seconds of the first call, after `built` to be ready for it."""

    candidate: Candidate
    sizes: dict[str, int]
    built: float
    first: float
    turns: list[Turn] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """The median seconds of a run."""
        return median(turn.wall for turn in self.turns)

    @property
    def processor(self) -> float:
        """The median seconds of a run of all processors together."""
        return median(turn.processor for turn in self.turns)

    @property
    def spread(self) -> float:
        """Half of the distance between the quartiles, as a fraction of the median."""
        if len(self.turns) < 2:
            return 0.0
        first, _, third = quantiles((turn.wall for turn in self.turns), method="inclusive")
        return (third - first) / 2 / self.wall


@dataclass(frozen=True)
class Job:
    """What every process needs to know to build its workload; `options` name files, not the folder of a run."""

    options: ModelOptions
    as_step: bool
    sizes: dict[str, int]
    seed: int | None = None  # of a training; None for its block's

    def build(self, candidate: Candidate) -> Workload:
        """The workload of a candidate."""
        from nablac.commands.model_setup import set_up_model
        from nablac.commands.training_setup import set_up_step
        from nablac.workloads import training_steps

        options = replace(self.options, backend=candidate.backend)
        if self.as_step:
            training = set_up_step(options, self.seed)
            training = replace(training, options=replace(training.options, jit=candidate.jit))
            return training_steps(training, self.sizes)
        return set_up_model(options).workload(self.sizes, keep_weights=candidate.keep_weights)


def run_benchmark(
    job: Job, candidates: Sequence[Candidate], rounds: int, say: Callable[[str], None]
) -> Iterator[list[Result]]:
    """The results after each round, in which every candidate has a turn; NablacError if one cannot be built."""
    with _processes(job, candidates) as connections:
        results: list[Result] = []
        for candidate, connection in zip(candidates, connections, strict=True):
            connection.send("build")
            result = _answer(connection, candidate)
            results.append(result)
            say(f"{candidate}: built in {result.built:.2f} s, first call {result.first * 1000:,.1f} ms")
        for number in range(1, rounds + 1):
            for result, connection in zip(results, connections, strict=True):
                connection.send("turn")
                result.turns.append(_answer(connection, result.candidate))
            say(f"round {number} of {rounds}")
            yield results


@contextmanager
def _processes(job: Job, candidates: Sequence[Candidate]) -> Iterator[list[Connection]]:
    """A process for each candidate; all end with the block."""
    context = multiprocessing.get_context("spawn")
    processes: list[tuple[BaseProcess, Connection]] = []
    try:
        for candidate in candidates:
            parent_end, child_end = context.Pipe()
            process: BaseProcess = context.Process(target=_serve, args=(job, candidate, child_end), daemon=True)
            with with_threads(candidate.threads):
                process.start()
            child_end.close()
            processes.append((process, parent_end))
        yield [connection for _, connection in processes]
    finally:
        for process, connection in processes:
            connection.close()
            process.kill()
            process.join()


def _answer(connection: Connection, candidate: Candidate) -> Any:
    """What the process of a candidate answers; NablacError for its error, and if it has ended."""
    try:
        answer = connection.recv()
    except (EOFError, OSError):
        message = f"the process of a candidate has ended: {candidate}"
        hint = "there may be too little memory: compare fewer at a time, by --backend, --threads or --form"
        raise NablacError(Diagnostic(codes.E916, message, place="bench", hint=hint)) from None
    if isinstance(answer, tuple):
        raise NablacError(*answer)
    if isinstance(answer, Exception):  # a fault of this program, which the command reports as one
        raise answer
    return answer


def _serve(job: Job, candidate: Candidate, connection: Connection) -> None:
    """The main function of a candidate's process: it builds, and takes turns, as it is told."""
    import time

    from compiler.passes.pipeline import pass_settings
    from nablac.commands.output import remember
    from runtime.freed_memory import freed_memory_kept
    from runtime.observing import watched_by
    from runtime.profiling.session_threads import SessionThreads

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    remember(quiet=True)
    disabled = (candidate.disabled,) if candidate.disabled is not None else ()
    fastest, workload = 0.0, None
    with ExitStack() as stack, suppress(EOFError, OSError):
        stack.enter_context(pass_settings(disabled))
        stack.enter_context(watched_by(SessionThreads(candidate.threads)))
        if job.as_step:
            stack.enter_context(freed_memory_kept())  # as in a training
        while True:
            task = connection.recv()
            try:
                if workload is None or task == "build":
                    began = time.perf_counter()
                    workload = job.build(candidate)
                    built = time.perf_counter() - began
                    first, fastest = warm_up(workload.run)
                    connection.send(Result(candidate, dict(workload.sizes), built, first))
                else:
                    connection.send(take_turn(workload.run, fastest))
            except NablacError as error:
                connection.send(error.diagnostics)
            except MemoryError:
                connection.send((Diagnostic(codes.E810, f"not enough memory for {candidate}", place="bench"),))
            except (EOFError, OSError):
                raise
            except Exception as error:
                connection.send(_portable(error))


def _portable(error: Exception) -> RuntimeError:
    """An error that another process can raise, which shows where it came from."""
    import traceback

    unexpected = RuntimeError(f"{type(error).__name__}: {error}")
    unexpected.add_note("".join(traceback.format_exception(error)))
    return unexpected
