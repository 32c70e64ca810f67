"""Whether this process is one of several workers, by what a launcher such as `mpirun` says in its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runtime.thread_limits import processors

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # of Open MPI, MPICH and Intel MPI, MVAPICH
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


def launched_workers(environment: Mapping[str, str] = os.environ) -> int:
    """The number of workers that a launcher has started; 1 without one."""
    return max(1, _number(environment, _SIZES, 1))


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """The number of this process among them, from 0; 0 without a launcher."""
    return _number(environment, _RANKS, 0)


def threads_of_worker(workers: int) -> int:
    """The threads of each of the workers that share this machine's processors."""
    return max(1, processors() // workers)


def _number(environment: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    text = next((environment[name] for name in names if name in environment), "")
    return int(text) if text.isdigit() else default
