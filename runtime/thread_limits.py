"""How many threads a command uses: as the environment or `--threads` asks, else one for each processor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "OMP_NUM_THREADS"


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def asked_threads() -> int | None:
    """The number of threads that the environment asks for."""
    asked = os.environ.get(VARIABLE, "")
    return int(asked) if asked.isdigit() and int(asked) else None


def available_threads() -> int:
    """The number of threads that the environment asks for, else one for each processor."""
    return asked_threads() or processors()


def is_busy() -> bool:
    """Whether programs wait for processors: more than there are would be in use, on the average of the last minute."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)


@contextmanager
def with_threads(count: int | None) -> Iterator[None]:
    """Use this number of threads within the block, and in processes that are started there."""
    if count is None:
        yield
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
