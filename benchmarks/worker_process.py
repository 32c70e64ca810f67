"""One of the processes of a group that trains: by itself, or joined to the others of its group.

`python -m benchmarks.worker_process PART`: it builds, connects to the socket of its group, and answers each number of
steps with what they took, until the other end closes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.contenders import Job

if TYPE_CHECKING:
    from runtime.workers.collective import By

MOST_BYTES = 2**26  # of the examples of a worker
BATCHES = (8, 64)  # of an epoch, the fewest and the most
BARE = 5  # bare reductions that are timed
Report = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Part:
    """What a process is to do: train a job's case, as the process `rank` of `joined` ones."""

    job: Job
    rank: int
    joined: int
    socket: str
    backend: str  # of ours, or `torch`


def ours(part: Part, connection: Connection) -> None:
    """The loop of `nablac train`, which waits in a callback after the steps that were asked for."""
    from benchmarks.our_graphs import source_of
    from runtime.data.arrays import from_arrays
    from runtime.training.run_options import Options
    from runtime.training.training_run import Training

    case = part.job.network()
    collective = TimedCollective() if part.joined > 1 else None
    size = sum(array.nbytes for array in part.job.feeds().values())
    batches = int(np.clip(MOST_BYTES // size, *BATCHES))
    feeds = [case.feeds(np.random.default_rng(number)) for number in range(batches * part.joined)]
    options = Options(
        backend=part.backend, batch=len(feeds[0]["t"]) * part.joined, epochs=10**6, validation=0.0, threads=1
    )
    training = Training(source_of(case), options, collective=collective)
    training.examples = from_arrays({name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}, "data")
    loop = training.loop()
    report: Report = dict if collective is None else collective.report
    turns = answers(connection, report)
    next(turns)
    loop.events.batch = lambda position, count, means: next(turns)
    loop.run()


def torch(part: Part, connection: Connection) -> None:
    """PyTorch eager with the fused Adam; DistributedDataParallel on gloo where processes are joined."""
    import torch as library
    from torch.nn.parallel import DistributedDataParallel

    from benchmarks.contenders.torch_eager import loss_of, module_with_weights

    library.set_num_threads(1)
    module, loss = module_with_weights(part.job), loss_of(part.job)
    if part.joined > 1:
        store = f"file://{part.socket}.gloo"
        library.distributed.init_process_group("gloo", store, rank=part.rank, world_size=part.joined)
        module = DistributedDataParallel(module)
    feeds = part.job.network().feeds(np.random.default_rng(part.rank))
    *inputs, target = (library.from_numpy(array) for array in feeds.values())
    optimizer = library.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    turns = answers(connection, dict)
    next(turns)
    while True:
        optimizer.zero_grad()
        result = loss(module(*inputs), target)
        result.backward()
        optimizer.step()
        float(result.detach())
        next(turns)


def answers(connection: Connection, report: Report) -> Iterator[None]:
    """A generator that is advanced before the first step and after each; it waits while none is asked for."""
    connection.send({})
    while True:
        try:
            asked, count = connection.recv()
        except EOFError:
            os._exit(0)  # at once, whatever the others of the group do
        if asked == "bare":
            connection.send({"bare": bare(count)})
            continue
        report()
        began, used = time.perf_counter(), time.process_time()
        for _ in range(count):
            yield
        wall, processor = time.perf_counter() - began, time.process_time() - used
        sums = {"wall": wall, "processor": processor, **report()}
        connection.send({name: value / count for name, value in sums.items()})


class TimedCollective:
    """The workers of MPI; its reductions are timed."""

    def __init__(self) -> None:
        from runtime.workers.mpi import MpiCollective

        self.inner = MpiCollective(60.0, lambda seconds: None)
        self.rank, self.size = self.inner.rank, self.inner.size
        self.seconds, self.bytes, self.calls = 0.0, 0, 0

    def reduce(self, array: np.ndarray, by: By) -> None:
        """Reduce, timed."""
        began = time.perf_counter()
        self.inner.reduce(array, by)
        self.seconds += time.perf_counter() - began
        self.bytes += array.nbytes
        self.calls += 1

    def gather(self, item: Any) -> list[Any]:
        """Gather."""
        return self.inner.gather(item)

    def report(self) -> dict[str, float]:
        """The seconds, the calls and the bytes of reductions since the last report."""
        facts = {"reducing": self.seconds, "reductions": self.calls, "bytes": self.bytes}
        self.seconds, self.calls, self.bytes = 0.0, 0, 0
        return facts


def bare(elements: int) -> float:
    """The seconds of mpi4py's own Allreduce of so many floats of 32 bits, where all begin at once."""
    from mpi4py import MPI

    array, times = np.zeros(elements, np.float32), []
    for _ in range(BARE + 1):  # the first one's memory is new
        MPI.COMM_WORLD.Barrier()
        began = time.perf_counter()
        MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, array)
        times.append(time.perf_counter() - began)
    return min(times)


def main(text: str) -> None:
    facts = json.loads(text)
    job = Job(**{**facts.pop("job"), "folder": Path(facts.pop("folder"))})
    part = Part(job, **facts)
    rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", part.rank))
    with Client(part.socket, "AF_UNIX") as connection:
        connection.send(rank)
        (torch if part.backend == "torch" else ours)(replace(part, rank=rank), connection)


if __name__ == "__main__":
    main(sys.argv[1])
