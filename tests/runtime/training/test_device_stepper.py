"""Training on a device, here on the CPU by the same code: states and outputs are bound once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from runtime.training.device_stepper import DeviceStepper
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
    stepper.step(feeds(1))
    for name in ("bind_ortvalue_input", "bind_ortvalue_output", "bind_output"):
        count(onnxruntime.IOBinding, name)
    for name in ("update_inplace", "numpy"):
        count(onnxruntime.OrtValue, name)
    for number in (2, 3):
        stepper.step(feeds(number))
    fed = len(stepper.fed)
    assert counts == {"update_inplace": 2 * fed, "numpy": 2 * len(stepper.outputs)}
    stepper.step(feeds(4, batch=3))  # the last batch of an epoch: two inputs of another size, in two bindings
    assert counts["bind_ortvalue_input"] == 4 and counts["bind_ortvalue_output"] == counts["bind_output"] == 0


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
