"""Calls the callbacks of a run, and its trackers, whose failures never stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from nablac.callbacks import METHODS, RunFacts, StopTraining
from nablac.history import History
from runtime.training.loop import Ending
from runtime.training.run_record import describe

if TYPE_CHECKING:
    from runtime.training.checkpoints import Position
    from runtime.training.loop import Loop
    from runtime.training.training_run import Training


def callbacks_of(argument: Any) -> tuple[Any, ...]:
    """The callbacks of an argument, one or several; NablacError for what has no method of one."""
    several = isinstance(argument, Sequence) and not isinstance(argument, str)
    callbacks = tuple(argument) if several else (argument,)
    for callback in callbacks:
        handlers = [name for name in dir(callback) if name.startswith("on_") and callable(getattr(callback, name))]
        unknown = next((name for name in handlers if name not in METHODS), None)
        if unknown is not None:
            hint = did_you_mean(unknown, METHODS) or f"the methods are {', '.join(METHODS)}"
            message = f"callbacks have no method `{unknown}`, and it would never be called"
            raise NablacError(Diagnostic(codes.E605, message, place=type(callback).__name__, hint=hint))
        if not handlers and not callable(callback):
            message = f"{callback!r:.80} is not a callback"
            hint = f"it is an object with some of the methods {', '.join(METHODS)}, or a function of epoch and metrics"
            raise NablacError(Diagnostic(codes.E605, message, place="callbacks", hint=hint))
    return callbacks


class CallbackCalls:
    """The callbacks and the trackers, by name, of one run; `warn` is called with a tracker's failure.

    What a callback raises ends the loop after the present step or epoch, which is saved; `check` then raises it.
    """

    def __init__(self, callbacks: Sequence[Any], trackers: Mapping[str, Any], warn: Callable[[str], object]) -> None:
        self._callbacks = callbacks
        self._trackers = dict(trackers)
        self._warn = warn
        self._raised: Exception | None = None
        self._loop: Loop | None = None

    def begin(self, training: Training, loop: Loop, folder: Path | None) -> None:
        """Call them before the first step of a loop; its epochs and batches are reported by `batch` and `epoch`."""
        self._loop = loop
        if self._callbacks or self._trackers:
            settings, finished = describe(training), loop.position.epoch
            facts = RunFacts(training.name, training.inference.hypers, settings, folder, finished)
            self._call("on_train_begin", facts)

    def batch(self, position: Position, batches: int, metrics: Mapping[str, float]) -> None:
        """Call them after a batch."""
        self._call("on_batch_end", position.batch, batches, metrics)

    def epoch(self, position: Position, row: Mapping[str, float]) -> None:
        """Call them after an epoch."""
        self._call("on_epoch_end", position.epoch, row)

    def end(self, history: History) -> None:
        """Call them when the run has ended."""
        self._call("on_train_end", history)

    def interrupt(self) -> None:
        """Call them when Ctrl-C has ended the run."""
        self._call("on_exception", KeyboardInterrupt())

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Call them when an error or an interruption ends the block, which it leaves."""
        try:
            yield
        except BaseException as error:
            self._call("on_exception", error)
            raise

    def check(self, folder: Path | None = None) -> None:
        """Raise what a callback has raised, with a note on the unfinished run in `folder`."""
        __tracebackhide__ = True  # as in `fit`
        if self._raised is not None:
            if folder is not None:
                self._raised.add_note(f"the run is saved: `train(folder={str(folder)!r}, resume=True)` continues it")
            raise self._raised

    def _call(self, method: str, *arguments: Any) -> None:
        for callback in self._callbacks:
            handler = _handler(callback, method)
            if handler is None:
                continue
            try:
                handler(*_copied(arguments))
            except StopTraining as stop:
                self._stop(str(stop))
            except Exception as error:
                if self._raised is None:
                    self._raised = error.with_traceback(_below(error.__traceback__))
                self._stop(f"a callback raised {type(error).__name__}")
                break
        for name, tracker in list(self._trackers.items()):
            handler = _handler(tracker, method)
            if handler is None:
                continue
            try:
                handler(*_copied(arguments))
            except Exception as error:
                del self._trackers[name]  # one warning: what has failed is not called again
                self._warn(f"the tracker `{name}` failed, and tracks no more: {type(error).__name__}: {error!s:.300}")

    def _stop(self, reason: str) -> None:
        if self._loop is not None:
            self._loop.ending = Ending.CALLBACK
            self._loop.stop_reason = self._loop.stop_reason or reason


def _copied(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with dicts of their own: what one callback changes, the next one and the run do not see."""

    def copied(argument: Any) -> Any:
        if isinstance(argument, RunFacts):
            return replace(argument, hypers=dict(argument.hypers), settings=dict(argument.settings))
        return dict(argument) if type(argument) is dict else argument

    return tuple(map(copied, arguments))


def _below(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the call in this file; itself where a callback could not even be called."""
    return trace.tb_next or trace if trace is not None else None


def _handler(callback: Any, method: str) -> Callable[..., Any] | None:
    """The method of a callback; a plain function is one of epochs."""
    handler: Callable[..., Any] | None = getattr(callback, method, None)
    if handler is None and method == "on_epoch_end" and not any(hasattr(callback, name) for name in METHODS):
        return callback if callable(callback) else None
    return handler


def history_of(training: Training, loop: Loop, folder: Path | None) -> History:
    """The history of a loop that has ended."""
    position = loop.position
    return History(
        position.history,
        model=training.name,
        monitor=loop.monitor,
        best_epoch=position.best_epoch if position.best is not None else None,
        best=position.best,
        reason=loop.reason,
        folder=folder,
        higher_is_better=training.higher_is_better,
    )
