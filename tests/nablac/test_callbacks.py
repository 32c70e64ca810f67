"""Callbacks of `Model.train`: what they are called with, how they stop a run, and what their errors leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError

TEXT = """
model Line { input x: [batch, 3]; y = x -> Dense(1); output y }
train Line { target t: [batch, 1]; loss mse(y, t); metric mae(y, t); epochs 4; batch 8; validation 0.25; shuffle true }
"""
X = np.linspace(-1, 1, 96).reshape(32, 3)
DATA = {"x": X, "t": X.sum(axis=1, keepdims=True)}
EPOCHS = 4
BATCHES = 3  # of 24 examples


class Recorder:
    """Records its calls, and does something at one of them."""

    def __init__(self, at: tuple[Any, ...] = (), act: Callable[[], object] = lambda: None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.at, self.act = at, act

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if call[: len(self.at)] == self.at and self.at:
            self.act()

    def on_train_begin(self, facts: nablac.RunFacts) -> None:
        self._note("begin", facts)

    def on_batch_end(self, batch: int, batches: int, metrics: Any) -> None:
        self._note("batch", batch, batches, dict(metrics))

    def on_epoch_end(self, epoch: int, metrics: Any) -> None:
        self._note("epoch", epoch, dict(metrics))

    def on_train_end(self, history: nablac.History) -> None:
        self._note("end", history)

    def on_exception(self, error: BaseException) -> None:
        self._note("exception", error)


def stop(*reason: str) -> Callable[[], object]:
    def act() -> None:
        raise nablac.StopTraining(*reason)

    return act


def fail() -> None:
    raise ZeroDivisionError("the callback's own")


def kinds(recorder: Recorder) -> list[str]:
    return [call[0] for call in recorder.calls]


def test_methods_are_called_in_order_with_the_values_of_the_history() -> None:
    recorder, lines = Recorder(), []
    history = nablac.compile(TEXT).train(DATA, callbacks=[recorder, lambda epoch, metrics: lines.append(epoch)])
    assert kinds(recorder) == ["begin", *(["batch"] * BATCHES + ["epoch"]) * EPOCHS, "end"]
    facts = recorder.calls[0][1]
    assert (facts.model, facts.folder, facts.epoch, facts.settings["epochs"]) == ("Line", None, 0, EPOCHS)
    epochs = [call[2] for call in recorder.calls if call[0] == "epoch"]
    assert [row["val_mae"] for row in epochs] == history["val_mae"] and all("seconds" in row for row in epochs)
    batches = [call[1:3] for call in recorder.calls if call[0] == "batch"]
    assert batches == [(number, BATCHES) for number in (1, 2, 3)] * EPOCHS
    last = [call[3]["loss"] for call in recorder.calls if call[0] == "batch"][BATCHES - 1 :: BATCHES]
    assert last == history["loss"]  # the mean over all batches of the epoch
    assert lines == [1, 2, 3, 4]
    assert recorder.calls[-1][1] is history and history.reason == "all epochs are done"


def test_callbacks_do_not_change_a_run() -> None:
    watched, alone = nablac.compile(TEXT), nablac.compile(TEXT)
    assert watched.train(DATA, callbacks=Recorder()) == alone.train(DATA)
    np.testing.assert_array_equal(watched.weights["dense.W"], alone.weights["dense.W"])


def test_what_a_callback_changes_the_next_one_does_not_see() -> None:
    class Changing(nablac.Callback):
        def on_train_begin(self, facts: nablac.RunFacts) -> None:
            facts.settings["epochs"] = facts.hypers["more"] = 0  # type: ignore[index]

        def on_batch_end(self, batch: int, batches: int, metrics: Any) -> None:
            metrics["loss"] = 5.0

        def on_epoch_end(self, epoch: int, metrics: Any) -> None:
            metrics["loss"] = 5.0

    recorder = Recorder()
    history = nablac.compile(TEXT).train(DATA, callbacks=[Changing(), recorder])
    assert recorder.calls[0][1].settings["epochs"] == EPOCHS and not recorder.calls[0][1].hypers
    losses = [call[-1]["loss"] for call in recorder.calls if call[0] in ("batch", "epoch")]
    assert 5.0 not in losses and losses[BATCHES :: BATCHES + 1] == history["loss"]


STOPS = {
    "before the first step": (("begin",), 0, 0),
    "in the second epoch": (("batch", 2), 0, 2),
    "after the second epoch": (("epoch", 2), 2, 2 * BATCHES),
}


@pytest.mark.parametrize("label", STOPS)
def test_a_callback_stops_a_run(label: str) -> None:
    at, epochs, batches = STOPS[label]
    recorder = Recorder(at, stop("enough"))
    model = nablac.compile(TEXT)
    history = model.train(DATA, callbacks=recorder)
    assert (history.epochs, kinds(recorder).count("batch"), history.reason) == (epochs, batches, "enough")
    assert kinds(recorder)[-1] == "end"
    if at[0] == "epoch":
        shorter = nablac.compile(TEXT)
        assert shorter.train(DATA, epochs=2) == history
        np.testing.assert_array_equal(shorter.weights["dense.W"], model.weights["dense.W"])


def test_a_stop_without_words_has_a_reason() -> None:
    history = nablac.compile(TEXT).train(DATA, callbacks=Recorder(("epoch", 1), stop()))
    assert history.reason == "a callback stopped it"


@pytest.mark.parametrize("at", [("epoch", 2), ("batch", 2)], ids=str)
def test_an_error_in_a_callback_is_raised_once_the_run_is_saved(at: tuple[Any, ...], tmp_path: Path) -> None:
    recorder, model = Recorder(at, fail), nablac.compile(TEXT)
    run = tmp_path / "run"
    with pytest.raises(ZeroDivisionError, match="the callback's own") as caught:
        model.train(DATA, folder=run, callbacks=recorder)
    assert caught.value.__notes__ == [f"the run is saved: `train(folder={str(run)!r}, resume=True)` continues it"]
    assert recorder.calls[-1] == ("exception", caught.value)
    assert not model.is_drawn  # it has the weights so far
    whole = nablac.compile(TEXT)
    expected = whole.train(DATA, folder=tmp_path / "whole")
    assert model.train(DATA, folder=run, resume=True) == expected
    np.testing.assert_array_equal(model.weights["dense.W"], whole.weights["dense.W"])


def test_an_error_before_the_first_step_or_after_the_last_is_raised() -> None:
    for at in (("begin",), ("end",)):
        with pytest.raises(ZeroDivisionError):
            nablac.compile(TEXT).train(DATA, callbacks=Recorder(at, fail))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as in a terminal: a job in the background of a shell begins with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_is_raised_once_the_run_is_saved(tmp_path: Path) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    model, recorder = nablac.compile(TEXT), Recorder(("batch", 2), interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.train(DATA, folder=tmp_path / "run", callbacks=recorder)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert kinds(recorder) == ["begin", "batch", "batch", "exception"]
    whole = nablac.compile(TEXT).train(DATA)
    assert model.train(DATA, folder=tmp_path / "run", resume=True) == whole


def test_a_run_that_cannot_continue_tells_its_callbacks() -> None:
    recorder = Recorder()
    model = nablac.compile(TEXT.replace("loss mse(y, t)", "loss mse(log(y), t)"))
    with pytest.raises(NablacError) as caught:
        model.train(DATA, callbacks=recorder)
    assert recorder.calls[-1] == ("exception", caught.value)


class Misspelt:
    def on_epoch_start(self) -> None: ...


METHODS = "on_train_begin, on_batch_end, on_epoch_end, on_train_end, on_exception"
REFUSED = {
    "a method of another library": (
        Misspelt(),
        "error[E605]: callbacks have no method `on_epoch_start`, and it would never be called\n --> Misspelt\n"
        f"help: the methods are {METHODS}",
    ),
    "a number": (
        3,
        "error[E605]: 3 is not a callback\n --> callbacks\n"
        f"help: it is an object with some of the methods {METHODS}, or a function of epoch and metrics",
    ),
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_is_no_callback_is_refused(label: str) -> None:
    callback, expected = REFUSED[label]
    with pytest.raises(NablacError) as caught:
        nablac.compile(TEXT).train(DATA, callbacks=callback)
    assert str(caught.value) == expected


def test_progress_prints_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    model = nablac.compile(TEXT)
    model.train(DATA)
    assert capsys.readouterr().err == ""  # not a terminal
    model.train(DATA, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"epoch {number}/4" for number in (1, 2, 3, 4)]
