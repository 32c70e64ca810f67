"""Workers that are threads of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.workers.collective import By, Collective

if TYPE_CHECKING:
    from compiler.types import Array

Result = TypeVar("Result")


class ThreadCollective:
    """A worker that is a thread of this process; the reductions have the order of the workers."""

    def __init__(self, rank: int, shared: SharedSlots) -> None:
        self.rank, self.size, self._shared = rank, len(shared.slots), shared
        self.local_rank, self.local_size = self.rank, self.size

    def reduce(self, array: Array, by: By) -> None:
        """Reduce; NablacError where another worker has failed. Arrays have one type at all workers, as MPI requires."""
        items = self.gather(array.copy())
        assert len({(item.dtype, item.shape) for item in items}) == 1
        array[...] = items[0]
        for other in items[1:]:
            by.combine(array, other)

    def gather(self, item: Any) -> list[Any]:
        """Gather; NablacError where another worker has failed."""
        shared = self._shared
        try:
            shared.slots[self.rank] = item
            shared.barrier.wait()
            items = list(shared.slots)
            shared.barrier.wait()  # before the next call writes over them
        except threading.BrokenBarrierError:
            raise NablacError(Diagnostic(codes.E891, "another worker has stopped", place="workers")) from None
        return items


class SharedSlots:
    """The memory that workers in threads share; one that waits for longer than `timeout` seconds fails."""

    def __init__(self, size: int, timeout: float) -> None:
        self.slots: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=timeout)


def run_in_threads(size: int, work: Callable[[Collective], Result], timeout: float = 60.0) -> Sequence[Result]:
    """The results of `work` by workers in threads, in order; raises the error of the first that failed by itself."""
    shared = SharedSlots(size, timeout)
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadCollective(rank, shared))
        except BaseException as error:  # raised again by the caller
            errors.append(error)
            shared.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
