"""Whether this process is one of several workers, by what a launcher such as `mpirun` says in its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runtime.thread_limits import processors

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # of Open MPI, MPICH and Intel MPI, MVAPICH


def launched_workers(environment: Mapping[str, str] = os.environ) -> int:
    """The number of workers that a launcher has started; 1 without one."""
    text = next((environment[name] for name in _SIZES if name in environment), "1")
    return max(1, int(text)) if text.isdigit() else 1


def threads_of_worker(workers: int) -> int:
    """The threads of each of the workers that share this machine's processors."""
    return max(1, processors() // workers)
