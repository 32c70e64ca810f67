"""What the workers of a training do together; every worker makes the same calls in the same order."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from compiler.types import Array


class By(StrEnum):
    """How the workers' numbers are combined."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"

    def combine(self, array: Array, other: Array) -> None:
        """Write the combination over `array`."""
        ufunc = np.add if self is By.SUM else np.maximum if self is By.MAX else np.minimum
        ufunc(array, other, out=array)


class Collective(Protocol):
    """An engine that connects workers, which are numbered from 0."""

    rank: int
    size: int
    local_rank: int  # among the workers on this machine, from 0
    local_size: int  # the workers on this machine

    def reduce(self, array: Array, by: By) -> None:
        """Write the elementwise reduction of the workers' arrays, of one shape and dtype, over each of them."""

    def gather(self, item: Any) -> list[Any]:
        """The items of all workers in their order, at each of them; it returns when all have called it."""


class Engine(Collective, Protocol):
    """A collective of processes that an engine has started, and may end."""

    def abort(self, status: int) -> None:
        """End all workers at once, where the others cannot know that this one fails."""

    def run_begun(self, folder: Path) -> None:
        """The run's folder, in which there is a checkpoint."""
