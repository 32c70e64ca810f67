"""Training a model from Python: its folder, its progress, its callbacks, and what an interruption leaves."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from nablac.callback_calls import CallbackCalls, callbacks_of, history_of
from nablac.evaluating import warn_of_notes
from nablac.notebook_progress import NotebookProgress, in_notebook
from nablac.run_progress import Progress
from nablac.trackers.tracker_entries import trackers_of
from nablac.user_warnings import warn_user
from runtime.data.fitted import read_fitted
from runtime.training.folder import RUN, RunFolder
from runtime.training.loop import Ending
from runtime.training.not_finite import NotFinite
from runtime.training.option_wording import PYTHON
from runtime.training.scaling_notes import scaling_note

if TYPE_CHECKING:
    from nablac.history import History
    from runtime.training.loop import Loop
    from runtime.training.trained import Trained
    from runtime.training.training_run import Training


_RUN = replace(RUN, resume=lambda folder: f"train(folder={str(folder)!r}, resume=True)", another="folder")


@dataclass(frozen=True)
class Watching:
    """Who watches a run: callbacks, trackers, and whether its progress is shown; None shows it to people only."""

    callbacks: Any = ()
    trackers: Any = ()
    progress: bool | None = None


def fit(
    training: Training,
    folder: Path | None,
    resume: bool,
    watching: Watching,
    take: Callable[[Trained], object],
) -> History:
    """Train, and `take` the weights of the best epoch, even if a callback or an interruption ended the run.

    Then raises what a callback has raised, or KeyboardInterrupt. NablacError if training cannot continue.
    """
    __tracebackhide__ = True  # from an error of the user's callback: IPython and pytest show the frames beside it
    callbacks = callbacks_of(watching.callbacks)
    if resume and folder is None:
        hint = "`train(folder='runs/first', resume=True)` continues the run in this folder"
        raise NablacError(Diagnostic(codes.E605, "`resume` needs the folder of the run", place="resume", hint=hint))
    with ExitStack() as stack:
        run = None
        if folder is not None and resume:
            training.fitted = read_fitted(folder)
            run = stack.enter_context(RunFolder.resume(folder, training, PYTHON))
        loop = training.loop(run.checkpoints if run is not None else None, resume)
        warn_of_notes(training)
        kept = scaling_note(training)
        if kept is not None:
            warn_user(f"note: {kept}; a new model, from `nablac.compile`, fits its own")
        trackers = trackers_of(watching.trackers, warn_user)
        if folder is not None and not resume:
            run = stack.enter_context(RunFolder.begin(folder, training, loop, _RUN))
        calls = CallbackCalls(callbacks, trackers, warn_user)
        with calls.failures():
            _run(training, loop, run, calls, watching.progress)
            trained = training.trained(loop)
            take(trained)
            calls.check(folder)
            if loop.ending is Ending.INTERRUPTED:
                raise KeyboardInterrupt
            if run is not None:
                run.finish(training, trained)
        history = history_of(training, loop, folder)
        calls.end(history)
        calls.check()
    return history


def _run(training: Training, loop: Loop, run: RunFolder | None, calls: CallbackCalls, progress: bool | None) -> None:
    with _progress_of(loop, training.name, progress) as shown, _interruptible() as caught:
        loop.stop = lambda: bool(caught)

        def batch_done(position: Any, batches: int, means: dict[str, float]) -> None:
            shown.batch(position, batches, means)
            calls.batch(position, batches, means)

        def epoch_done(position: Any, row: dict[str, float]) -> None:
            if run is not None:
                run.write_epoch(position, row)
            shown.epoch(position, row)
            calls.epoch(position, row)

        loop.events.batch, loop.events.epoch = batch_done, epoch_done
        calls.begin(training, loop, run.path if run is not None else None)
        if loop.ending is Ending.CALLBACK:
            return
        try:
            loop.run()
        except NotFinite as error:
            raise training.explain_not_finite(loop, error) from error


def _progress_of(loop: Loop, name: str, progress: bool | None) -> Progress | NotebookProgress:
    """What shows the progress: by default in a notebook or on a terminal, and nowhere else."""
    if in_notebook() and progress is not False:
        return NotebookProgress(loop, name)
    shows = sys.stderr.isatty() if progress is None else progress
    return Progress(loop, not shows, lambda line: print(line, file=sys.stderr))


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Collect the first Ctrl-C, or interruption of a kernel, so that the loop ends after its present step.

    A second one raises KeyboardInterrupt at once. Where Python's own handler is not at work, nothing changes.
    """
    caught: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield caught
        return

    def handle(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    signal.signal(signal.SIGINT, handle)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
