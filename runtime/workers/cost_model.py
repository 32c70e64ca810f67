"""How long workers take to reduce their numbers over a network, and what a step of all of them then takes.

The time of a message of `n` bytes is `latency + n / bandwidth`. An allreduce takes the faster of two algorithms:

- a ring, for long messages: `2 (N-1)/N bytes/bandwidth + 2 (N-1) latency`, which moves the fewest bytes possible
  (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009);
- recursive doubling, for short ones: `log2(N) (latency + bytes/bandwidth)`, and two messages more where N is not a
  power of two (Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH", 2005).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_BANDWIDTH = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(b|bit|B)(?:/s|ps)?", re.ASCII)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s)", re.ASCII)
_POWERS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
MOST_WORKERS = 1_000_000


def bandwidth_of(text: str) -> float | None:
    """The bytes a second in a text such as 10Gb, 25Gbit/s or 1GB/s; None for any other text, and for zero.

    As usual, `b` are bits and `B` bytes, and their multiples are powers of 1000.
    """
    match = _BANDWIDTH.fullmatch(text.strip())
    if match is None:
        return None
    return float(match[1]) * _POWERS[match[2]] / (1 if match[3] == "B" else 8) or None


def seconds_of(text: str) -> float | None:
    """The seconds in a text such as 50us or 0.1ms; None for any other text. There may be none."""
    match = _SECONDS.fullmatch(text.strip())
    return float(match[1]) * _UNITS[match[2]] if match is not None else None


@dataclass(frozen=True)
class Network:
    """What connects the workers: bytes a second, both ways at once, and the seconds of an empty message."""

    bandwidth: float
    latency: float

    def ring_seconds(self, size: float, workers: int) -> float:
        """The seconds of an allreduce of so many bytes along a ring."""
        return 2 * (workers - 1) * (size / workers / self.bandwidth + self.latency)

    def doubling_seconds(self, size: float, workers: int) -> float:
        """The seconds of an allreduce of so many bytes by recursive doubling."""
        doublings = workers.bit_length() - 1
        messages = doublings if workers == 1 << doublings else doublings + 2
        return messages * (size / self.bandwidth + self.latency)

    def reduction_seconds(self, messages: Sequence[int], workers: int) -> float:
        """The seconds of allreduces of so many bytes each, one after the other."""
        return sum(min(self.ring_seconds(size, workers), self.doubling_seconds(size, workers)) for size in messages)


@dataclass(frozen=True)
class StepTime:
    """The seconds of a step: of the gradients of a batch, and of the update, which does not depend on the batch.

    With a second batch, `small`, the gradients of other batches lie on the line through both.
    """

    batch: int
    gradients: float
    update: float
    small: int = 0
    small_gradients: float = 0.0

    @property
    def whole(self) -> float:
        """The seconds of a step with one worker."""
        return self.gradients + self.update

    def at(self, batch: int) -> float:
        """The seconds of a step with this batch."""
        if batch == self.batch or not self.small:
            return self.whole
        slope = max(self.gradients - self.small_gradients, 0.0) / (self.batch - self.small)
        return max(self.gradients - slope * (self.batch - batch), 0.0) + self.update


@dataclass(frozen=True)
class Prediction:
    """A step of so many workers: the largest batch of one, and the seconds of the step and of its reductions."""

    workers: int
    batch: int
    seconds: float
    reduction: float
    examples: int  # of all workers
    speedup: float  # in examples a second, relative to one worker

    @property
    def efficiency(self) -> float:
        """The speedup for each worker."""
        return self.speedup / self.workers


def predict(
    time: StepTime, messages: Sequence[int], network: Network, workers: int, fixed_batch: bool = False
) -> Prediction:
    """The step of so many workers, each with the batch of `time`, or with its part of it where that is the whole batch.

    Nothing overlaps: the reductions follow the gradients.
    """
    batch = -(-time.batch // workers) if fixed_batch else time.batch
    examples = time.batch if fixed_batch else time.batch * workers
    reduction = network.reduction_seconds(messages, workers)
    seconds = time.at(batch) + reduction
    return Prediction(workers, batch, seconds, reduction, examples, examples / seconds * time.whole / time.batch)


def counts_of_workers(workers: int) -> list[int]:
    """1, 2, 4 and so on up to 1,000 or the number that is asked for, which is one of them."""
    most = max(workers, 1000)
    return sorted({1 << power for power in range(most.bit_length()) if 1 << power < most} | {workers, most})
