"""The training loop: epochs of steps, what is measured, when it stops, and what it keeps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.model_spec import RATE, SEED, STEP
from runtime.data.batches import Batches
from runtime.initialization import key
from runtime.training.checkpoints import BEST, Position, newest_checkpoint, save_checkpoint, write_state
from runtime.training.means import Means
from runtime.training.not_finite import NotFinite, broken

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.diagnostics import NablacError
    from runtime.training.steppers import Stepper

INTERRUPTED, TIME_UP = "interrupted", "the time is up"  # what may end training within an epoch


@dataclass(frozen=True)
class Settings:
    """How long to train, and what decides."""

    epochs: int = 1
    patience: int | None = None  # epochs without a better monitored quantity, after which training stops
    plateau: int | None = None  # the same, after which the rate is made smaller, by `plateau_factor`
    plateau_factor: float = 0.5
    min_change: float = 0.0  # of the monitored quantity, that a better one is better by
    accumulate: int = 1  # batches in an update
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
    inputs: Mapping[str, np.dtype[Any]]  # of the step's graph and of inference's
    measured: Means  # of the steps
    validated: Means  # of inference
    folder: Path | None = None
    position: Position = field(default_factory=Position)
    best: dict[str, Array] = field(default_factory=dict)
    best_step: int = 0  # of its last update
    events: Events = field(default_factory=Events)
    stop: Callable[[], bool] = lambda: False
    reason: str = ""  # why training ended
    unfinished: dict[str, float] = field(default_factory=dict)  # measured where the time was up within an epoch
    damaged: list[NablacError] = field(default_factory=list)  # checkpoints after the one that it goes on from

    def __post_init__(self) -> None:
        # What was no finite number from the first is meant so, as the first value of a running minimum.
        self._allowed = frozenset(broken(self.stepper.state()))
        self._sound: tuple[dict[str, Array], Position] | None = None

    @property
    def monitor(self) -> str:
        """What decides which weights are best: the validation's loss, or the loss where nothing validates."""
        return self.settings.monitor or ("val_loss" if self.validation is not None else "loss")

    @property
    def batches(self) -> int:
        """How many an epoch has."""
        return self._count(self.training)

    def run(self) -> None:
        """Train until the epochs are done, or something ends it sooner: `reason` says what.

        NotFinite where the loss or the state leaves the finite numbers; no checkpoint is ever written of such a state.
        """
        started = self._saved = time.monotonic()
        self.reason = self._impatient()  # a run that was killed after its last epoch has ended already
        while self.position.epoch < self.settings.epochs and not self.reason:
            begun = time.monotonic()
            if not self._epoch(started):
                break
            self._finish_epoch(time.monotonic() - begun)
        self.reason = self.reason or "all epochs are done"
        if self.reason == TIME_UP:
            self._weigh_unfinished()

    def _epoch(self, started: float) -> bool:
        """The rest of an epoch; whether it was finished."""
        position, batches = self.position, self.batches
        for batch in _first(self.training.epoch(position.epoch, position.batch), batches - position.batch):
            step = self.following(position.step, position.batch)
            outputs = self.stepper.step({**batch, **self.feeds(step, position.rate)})
            if not math.isfinite(outputs["loss"]):
                raise NotFinite(f"the loss is {outputs['loss']}", position)
            position.step = step
            position.batch += 1
            self.measured.add(position.sums, outputs, len(next(iter(batch.values()))))
            self.events.batch(position, batches, self.measured.of(position.sums))
            if self.stop():
                self.reason = INTERRUPTED
            elif self.settings.max_seconds is not None and time.monotonic() - started > self.settings.max_seconds:
                self.reason = TIME_UP
            if self.reason:
                self.save(self._state())
                return False
            if time.monotonic() - self._saved > self.settings.checkpoint_seconds:
                self.save(self._state())
        return True

    def _finish_epoch(self, seconds: float) -> None:
        position, state = self.position, self._state()
        row = self._row()
        position.epoch += 1
        position.batch = 0
        position.sums = {}
        for name, value in {"epoch": float(position.epoch), **row}.items():
            position.history.setdefault(name, []).append(value)
        self._judge(row, state)
        # Told before it is saved: a run that is killed in between does the epoch again, and tells the same again.
        self.events.epoch(position, {**row, "seconds": seconds})
        self.save(state)

    def _row(self) -> dict[str, float]:
        """What the running epoch has measured, and the validation of where it stands."""
        row = self.measured.of(self.position.sums)
        if self.validation is not None:
            row |= {f"val_{name}": value for name, value in self.evaluate(self.validation).items()}
        return row

    def _judge(self, row: dict[str, float], state: dict[str, Array]) -> None:
        """Whether this epoch is the best so far, and what follows if none has been for long."""
        position, settings = self.position, self.settings
        value = row.get(self.monitor, row["loss"])
        if self._better(value):
            position.best, position.best_epoch, position.best_step = value, position.epoch, self.updates
            position.waited = position.stalled = 0
            self.best, self.best_step = state, position.best_step
            if self.folder is not None:
                write_state(self.folder / BEST, state, position)
            return
        position.waited += 1
        position.stalled += 1
        if settings.plateau is not None and position.stalled >= settings.plateau:
            position.rate *= settings.plateau_factor
            position.stalled = 0
        self.reason = self._impatient()

    def _better(self, value: float) -> bool:
        """Whether a value of the monitored quantity is the best so far; one that is no number never is."""
        best = self.position.best
        if best is None or math.isnan(value):
            return not math.isnan(value)
        least = self.settings.min_change
        return value > best + least if self.settings.largest else value < best - least

    def _impatient(self) -> str:
        """Why training stops early, where it does."""
        return f"{self.monitor} has not improved for {self.position.waited} epochs" if self.is_impatient else ""

    @property
    def is_impatient(self) -> bool:
        """Whether there has been no better epoch for as long as patience goes."""
        return self.settings.patience is not None and self.position.waited >= self.settings.patience

    def _weigh_unfinished(self) -> None:
        """Measure what was done of an epoch, and take its weights if they are the best.

        The position stays as it is: a resumed run finishes the epoch as if it had not been stopped.
        """
        self.unfinished = self._row()
        if self._better(self.unfinished.get(self.monitor, self.unfinished["loss"])):
            self.best, self.best_step = self.stepper.state(), self.updates

    @property
    def updates(self) -> int:
        """How many updates are made: the `step` of schedules, and of a loss that reads it."""
        return -(-self.position.step // self.settings.accumulate)

    def evaluate(self, batches: Batches, step: int | None = None) -> dict[str, float]:
        """The loss and the metrics over a part, as if it were one batch, where training stands or after `step`."""
        step = max(self.updates, 1) if step is None else step
        sums: dict[str, float] = {}
        for number, batch in enumerate(_first(batches.epoch(0), self._count(batches))):
            feeds = self.feeds(step, draws=f"evaluation {step} {number}")
            outputs = self.stepper.evaluate({**batch, **feeds})
            self.validated.add(sums, outputs, len(next(iter(batch.values()))))
        return self.validated.of(sums)

    def save(self, state: dict[str, Array]) -> None:
        """Write a checkpoint; a run that has no folder keeps the state in memory."""
        if self.folder is not None:
            save_checkpoint(self.folder, state, self.position, self.settings.keep)
        else:
            self._sound = state, deepcopy(self.position)
        self._saved = time.monotonic()

    def sound(self) -> tuple[dict[str, Array], Position] | None:
        """The last state that was saved, all of whose numbers are finite; None before the first."""
        return self._sound if self.folder is None else newest_checkpoint(self.folder)

    def _state(self) -> dict[str, Array]:
        """The state as the last step left it; NotFinite where that is not to be kept."""
        state = self.stepper.state()
        lost = [path for path in broken(state) if path not in self._allowed]
        if lost:
            position = self.position
            before = replace(position, step=position.step - 1, batch=position.batch - 1)
            raise NotFinite(f"`{lost[0]}` is no finite number", before)
        return state

    def following(self, step: int, batch: int) -> int:
        """The number of the step after `step` that takes batch `batch` of an epoch, both from 0.

        An update is due at every multiple of `accumulate`, so the last batch of an epoch takes the next multiple: what
        is left over at its end is an update too.
        """
        every = self.settings.accumulate
        return step + 1 if batch + 1 < self.batches else -(-(step + 1) // every) * every

    def feeds(self, step: int, rate: float = 1.0, draws: str = "") -> dict[str, Array]:
        """What a step is fed beside its batch; `draws` names those of another occasion than the step."""
        every = {STEP: step, SEED: key(self.settings.seed, draws or f"step {step}"), RATE: rate}
        return {name: np.array(every[name], dtype) for name, dtype in self.inputs.items() if name in every}

    def _count(self, batches: Batches) -> int:
        limit = self.settings.limit_batches
        return len(batches) if limit is None else min(len(batches), limit)


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
