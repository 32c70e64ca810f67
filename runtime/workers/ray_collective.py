"""Workers that are Ray actors: each of them reduces a part of every array, and sends it to all."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.workers.collective import By
from runtime.workers.ray_cluster import require_ray

if TYPE_CHECKING:
    from compiler.types import Array

EXCHANGE = "exchange"  # the concurrency group of `combine`, of as many threads as there are workers
_SMALLEST_PART = 64 * 2**10  # bytes that are worth a call


class LostWorker(BaseException):
    """Another worker has died or does not answer; what has started the workers says so, once for all of them."""


class Exchange:
    """What a worker combines for all of them: the items of each round, one from every worker."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._changed = threading.Condition()
        self._rounds: dict[int, dict[int, Any]] = {}
        self._results: dict[int, tuple[int, Any]] = {}  # with the number of workers that have not fetched it

    def combine(self, number: int, rank: int, item: Any, by: By | None, timeout: float | None = None) -> Any:
        """The reduction of the arrays of all workers, or all items without `by`, when the last one has come.

        Each worker calls it once in a round; sums are in the order of the workers, and so the same in every run.
        Raises TimeoutError where one has not come for `timeout` seconds.
        """
        with self._changed:
            items = self._rounds.setdefault(number, {})
            items[rank] = item
            if len(items) == self._size:
                del self._rounds[number]
                self._results[number] = self._size, _combined([items[rank] for rank in range(self._size)], by)
                self._changed.notify_all()
            if not self._changed.wait_for(lambda: number in self._results, timeout):
                raise TimeoutError
            waiting, result = self._results.pop(number)
            if waiting > 1:
                self._results[number] = waiting - 1, result
            return result


def _combined(items: list[Any], by: By | None) -> Any:
    if by is None:
        return items
    result = np.array(items[0])
    for other in items[1:]:
        by.combine(result, other)
    return result


class RayCollective:
    """A worker among `peers`, the actors of all workers, whose method `combine` is that of their `Exchange`.

    `local` are its rank among the workers on its machine, and their number. Its calls raise LostWorker where a peer
    has died, or one has not answered for `timeout` seconds.
    """

    def __init__(
        self,
        rank: int,
        peers: list[Any],
        own: Exchange,
        local: tuple[int, int],
        timeout: float,
        report: Callable[[Path], None],
    ) -> None:
        self.rank, self.size = rank, len(peers)
        self.local_rank, self.local_size = local
        self._combine_at = [peer.combine.options(concurrency_group=EXCHANGE).remote for peer in peers]
        self._own, self._timeout, self._report = own, timeout, report
        self._number = 0

    def reduce(self, array: Array, by: By) -> None:
        """Reduce a part at each of the workers, or a small array at one."""
        flat = array.reshape(-1)
        count = max(1, min(self.size, array.nbytes // _SMALLEST_PART))
        ends = [len(flat) * part // count for part in range(count + 1)]
        parts = [flat[first:end] for first, end in itertools.pairwise(ends)]
        for part, result in zip(parts, self._combine(parts, by), strict=True):
            part[...] = result

    def gather(self, item: Any) -> list[Any]:
        """Gather pickled items."""
        items: list[Any] = self._combine([item], None)[0]
        return items

    def abort(self, status: int) -> None:
        """End this worker; the command that watches the workers then ends all."""
        raise SystemExit(status)

    def run_begun(self, folder: Path) -> None:
        """Tell the command that watches the workers where the run is."""
        self._report(folder)

    def _combine(self, items: list[Any], by: By | None) -> list[Any]:
        """What the first workers make of an item each."""
        ray = require_ray()
        self._number += 1
        number, rank = self._number, self.rank
        # Without a call of this worker by itself, which would take longer than the sum.
        calls = {at: self._combine_at[at](number, rank, item, by) for at, item in enumerate(items) if at != rank}
        try:
            own = self._own.combine(number, rank, items[rank], by, self._timeout) if rank < len(items) else None
            others = dict(zip(calls, ray.get(list(calls.values()), timeout=self._timeout), strict=True))
        except (TimeoutError, ray.exceptions.GetTimeoutError):
            raise LostWorker(f"a worker has not answered for {self._timeout:g} seconds") from None
        except ray.exceptions.RayError:
            raise LostWorker("a worker has died") from None
        return [own if at == rank else others[at] for at in range(len(items))]
