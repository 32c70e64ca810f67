"""Training steps whose results have not been read: a device computes several of them before they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.training.steppers import DeferringStepper, Stepper

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(frozen=True)
class Begun:
    """A step that has begun: its number and its batch, both before it, and the examples of the batch."""

    step: int
    batch: int
    examples: int


class PendingSteps:
    """The steps of a stepper since the last read, at most as many as it defers; on a CPU one, which is done."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self._deferring = stepper if isinstance(stepper, DeferringStepper) else None
        self._begun: list[Begun] = []
        self._done: list[dict[str, float]] = []
        self._most = self._deferring.read_every if self._deferring is not None else 1

    @property
    def is_full(self) -> bool:
        """Whether the results have to be read before the next step."""
        return len(self._begun) >= self._most

    def begin(self, feeds: Mapping[str, Array], begun: Begun) -> None:
        """Begin a step."""
        if self._deferring is not None:
            self._deferring.begin(feeds)
        else:
            self._done.append(self._stepper.step(feeds))
        self._begun.append(begun)

    def read(self) -> Iterator[tuple[Begun, dict[str, float]]]:
        """The steps in order, each with its loss and metrics, when all of them are done."""
        if self._deferring is not None and self._begun:
            self._done = self._deferring.read()
        begun, done = self._begun, self._done
        self._begun, self._done = [], []
        return zip(begun, done, strict=True)
