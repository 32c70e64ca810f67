"""Workers that are the processes of an MPI launcher, such as `mpirun -n 4`, by mpi4py."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.workers.collective import By
from runtime.workers.environment import launched_rank

if TYPE_CHECKING:
    from pathlib import Path

    from compiler.types import Array

_YIELD = "OMPI_MCA_mpi_yield_when_idle"  # of Open MPI
_START = 60.0  # seconds that all workers have at least to start in
_STAGGER = 1.0  # seconds that each worker waits longer than the one before it, so that one of them reports


class MpiCollective:
    """The workers of MPI's world.

    One that waits for the others for longer than `timeout` seconds calls `lost`, and ends: the launcher then ends all.
    """

    def __init__(self, timeout: float, lost: Callable[[float], None]) -> None:
        # MPI's start keeps the interpreter, so that no thread can watch it: the system ends a worker that waits in it.
        signal.setitimer(signal.ITIMER_REAL, max(timeout, _START) + launched_rank() * _STAGGER)
        MPI = _mpi()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._world = MPI.COMM_WORLD
        self._by = {By.SUM: MPI.SUM, By.MAX: MPI.MAX, By.MIN: MPI.MIN}
        self._in_place = MPI.IN_PLACE
        self.rank: int = self._world.Get_rank()
        self.size: int = self._world.Get_size()
        self._waiting_since: float | None = time.monotonic()
        self._timeout, self._lost = timeout, lost
        threading.Thread(target=self._watch, daemon=True).start()
        machine = self._world.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank: int = machine.Get_rank()
        self.local_size: int = machine.Get_size()
        machine.Free()
        self._waiting_since = None

    def reduce(self, array: Array, by: By) -> None:
        """Reduce in place, by MPI's Allreduce."""
        self._waiting_since = time.monotonic()
        self._world.Allreduce(self._in_place, array, self._by[by])
        self._waiting_since = None

    def gather(self, item: Any) -> list[Any]:
        """Gather pickled items."""
        self._waiting_since = time.monotonic()
        items: list[Any] = self._world.allgather(item)
        self._waiting_since = None
        return items

    def abort(self, status: int) -> None:
        """End all workers at once, where the others cannot know that this one fails."""
        self._world.Abort(status)

    def run_begun(self, folder: Path) -> None:
        """Nothing: a launcher does not restart workers."""

    def _watch(self) -> None:
        """End this worker when it has waited for too long; MPI's calls cannot be interrupted."""
        limit = self._timeout + _STAGGER * self.rank
        while True:
            time.sleep(min(1.0, self._timeout / 4))
            since = self._waiting_since
            if since is not None and time.monotonic() - since > limit:
                self._lost(self._timeout)
                os._exit(1)


def _mpi() -> Any:
    """mpi4py's module; NablacError where it is missing, or has no MPI library."""
    # A worker that waits would keep a processor from those that it waits for, where others run beside the workers.
    os.environ.setdefault(_YIELD, "1")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        message = "this is one of several MPI workers, and needs mpi4py and an MPI library"
        raise NablacError(
            Diagnostic(
                codes.E910, message, note=str(error).splitlines()[0][:120], hint='`pip install "nablac[mpi]"` has both'
            )
        ) from None
    return MPI
