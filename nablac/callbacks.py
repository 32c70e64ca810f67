"""Callbacks of a training run in Python: what they are called with, and how they stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nablac.history import History


class StopTraining(Exception):
    """Raise it in a callback to end the run after the present step or epoch, with everything saved; not an error."""


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run as it begins.

    `settings` are those of the run: the batch, epochs, seed, backend, number of weights, and so on. `folder` is where
    it is written, None if nowhere; `epoch` is the number of epochs that a resumed run has finished.
    """

    model: str
    hypers: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    epoch: int = 0


class Callback:
    """A base for callbacks, for those who like to inherit: any object with some of these methods is one.

    Epochs and batches count from 1. `metrics` are the loss and the metrics by their names in the history. In
    `on_batch_end` they are means over the epoch so far; in `on_epoch_end` there is `seconds` too.
    """

    def on_train_begin(self, facts: RunFacts) -> None:
        """Called before the first step."""

    def on_batch_end(self, batch: int, batches: int, metrics: Mapping[str, float]) -> None:
        """Called after each batch, of so many in the epoch."""

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Called after each epoch, with its validation."""

    def on_train_end(self, history: History) -> None:
        """Called last, when the run has ended and is written: after all epochs, or sooner (`history.reason`)."""

    def on_exception(self, error: BaseException) -> None:
        """Called last instead, if an error or an interruption ended the run."""


METHODS = tuple(name for name in vars(Callback) if name.startswith("on_"))
EpochFunction = Callable[[int, Mapping[str, float]], object]
AnyCallback = Callback | EpochFunction | Any  # any object with some of the methods
