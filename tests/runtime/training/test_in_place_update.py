"""Steps in place: the bits of the step as one graph, over memory that stays where it is."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from compiler.onnx.exporter import export
from grammar.diagnostics import NablacError
from runtime.numpy_chains import LoopSettings
from runtime.training import in_place_update, onnx_steppers
from runtime.training.onnx_steppers import InPlaceOnnxStepper, OnnxStepper
from runtime.training.run_options import Options
from runtime.training.steppers import InPlaceNumpyStepper, NumpyStepper, StepperSetup
from runtime.training.training_run import Training
from tests.models import text_source

TEXT = """
model M {
    input x: [batch, 5]
    y = x -> BatchNorm() -> Dense(6, activation: tanh) -> Dense(4, activation: tanh) -> Dense(1)
    output y
}
train M { target t: [batch, 1]; loss mse(y, t); SETTINGS }
optimizer normed(lr = 0.1) {
    state m = 0
    m' = 0.9 * m + grad / sqrt(sum(grad ** 2) + 1e-6)
    param' = param - lr * m'
}
optimizer sorted_first(lr = 0.1) { param' = param - lr * cumsum(grad, axis: 0) }
optimizer swapping(lr = 0.1) {
    state last = param
    last' = param
    param' = param - lr * (grad + 0.1 * (param - last))
}
"""
SETTINGS = [
    "optimizer adam(lr: 0.1)",
    "optimizer sgd(lr: 0.1 / step, momentum: 0.9); plateau 2; weight_decay 0.1",
    "optimizer adamw(lr: 0.1); accumulate 2; average 0.9; clip_norm 0.1",
    "optimizer normed(); clip_value 0.01",
    'optimizer sorted_first(); freeze "dense.*"',
    "optimizer swapping()",
    'optimizer adam(lr: 0.1 / step); rates [["dense.*", 0.1], ["*.b", 2]]',
]
STEPPERS = {"numpy": (InPlaceNumpyStepper, NumpyStepper), "ort": (InPlaceOnnxStepper, OnnxStepper)}


def training(settings: str, backend: str = "numpy") -> Training:
    return Training(text_source(TEXT.replace("SETTINGS", settings)), options=Options(backend=backend))


def steppers(run: Training, kinds: Any, loops: LoopSettings) -> list[Any]:
    split = run.split_graphs
    assert split is not None
    built = []
    for kind in kinds:
        step = StepperSetup(run.step_graph, run.loss_graph, run.first_state(), run.step.averages, (), split, loops)
        built.append(kind(step, split) if kind.__name__.startswith("InPlace") else kind(step))
    return built


def feeds(number: int, x: float = 1.0) -> dict[str, Any]:
    generator = np.random.default_rng(number)
    batch = {name: generator.normal(size=(8, size)).astype(np.float32) for name, size in (("x", 5), ("t", 1))}
    counters = {"step": np.array(number, np.float32), "rate": np.array(0.5, np.float32), "seed": np.array(number)}
    return {"x": batch["x"] * np.float32(x), "t": batch["t"], **counters}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("backend", STEPPERS)
def test_steps_in_place_have_the_bits_of_one_graph(
    settings: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_place_update, "_SMALL", 8)  # so that some gradients are copied and others are not
    ours, whole = steppers(training(settings, backend), STEPPERS[backend], LoopSettings(2))
    where = {path: array.ctypes.data for path, array in ours.state().items()}
    for number in range(1, 5):
        losses = [stepper.step(feeds(number))["loss"] for stepper in (ours, whole)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    ended = whole.state()
    for path, array in ours.state().items():
        if backend == "numpy":
            np.testing.assert_array_equal(array, ended[path], err_msg=path)
        np.testing.assert_allclose(array, ended[path], rtol=1e-4, atol=1e-6, err_msg=path)
        assert array.ctypes.data == where[path], "it lies still"


@pytest.mark.parametrize("backend", STEPPERS)
def test_a_step_whose_loss_is_not_finite_leaves_the_state_as_it_was(backend: str) -> None:
    ours, _ = steppers(training("optimizer adam()", backend), STEPPERS[backend], LoopSettings())
    ours.step(feeds(1))
    assert ours.before() == {}
    state = {path: array.copy() for path, array in ours.state().items()}
    assert not np.isfinite(ours.step(feeds(2, float("nan")))["loss"])
    for path, array in ours.before().items():
        np.testing.assert_array_equal(array, state[path], err_msg=path)


def test_gradients_are_written_in_forms_of_later_opsets(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
model M {
    input x: [batch, 64, 2, 2]
    output y = x -> Conv2D(64, 3) -> Conv2D(64, 3)
}
train M { target t: [batch, 64, 2, 2]; loss mse(y, t); optimizer sgd(lr: 0.1) }
"""
    models = []
    monkeypatch.setattr(onnx_steppers, "export", lambda *a, **named: models.append(export(*a, **named)) or models[-1])
    run = Training(text_source(text), options=Options(backend="ort"))
    run.stepper(run.first_state())
    kinds = {node.op_type for node in models[0].graph.node}
    assert models[0].opset_import[0].version >= 18
    assert "Col2Im" in kinds and "ConvTranspose" not in kinds
    assert "Col2Im" not in {node.op_type for node in export(run.step_graph, weights=None).graph.node}, "as files are"


def test_parameters_of_one_optimizer_are_one_array() -> None:
    run = training("optimizer adam()")
    state = run.first_state()
    assert run.split_graphs is not None
    update = in_place_update.InPlaceUpdate(run.split_graphs.update, state)
    assert not state, "its arrays are taken over"
    (group,) = update.groups
    assert len(group.members) == len(run.step.trained) == 8
    for member in group.members:
        for role, name in member.tensors.items():
            array = (update.gradients if role == "gradient" else update.arrays)[name]
            assert np.shares_memory(array, group.whole[role]) and array.ctypes.data % 64 == 0


def test_compiled_loops_need_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(NablacError, match="needs numba"):
        Options(jit=True)
