"""The training loop: epochs of steps, measurements, early stopping, checkpoints and the best state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.model_spec import RATE, SEED, STEP
from compiler.training.data_parallel import EXAMPLES
from runtime.data.batches import Batches
from runtime.freed_memory import freed_memory_kept
from runtime.initialization import key
from runtime.training.checkpoints import BEST, Position, newest_checkpoint, save_checkpoint, write_state
from runtime.training.means import Means
from runtime.training.not_finite import NotFinite, ReplayedStep, non_finite_paths
from runtime.training.pending_steps import Begun, PendingSteps
from runtime.workers.collective import By

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.diagnostics import NablacError
    from runtime.training.steppers import Stepper
    from runtime.workers.collective import Collective


class Ending(Enum):
    """Why training ended; the last three may end it within an epoch."""

    ALL_EPOCHS = "all epochs are done"
    NO_IMPROVEMENT = "no epoch was better for long"
    INTERRUPTED = "interrupted"
    TIME_UP = "the time is up"
    CALLBACK = "a callback stopped it"


@dataclass(frozen=True)
class Settings:
    """The settings of the loop."""

    epochs: int = 1
    patience: int | None = None  # epochs without an improvement of the monitored quantity, after which training stops
    plateau: int | None = None  # epochs without one, after which the learning rate is multiplied by `plateau_factor`
    plateau_factor: float = 0.5
    min_change: float = 0.0  # the smallest improvement of the monitored quantity that counts
    accumulate: int = 1  # batches in an update
    monitor: str = ""
    higher_is_better: bool = False  # of the monitored quantity
    seed: int = 0
    limit_batches: int | None = None
    max_seconds: float | None = None
    checkpoint_seconds: float = 30.0
    keep: int = 3  # of the last checkpoints


@dataclass
class Events:
    """Callbacks of the loop; they may set its `ending`, which is saved as any other."""

    batch: Callable[[Position, int, dict[str, float]], None] = lambda position, batches, means: None
    epoch: Callable[[Position, dict[str, float]], None] = lambda position, row: None


@dataclass
class Loop:
    """One run. `folder` is for checkpoints, None writes none; `stop` is called after every step."""

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
    ending: Ending | None = None  # None while it goes on
    stop_reason: str = ""  # in the words of the callback that ended it
    partial_epoch: dict[str, float] = field(default_factory=dict)  # measurements of an unfinished last epoch
    collective: Collective | None = None  # of the workers that share each batch; the first of them writes
    damaged: list[NablacError] = field(default_factory=list)  # newer checkpoints than the one that it resumes from

    def __post_init__(self) -> None:
        # Values that are not finite from the start are intended, such as the first value of a running minimum.
        self._allowed = frozenset(non_finite_paths(self.stepper.state()))
        self._saved_state: tuple[dict[str, Array], Position] | None = None

    @property
    def monitor(self) -> str:
        """The quantity that decides which weights are best: by default the validation loss, or the training loss."""
        return self.settings.monitor or ("val_loss" if self.validation is not None else "loss")

    @property
    def reason(self) -> str:
        """Why training ended, for messages; empty while it runs."""
        if self.ending is Ending.NO_IMPROVEMENT:
            return f"{self.monitor} has not improved for {self.position.epochs_since_best} epochs"
        if self.ending is Ending.CALLBACK and self.stop_reason:
            return self.stop_reason
        return self.ending.value if self.ending is not None else ""

    @property
    def batches(self) -> int:
        """The number of batches in an epoch."""
        return self._count(self.training)

    @freed_memory_kept()
    def run(self) -> None:
        """Train for all epochs, or until something ends it sooner: see `ending`.

        Raises NotFinite if the loss or the state is not finite; such a state is never written to a checkpoint.
        """
        started = self._saved = time.monotonic()
        self.ending = self._early_stop()  # a run that was killed after its last epoch has ended already
        while self.position.epoch < self.settings.epochs and self.ending is None:
            begun = time.monotonic()
            if not self._run_epoch(started):
                break
            self._finish_epoch(time.monotonic() - begun)
        self.ending = self.ending or Ending.ALL_EPOCHS
        if self.ending in (Ending.TIME_UP, Ending.CALLBACK) and self.position.batch:
            self._evaluate_partial_epoch()

    def _run_epoch(self, started: float) -> bool:
        """Run the rest of an epoch; returns whether it was finished."""
        position, batches, pending = self.position, self.batches, PendingSteps(self.stepper)
        for batch in _first(self.training.epoch(position.epoch, position.batch), batches - position.batch):
            step = self.next_step(position.step, position.batch)
            begun = Begun(position.step, position.batch, _examples(batch))
            pending.begin({**batch, **self.feeds(step, position.rate)}, begun)
            position.step = step
            position.batch += 1
            if pending.is_full or position.batch == batches:
                self._measure(pending)
            if self.stop():
                self.ending = Ending.INTERRUPTED
            elif self.settings.max_seconds is not None and time.monotonic() - started > self.settings.max_seconds:
                self.ending = Ending.TIME_UP
            is_due = self._agree(time.monotonic() - self._saved > self.settings.checkpoint_seconds)
            if self.ending is not None or is_due:
                self._measure(pending)
                self.save(self._finite_state())
            if self.ending is not None:
                return False
        return True

    def _measure(self, pending: PendingSteps) -> None:
        """Add the results of the steps that have not been read; raises NotFinite for a loss that is not finite."""
        position, batches = self.position, self.batches
        for begun, outputs in pending.read():
            if not math.isfinite(outputs["loss"]):
                position.step, position.batch = begun.step, begun.batch  # later steps have begun on a device
                raise NotFinite(f"the loss is {outputs['loss']}", position)
            self.measured.add(position.sums, outputs, int(outputs.get(EXAMPLES) or begun.examples))
            self.events.batch(replace(position, batch=begun.batch + 1), batches, self.measured.of(position.sums))

    def _finish_epoch(self, seconds: float) -> None:
        position, state = self.position, self._finite_state()
        row = self._measured_row()
        position.epoch += 1
        position.batch = 0
        position.sums = {}
        for name, value in {"epoch": float(position.epoch), **row}.items():
            position.history.setdefault(name, []).append(value)
        self._update_best(row, state)
        # Reported before it is saved: a run that is killed in between repeats the epoch and its report.
        self.events.epoch(position, {**row, "seconds": seconds})
        self.save(state)
        self._agree()

    def _measured_row(self) -> dict[str, float]:
        """The measurements of the current epoch, and of the validation part."""
        row = self.measured.of(self.position.sums)
        if self.validation is not None:
            row |= {f"val_{name}": value for name, value in self.evaluate(self.validation).items()}
        return row

    def _update_best(self, row: dict[str, float], state: dict[str, Array]) -> None:
        """Keep the state if the epoch is the best so far; else reduce the learning rate or stop if it is time to."""
        position, settings = self.position, self.settings
        value = row.get(self.monitor, row["loss"])
        if self._is_better(value):
            position.best, position.best_epoch, position.best_step = value, position.epoch, self.updates
            position.epochs_since_best = position.epochs_since_decay = 0
            self.best, self.best_step = _copied(state), position.best_step
            if self.folder is not None:
                write_state(self.folder / BEST, state, position)
            return
        position.epochs_since_best += 1
        position.epochs_since_decay += 1
        if settings.plateau is not None and position.epochs_since_decay >= settings.plateau:
            position.rate *= settings.plateau_factor
            position.epochs_since_decay = 0
        self.ending = self._early_stop()

    def _is_better(self, value: float) -> bool:
        """Whether a value of the monitored quantity is the best so far; NaN never is."""
        best = self.position.best
        if best is None or math.isnan(value):
            return not math.isnan(value)
        least = self.settings.min_change
        return value > best + least if self.settings.higher_is_better else value < best - least

    def _early_stop(self) -> Ending | None:
        """NO_IMPROVEMENT if there has been no better epoch for `patience` epochs."""
        patience = self.settings.patience
        stops = patience is not None and self.position.epochs_since_best >= patience
        return Ending.NO_IMPROVEMENT if stops else None

    def _evaluate_partial_epoch(self) -> None:
        """Measure an unfinished epoch, and keep its weights if they are the best.

        The position does not change: a resumed run finishes the epoch as if it had not been stopped.
        """
        self.partial_epoch = self._measured_row()
        if self._is_better(self.partial_epoch.get(self.monitor, self.partial_epoch["loss"])):
            self.best, self.best_step = _copied(self.stepper.state()), self.updates

    @property
    def updates(self) -> int:
        """The number of updates: the `step` in schedules and losses."""
        return -(-self.position.step // self.settings.accumulate)

    def evaluate(self, batches: Batches, step: int | None = None) -> dict[str, float]:
        """The loss and the metrics of a part, as if it were one batch, with the current `step` or the given one."""
        step = max(self.updates, 1) if step is None else step
        sums: dict[str, Any] = {}
        numbers: list[int] = []
        for number, batch in enumerate(_first(batches.epoch(0), self._count(batches))):
            if not _examples(batch):  # a worker's share of a small batch
                continue
            feeds = self.feeds(step, draws=f"evaluation {step} {number}")
            outputs = self.stepper.evaluate({**batch, **feeds})
            self.validated.add(sums, outputs, _examples(batch))
            numbers.append(number)
        if self.collective is not None:
            sums = self.validated.merged(self.collective.gather((numbers, sums)))
        return self.validated.of(sums)

    def _agree(self, saves: bool = False) -> bool:
        """End at every worker where one of them ends; returns whether one of them `saves`."""
        if self.collective is not None:
            endings = list(Ending)
            index = -1 if self.ending is None else endings.index(self.ending)
            numbers = np.array([index, saves], dtype=np.float64)  # of one type at all workers, as MPI requires
            self.collective.reduce(numbers, By.MAX)
            self.ending = endings[int(numbers[0])] if numbers[0] >= 0 else None
            return bool(numbers[1])
        return saves

    @property
    def writes(self) -> bool:
        """Whether this worker keeps what all have, in a folder or in memory."""
        return self.collective is None or self.collective.rank == 0

    def save(self, state: dict[str, Array]) -> None:
        """Write a checkpoint, or keep the state in memory if there is no folder."""
        if not self.writes:
            self._saved = time.monotonic()
            return
        if self.folder is not None:
            save_checkpoint(self.folder, state, self.position, self.settings.keep)
        else:
            self._saved_state = _copied(state), deepcopy(self.position)
        self._saved = time.monotonic()

    def last_good_state(self) -> tuple[dict[str, Array], Position] | None:
        """The last saved state, which is finite; None before the first."""
        saved = self._saved_state if self.folder is None else newest_checkpoint(self.folder)
        return saved if self.collective is None else self.collective.gather(saved)[0]

    def replay(self, stepper: Stepper, position: Position) -> Iterator[ReplayedStep]:
        """Repeat the steps of an epoch from a position on, with a stepper that has the state of that position."""
        step, number = position.step, position.batch
        for batch in self.training.epoch(position.epoch, number):
            step = self.next_step(step, number)
            feeds = {**batch, **self.feeds(step, position.rate)}
            read = {**_copied(stepper.state()), **feeds}
            loss = stepper.step(feeds)["loss"]
            number += 1
            yield ReplayedStep(position.epoch + 1, number, read, loss, stepper.state())

    def _finite_state(self) -> dict[str, Array]:
        """The state after the last step; raises NotFinite if it has become not finite."""
        state = self.stepper.state()
        lost = [path for path in non_finite_paths(state) if path not in self._allowed]
        if lost:
            position = self.position
            before = replace(position, step=position.step - 1, batch=position.batch - 1)
            raise NotFinite(f"`{lost[0]}` is not finite (NaN or infinity)", before)
        return state

    def next_step(self, step: int, batch: int) -> int:
        """The number of the step after `step`, for batch `batch` of an epoch; both count from 0.

        Updates are at multiples of `accumulate`. The last batch of an epoch gets the next multiple, so that the
        remaining batches are an update too.
        """
        accumulate = self.settings.accumulate
        return step + 1 if batch + 1 < self.batches else -(-(step + 1) // accumulate) * accumulate

    def feeds(self, step: int, rate: float = 1.0, draws: str = "") -> dict[str, Array]:
        """The inputs of a step besides its batch; `draws` replaces the step in the key of random draws."""
        numbers = {STEP: step, SEED: key(self.settings.seed, draws or f"step {step}"), RATE: rate}
        return {name: np.array(numbers[name], dtype) for name, dtype in self.inputs.items() if name in numbers}

    def _count(self, batches: Batches) -> int:
        limit = self.settings.limit_batches
        return len(batches) if limit is None else min(len(batches), limit)


def _examples(batch: Mapping[str, Array]) -> int:
    """The number of examples in a batch."""
    return len(next(iter(batch.values())))


def _copied(state: Mapping[str, Array]) -> dict[str, Array]:
    """A copy of a state, which the next steps do not change."""
    return {path: array.copy() for path, array in state.items()}


def _first(items: Iterable[dict[str, Array]], count: int) -> Iterable[dict[str, Array]]:
    """At most `count` items; then the iterator is closed, so that its thread ends."""
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
