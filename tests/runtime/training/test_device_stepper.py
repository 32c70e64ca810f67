"""Training on a device, here on the CPU by the same code: states and outputs are bound once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from runtime.data.arrays import from_arrays
from runtime.training.device_stepper import DeviceStepper
from runtime.training.loop import Ending, Loop
from runtime.training.not_finite import NotFinite
from runtime.training.run_options import Options
from runtime.training.steppers import NumpyStepper, StepperSetup
from runtime.training.training_run import Training
from tests.models import text_source

TEXT = """
model M {
    input x: [batch, 5]
    y = x -> BatchNorm() -> Dense(6, activation: tanh) -> Dropout(0.5) -> Dense(1)
    output y
}
train M { target t: [batch, 1]; loss mse(y, t); optimizer adam(lr: 0.1); average 0.9 }
"""


def setup_of(backend: str) -> StepperSetup:
    run = Training(text_source(TEXT), options=Options(backend=backend))
    return StepperSetup(
        run.step_graph, run.loss_graph, run.first_state(), run.step.averages, tuple(run.loss_graph.outputs)
    )


def feeds(number: int, batch: int = 8, scale: float = 1.0) -> dict[str, Any]:
    generator = np.random.default_rng(number)
    arrays = {name: generator.normal(size=(batch, size)).astype(np.float32) for name, size in (("x", 5), ("t", 1))}
    counters = {"step": np.array(number, np.float32), "rate": np.array(0.5, np.float32), "seed": np.array(number)}
    return {"x": arrays["x"] * np.float32(scale), "t": arrays["t"], **counters}


def test_it_trains_as_numpy_does_over_batches_of_several_sizes() -> None:
    ours, other = DeviceStepper(setup_of("ort"), "cpu"), NumpyStepper(setup_of("numpy"))
    for number, batch in enumerate((8, 8, 3, 8), 1):
        losses = [stepper.step(feeds(number, batch))["loss"] for stepper in (ours, other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    wanted = other.state()
    for path, array in ours.state().items():
        np.testing.assert_allclose(array, wanted[path], rtol=1e-4, atol=1e-6, err_msg=path)
    batch = {name: feeds(9)[name] for name in ("x", "t")}
    evaluated = other.evaluate(batch)
    for name, array in ours.evaluate(batch).items():
        np.testing.assert_allclose(array, evaluated[name], rtol=1e-4, err_msg=name)


def test_a_step_binds_nothing_and_copies_the_batch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[str] = Counter()

    def count(kind: type, name: str) -> None:
        original: Callable[..., Any] = getattr(kind, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(kind, name, counting)

    stepper = DeviceStepper(setup_of("ort"), "cpu")
    for number in (1, 2):  # one for each copy of the state
        stepper.step(feeds(number))
    for name in ("bind_ortvalue_input", "bind_ortvalue_output", "bind_output"):
        count(onnxruntime.IOBinding, name)
    for name in ("update_inplace", "numpy"):
        count(onnxruntime.OrtValue, name)
    for number in (3, 4):
        stepper.step(feeds(number))
    fed = len(stepper.slots[0].inputs)
    assert counts == {"update_inplace": 2 * fed, "numpy": 2 * len(stepper.outputs)}
    stepper.step(feeds(5, batch=3))  # the last batch of an epoch: two inputs of another size
    assert counts["bind_ortvalue_input"] == 2 and counts["bind_ortvalue_output"] == counts["bind_output"] == 0


def test_the_callers_batch_is_not_written_over() -> None:
    stepper, first = DeviceStepper(setup_of("ort"), "cpu"), feeds(1)
    copied = first["x"].copy()
    stepper.step(first)
    stepper.step(feeds(2))
    np.testing.assert_array_equal(first["x"], copied)


def test_the_state_before_a_loss_that_is_not_finite_is_known() -> None:
    stepper = DeviceStepper(setup_of("ort"), "cpu")
    assert stepper.before() == {}
    stepper.step(feeds(1))
    state = stepper.state()
    assert not np.isfinite(stepper.step(feeds(2, scale=float("nan")))["loss"])
    for path, array in stepper.before().items():
        np.testing.assert_array_equal(array, state[path], err_msg=path)


@pytest.mark.parametrize("read_every", [2, 3, 10])
def test_results_that_are_read_later_have_the_same_bits(read_every: int) -> None:
    at_once, later = DeviceStepper(setup_of("ort"), "cpu"), DeviceStepper(setup_of("ort"), "cpu", read_every)
    results: list[dict[str, float]] = []
    for number in range(1, 18):
        later.begin(feeds(number, batch=3 if number % 5 == 0 else 8))
        if number % read_every == 0 or number in (7, 17):  # as before a checkpoint, and at the end
            results += later.read()
    assert results == [at_once.step(feeds(number, batch=3 if number % 5 == 0 else 8)) for number in range(1, 18)]
    for path, array in at_once.state().items():
        np.testing.assert_array_equal(later.state()[path], array, err_msg=path)


EXAMPLES = {"x": np.random.default_rng(3).normal(size=(40, 5)), "t": np.random.default_rng(4).normal(size=(40, 1))}


class Reads:
    """A training with the device's stepper on the CPU, which counts how often results are read."""

    def __init__(self, read_every: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.counts: list[int] = []
        original = DeviceStepper.read

        def read(stepper: DeviceStepper) -> list[dict[str, float]]:
            self.counts.append(len(results := original(stepper)))
            return results

        monkeypatch.setattr(DeviceStepper, "read", read)
        chosen = {"batch": 4, "validation": 0.3, "epochs": 3, "checkpoint_seconds": 1e9, **options}
        self.training = Training(text_source(TEXT), options=Options(backend="ort", **chosen))
        graphs = self.training.step_graph, self.training.loss_graph
        averages, outputs = self.training.step.averages, tuple(self.training.loss_graph.outputs)
        monkeypatch.setattr(
            self.training, "stepper",
            lambda state, steps=0: DeviceStepper(
                StepperSetup(*graphs, state, averages, outputs), "cpu", read_every
            ),
        )  # fmt: skip

    def loop(self, arrays: dict[str, Any], **where: Any) -> Loop:
        self.training.examples = from_arrays(arrays, "data")
        return self.training.loop(**where)


def test_a_run_reads_seldom_and_has_the_same_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven steps an epoch: the results of the last are read before the evaluation."""
    histories, states = [], []
    for read_every, counts in ((1, [1] * 21), (4, [4, 3] * 3), (10, [7] * 3)):
        run, seen = Reads(read_every, monkeypatch), []
        loop = run.loop(EXAMPLES)
        loop.events.batch = lambda position, batches, means, seen=seen: seen.append((position.batch, means["loss"]))
        loop.run()
        assert run.counts == counts
        histories.append((loop.position.history, seen))
        states.append(loop.stepper.state())
    assert [number for number, _ in histories[0][1]] == [1, 2, 3, 4, 5, 6, 7] * 3
    assert histories[0] == histories[1] == histories[2]
    for state in states[1:]:
        for path, array in states[0].items():
            np.testing.assert_array_equal(state[path], array, err_msg=path)


def test_what_is_pending_is_read_before_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after five steps, of which two have not been read; the resumed run has the bits of one that goes on."""
    whole = Reads(1, monkeypatch).loop(EXAMPLES)
    whole.run()
    stopped = Reads(3, monkeypatch)
    loop, steps = stopped.loop(EXAMPLES, folder=tmp_path), iter([False] * 4 + [True])
    loop.stop = lambda: next(steps)
    loop.run()
    assert loop.ending is Ending.INTERRUPTED and stopped.counts == [3, 2]
    resumed = Reads(3, monkeypatch).loop(EXAMPLES, folder=tmp_path, resume=True)
    assert resumed.position.step == 5 and resumed.position.sums["examples"] == 20
    resumed.run()
    assert resumed.position.history == whole.position.history
    for path, array in whole.stepper.state().items():
        np.testing.assert_array_equal(resumed.stepper.state()[path], array, err_msg=path)


@pytest.mark.parametrize("read_every", [1, 4, 10])
def test_a_loss_that_is_not_finite_is_named_by_its_step(read_every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Reads(read_every, monkeypatch, validation=0.0)
    second = list(run.loop(EXAMPLES).training.epoch(0))[1]["t"]
    targets = np.where(np.isclose(EXAMPLES["t"], second[0]), 3e38, EXAMPLES["t"])  # its square is infinite in f32
    del run.training.data
    loop = run.loop({**EXAMPLES, "t": targets})
    with pytest.raises(NotFinite) as caught:
        loop.run()
    assert caught.value.position.batch == 1 and len(run.counts) == (2 if read_every == 1 else 1)
    assert "the loss is inf at epoch 1, batch 2" in str(run.training.explain_not_finite(loop, caught.value))
