"""The workers of a training that are processes: one of them prints and writes, and all end together."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from nablac.commands.output import note, show_error

if TYPE_CHECKING:
    from runtime.training.training_run import Training
    from runtime.workers.collective import Collective, Engine

_OWN_CODE = {"code": "code of nablac", "library": "standard library"}
_OF_THE_MACHINE = frozenset({"processor", "blas", "threads", "numba"})
_TURN, _LONGEST_TURN = 1.0, 10.0  # seconds that each worker waits longer than the one before it

_joined: list[Engine] = []  # by which an engine runs the command in this process


@contextmanager
def joined(engine: Engine) -> Iterator[None]:
    """Commands in the block are one of the engine's workers."""
    _joined.append(engine)
    try:
        yield
    finally:
        _joined.remove(engine)


def is_worker() -> bool:
    """Whether an engine runs this command as one of its workers."""
    return bool(_joined)


def connect(timeout: float) -> Engine | None:
    """The workers that an engine or a launcher has started; None where this process is the only one."""
    from runtime.workers.environment import launched_workers

    if _joined:
        return _joined[-1]
    if launched_workers() == 1:
        return None
    from runtime.workers.mpi import MpiCollective

    collective = MpiCollective(timeout, _say_lost)
    return collective if collective.size > 1 else None


def _say_lost(seconds: float) -> None:
    message = f"a worker has not answered for {seconds:g} seconds: all workers end"
    hint = "the last checkpoint is good: `nablac train --resume RUN` continues from it, on any number of workers"
    show_error(NablacError(Diagnostic(codes.E891, message, hint=hint)))


def wait_to_report() -> None:
    """Before an error is shown that every worker may have: the launcher ends the others once the first one ends."""
    from runtime.workers.environment import launched_rank

    if not _joined:
        time.sleep(min(launched_rank() * _TURN, _LONGEST_TURN))


def end_failed(status: int) -> None:
    """End a process that a launcher has started, which ends the others too.

    The usual end of Python would wait for them, in MPI's Finalize, while they wait for this worker.
    """
    from runtime.workers.environment import launched_workers

    if not _joined and launched_workers() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@contextmanager
def together(collective: Collective | None) -> Iterator[None]:
    """What all workers do alike: where any of them fails in the block, the first one says so, and all end."""
    if collective is None:
        yield
        return
    error: Exception | None = None
    try:
        yield
    except (NablacError, OSError, MemoryError) as caught:
        error = caught
    errors = collective.gather(_diagnostics(error) if error is not None else None)
    worker = next((rank for rank, other in enumerate(errors) if other is not None), None)
    if worker is None:
        return
    if collective.rank == 0:
        if worker:
            note(f"worker {worker + 1} of {collective.size}:")
        show_error(NablacError(*errors[worker]))
    collective.gather(None)  # the launcher ends all when one of them ends
    sys.exit(NablacError(*errors[worker]).exit_code)


def _diagnostics(error: Exception) -> tuple[Diagnostic, ...]:
    if isinstance(error, NablacError):
        return tuple(error.diagnostics)
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return (Diagnostic(codes.E916, f"the operating system refuses: {reason.lower()}"),)


@contextmanager
def alone(collective: Engine | None) -> Iterator[None]:
    """What workers do by themselves: one that fails says so, and ends all of them, which wait for it."""
    try:
        yield
    except Exception as error:
        if collective is None:
            raise
        note(f"worker {collective.rank + 1} of {collective.size} failed, and all end:")
        if isinstance(error, (NablacError, OSError, MemoryError)):
            show_error(NablacError(*_diagnostics(error)))
        else:
            traceback.print_exc()
        sys.stderr.flush()
        collective.abort(1)


def check_alike(training: Training, collective: Collective) -> None:
    """NablacError where a worker has another version, file, data or options, or has no example of its own."""
    from runtime.training.run_record import record_of

    count = len(training.data.parts["training"])
    if count < collective.size:
        message = f"there are {collective.size} workers, and {count} example{'s' * (count != 1)} to train on"
        raise NablacError(Diagnostic(codes.E890, message, hint=f"start at most {count}"))
    first, *others = collective.gather(_facts(asdict(record_of(training, Path()))))
    for rank, facts in enumerate(others, 2):
        for name, value in facts.items():
            if value != first[name]:
                shown = "" if isinstance(value, _Hash) else f": {_shown(value)}, and not {_shown(first[name])}"
                message = f"worker {rank} of {collective.size} has another {name} than the first{shown}"
                hint = "all workers need the same version of nablac, file, data and options"
                raise NablacError(Diagnostic(codes.E890, message, hint=hint))


def _shown(value: Any) -> str:
    return "the default" if value is None else str(value)


class _Hash(str):
    """A hash, which says nothing to a reader."""


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be the same at every worker, by the words for it."""
    versions = {name: value for name, value in record["surroundings"].items() if name not in _OF_THE_MACHINE}
    own = {"version of nablac": versions.pop("nablac")}
    own |= {words: _Hash(versions.pop(name)) for name, words in _OWN_CODE.items()}
    return {
        **own,
        "model file": _Hash(record["text"]),
        **{f"`--{name.replace('_', '-')}`": value for name, value in {**record["choices"], **record["length"]}.items()},
        **{f"version of {name}": value for name, value in versions.items()},  # some depend on options
        "data": _Hash(record["examples"]),  # last, since options choose it
    }
