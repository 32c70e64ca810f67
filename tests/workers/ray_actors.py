"""Workers that are actors of a Ray cluster on this machine, as those of `nablac train --engine ray` are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from nablac.commands.ray_worker import WATCH, TrainingWorker
from runtime.workers.collective import Collective
from runtime.workers.ray_cluster import connect, require_ray
from runtime.workers.ray_collective import EXCHANGE, RayCollective

TIMEOUT = 600.0  # seconds
Result = TypeVar("Result")


class Worker(TrainingWorker):
    """The actor of a training command, which calls a function instead of the command."""

    def call(self, rank: int, peers: list[Any], work: Callable[[Collective], Result]) -> Result:
        """The function's result."""
        return work(RayCollective(rank, peers, self._exchange, len(peers), TIMEOUT, self._run_begun))


def run_on_ray(size: int, work: Callable[[Collective], Result]) -> Sequence[Result]:
    """The results of `work` by workers on Ray, in order; the cluster may have more processors than the machine."""
    with connect(cpus=size):
        ray = require_ray()
        actor = ray.remote(num_cpus=1, concurrency_groups={EXCHANGE: size, WATCH: 1})(Worker)
        workers = [actor.remote(size) for _ in range(size)]
        results: list[Result] = ray.get([worker.call.remote(r, workers, work) for r, worker in enumerate(workers)])
        return results
