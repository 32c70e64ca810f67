"""The training loop: epochs of steps, what is measured, when it stops, and what it keeps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.training import RATE, SEED, STEP
from runtime.data.batches import Batches
from runtime.initialization import key
from runtime.training.checkpoints import Position, save_checkpoint, write_state
from runtime.training.means import Means

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.training.steppers import Stepper

_SHRINK = 0.5  # of the rate, at a plateau


@dataclass(frozen=True)
class Settings:
    """How long to train, and what decides."""

    epochs: int = 1
    patience: int | None = None  # epochs without a better monitored quantity, after which training stops
    plateau: int | None = None  # the same, after which the rate is halved
    monitor: str = ""
    largest: bool = False  # whether the best of the monitored quantity is its largest
    seed: int = 0
    limit_batches: int | None = None
    max_seconds: float | None = None
    checkpoint_seconds: float = 30.0
    keep: int = 3  # of the last checkpoints


@dataclass
class Events:
    """What the loop tells while it runs."""

    batch: Callable[[Position, int, dict[str, float]], None] = lambda position, batches, means: None
    epoch: Callable[[Position, dict[str, float]], None] = lambda position, row: None


@dataclass
class Loop:
    """One run. `folder` holds the checkpoints, None keeps nothing; `stop` is asked after every step."""

    stepper: Stepper
    training: Batches
    validation: Batches | None
    settings: Settings
    inputs: frozenset[str]  # of the step's graph
    measured: Means  # of the steps
    validated: Means  # of inference
    folder: Path | None = None
    position: Position = field(default_factory=Position)
    best: dict[str, Array] = field(default_factory=dict)
    events: Events = field(default_factory=Events)
    stop: Callable[[], bool] = lambda: False
    reason: str = ""  # why training ended

    @property
    def monitor(self) -> str:
        """What decides which weights are best: the validation's loss, or the loss where nothing validates."""
        return self.settings.monitor or ("val_loss" if self.validation is not None else "loss")

    def run(self) -> None:
        """Train until the epochs are done, or something ends it sooner: `reason` says what."""
        started = self._saved = time.monotonic()
        while self.position.epoch < self.settings.epochs and not self.reason:
            begun = time.monotonic()
            if not self._epoch(started):
                break
            self._finish_epoch(time.monotonic() - begun)
        self.reason = self.reason or "all epochs are done"

    def _epoch(self, started: float) -> bool:
        """The rest of an epoch; whether it was finished."""
        position, batches = self.position, self._count(self.training)
        for batch in _first(self.training.epoch(position.epoch, position.batch), batches - position.batch):
            outputs = self.stepper.step({**batch, **self._feeds(position.step + 1)})
            if not math.isfinite(outputs["loss"]):
                raise NotFinite(outputs["loss"], {**batch, **self._feeds(position.step + 1)}, position)
            position.step += 1
            position.batch += 1
            self.measured.add(position.sums, outputs, len(next(iter(batch.values()))))
            self.events.batch(position, batches, self.measured.of(position.sums))
            if self.stop():
                self.reason = "interrupted"
            elif self.settings.max_seconds is not None and time.monotonic() - started > self.settings.max_seconds:
                self.reason = "the time is up"
            if self.reason:
                self.save()
                return False
            if time.monotonic() - self._saved > self.settings.checkpoint_seconds:
                self.save()
        return True

    def _finish_epoch(self, seconds: float) -> None:
        position = self.position
        row = self.measured.of(position.sums)
        if self.validation is not None:
            row |= {f"val_{name}": value for name, value in self.evaluate(self.validation).items()}
        position.epoch += 1
        position.batch = 0
        position.sums = {}
        for name, value in {"epoch": float(position.epoch), **row}.items():
            position.history.setdefault(name, []).append(value)
        self._judge(row)
        self.save()
        self.events.epoch(position, {**row, "seconds": seconds})

    def _judge(self, row: dict[str, float]) -> None:
        """Whether this epoch is the best so far, and what follows if none has been for long."""
        position, settings = self.position, self.settings
        value = row.get(self.monitor, row["loss"])
        better = position.best is None or (value > position.best if settings.largest else value < position.best)
        if better:
            position.best, position.best_epoch = value, position.epoch
            position.waited = position.stalled = 0
            self.best = self.stepper.state()
            if self.folder is not None:
                write_state(self.folder / "best.safetensors", self.best, position)
            return
        position.waited += 1
        position.stalled += 1
        if settings.plateau is not None and position.stalled >= settings.plateau:
            position.rate *= _SHRINK
            position.stalled = 0
        if settings.patience is not None and position.waited >= settings.patience:
            self.reason = f"{self.monitor} has not improved for {position.waited} epochs"

    def evaluate(self, batches: Batches) -> dict[str, float]:
        """The loss and the metrics over a part, as if it were one batch."""
        sums: dict[str, float] = {}
        for batch in _first(batches.epoch(0), self._count(batches)):
            outputs = self.stepper.evaluate({**batch, **self._feeds(1)})
            self.validated.add(sums, outputs, len(next(iter(batch.values()))))
        return self.validated.of(sums)

    def save(self) -> None:
        """Write a checkpoint, where the run keeps any."""
        if self.folder is not None:
            save_checkpoint(self.folder, self.stepper.state(), self.position, self.settings.keep)
        self._saved = time.monotonic()

    def _feeds(self, step: int) -> dict[str, Array]:
        every: dict[str, Any] = {
            STEP: np.array(step, np.float32),
            SEED: np.array(key(self.settings.seed, f"step {step}"), np.int64),
            RATE: np.array(self.position.rate, np.float32),
        }
        return {name: value for name, value in every.items() if name in self.inputs}

    def _count(self, batches: Batches) -> int:
        limit = self.settings.limit_batches
        return len(batches) if limit is None else min(len(batches), limit)


class NotFinite(Exception):
    """The loss is no number: what was fed, and where training stood."""

    def __init__(self, loss: float, feeds: dict[str, Array], position: Position) -> None:
        super().__init__(f"the loss is {loss}")
        self.loss, self.feeds, self.position = loss, feeds, position


def _first(items: Iterable[dict[str, Array]], count: int) -> Iterable[dict[str, Array]]:
    """At most `count` items, the maker told to stop when they are taken."""
    iterator = iter(items)
    try:
        for _ in range(count):
            try:
                yield next(iterator)
            except StopIteration:
                return
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
