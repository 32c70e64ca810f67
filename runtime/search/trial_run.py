"""Running a trial: training its program in its folder, as `nablac train` would."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.fitted import read_fitted
from runtime.training.folder import RunFolder
from runtime.training.loop import Ending
from runtime.training.not_finite import NotFinite
from runtime.training.trained import RECORD

if TYPE_CHECKING:
    from compiler.elaborate.models import TextSource
    from runtime.search.trial_setup import TrialSetup
    from runtime.training.checkpoints import Position
    from runtime.training.loop import Loop
    from runtime.training.training_run import Training


class Pruned(Exception):
    """Raised by `Watch.epoch` to prune a trial."""


@dataclass(frozen=True)
class Watch:
    """Callbacks of a running trial."""

    stop: Callable[[], bool] = lambda: False
    epoch: Callable[[Position, float], None] = lambda position, value: None  # with the monitored quantity


@dataclass(frozen=True)
class Outcome:
    """The result of a trial; it is resumed later if `is_over` is false."""

    value: float | None
    epochs: int
    best_epoch: int
    seconds: float
    is_over: bool = True
    is_pruned: bool = False


def run_trial(setup: TrialSetup, source: TextSource, path: Path, watch: Watch) -> Outcome:
    """Train a program in a folder, from its last checkpoint if there is one.

    NablacError if the trial fails: its data does not fit, or its loss is not finite.
    """
    started = time.monotonic()
    training = setup.training(source)
    folder, loop = _open_run(setup, training, path)
    with folder:
        loop.stop = watch.stop
        is_pruned = False

        def epoch(position: Position, row: dict[str, float]) -> None:
            folder.write_epoch(position, row)
            watch.epoch(position, row.get(loop.monitor, row["loss"]))

        loop.events.epoch = epoch
        try:
            loop.run()
        except NotFinite as error:
            raise training.explain_not_finite(loop, error) from error
        except Pruned:
            is_pruned = True
        is_over = loop.ending is not Ending.INTERRUPTED
        if is_over and not is_pruned:
            folder.finish(training, training.trained(loop))
    position = loop.position
    if is_over and not is_pruned and position.best is None:
        raise NablacError(Diagnostic(codes.E842, f"`{loop.monitor}` was never a number", place=str(path)))
    seconds = time.monotonic() - started
    return Outcome(position.best, position.epoch, position.best_epoch, seconds, is_over, is_pruned)


def _open_run(setup: TrialSetup, training: Training, path: Path) -> tuple[RunFolder, Loop]:
    """The run's folder and its loop, resumed from a stopped or killed worker, or new."""
    if (path / RECORD).is_file():
        try:
            return _resume_run(training, path)
        except NablacError as error:
            with RunFolder(path):  # NablacError if another process trains in it
                setup.say(f"{path} cannot be resumed, and starts again: {error.diagnostics[0].message}")
                shutil.rmtree(path)
        training = setup.training(training.text)
    for draft in path.parent.glob(f".{path.name}.*.part"):  # of a worker that was killed
        shutil.rmtree(draft, ignore_errors=True)
    loop = training.loop()
    return RunFolder.begin(path, training, loop), loop


def _resume_run(training: Training, path: Path) -> tuple[RunFolder, Loop]:
    training.fitted = read_fitted(path)  # fitting it again could use changed data
    folder = RunFolder.resume(path, training)
    try:
        return folder, training.loop(folder.checkpoints, resume=True)
    except BaseException:
        folder.__exit__()
        raise
