"""Training of floats of 16 bits: what an optimizer keeps and works in is f32, as PyTorch's on an f32 copy of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.passes.pipeline import optimize
from compiler.training.losses import loss_graph
from compiler.training.step import training_step
from compiler.types import DType
from runtime.initialization import initialize
from runtime.training.onnx_steppers import OnnxStepper
from runtime.training.steppers import NumpyStepper, StepperSetup, with_averages
from tests.compiler.test_optimizers import OPTIMIZERS
from tests.compiler.texts import sound
from tests.models import spec_of

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")

TEXT = """
model M {
    input x: DTYPE[batch, 3]
    param w: DTYPE[3] = 0.5
    y = x * w
    output y
}
train M { target t: DTYPE[batch, 3]; loss sum(y * t); SETTINGS }
"""
GRADIENT = [0.0, 1e-4, 1.0]  # of which the square of the second is 0 in f16
KINDS = {"f16": torch.float16, "bf16": torch.bfloat16}


class Ours:
    """Steps of the model above, whose gradient is its input."""

    def __init__(self, kind: str, settings: str, stepper: type = NumpyStepper) -> None:
        text = TEXT.replace("DTYPE", kind).replace("SETTINGS", settings)
        sound(text)
        step = training_step(spec_of(text, training=True))
        state = initialize(step.graph, 0)
        state |= {average: state[path].astype("f4") for path, average in step.averages.items()}
        evaluation = loss_graph(spec_of(text))
        self.stepper = stepper(StepperSetup(optimize(step.graph), optimize(evaluation), state, step.averages, ["loss"]))
        self.inputs, self.averages, self.dtype, self.number = step.graph.inputs, step.averages, DType(kind).numpy, 0

    def feeds(self, gradient: list[float]) -> dict[str, Any]:
        x = np.array([gradient], np.float32).astype(self.dtype)
        given = {"x": x, "t": np.ones_like(x), "step": self.number}
        return {
            name: np.asarray(each, self.inputs[name].type.dtype.numpy)
            for name, each in given.items()
            if name in self.inputs
        }

    def step(self, gradient: list[float]) -> np.ndarray:
        self.number += 1
        self.stepper.step(self.feeds(gradient))
        return np.asarray(self.stepper.state()["w"], np.float32)


@pytest.mark.parametrize(
    ("kind", "stepper"), [("f16", NumpyStepper), ("f16", OnnxStepper), ("bf16", NumpyStepper)], ids=str
)
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "adam()", "adam(lr: step -> warmup(1e-2, steps: 4))"])
def test_an_optimizer_works_in_f32(optimizer: str, kind: str, stepper: type) -> None:
    ours = Ours(kind, f"optimizer {optimizer}", stepper)
    w = torch.full((3,), 0.5, requires_grad=True)
    if optimizer in OPTIMIZERS:
        theirs = OPTIMIZERS[optimizer]([w])
    else:
        theirs = torch.optim.Adam([w], 1e-3)
    for number in range(1, 7):
        if "warmup" in optimizer:
            theirs.param_groups[0]["lr"] = 1e-2 * min(number / 4, 1)
        w.grad = torch.tensor(GRADIENT).to(KINDS[kind]).float()
        theirs.step()
        with torch.no_grad():
            w.copy_(w.to(KINDS[kind]).float())
        np.testing.assert_array_equal(ours.step(GRADIENT), w.detach().numpy())


@pytest.mark.parametrize("stepper", [NumpyStepper, OnnxStepper])
def test_gradients_add_up_beyond_f16(stepper: type) -> None:
    ours = Ours("f16", "optimizer sgd(lr: 1e-5); accumulate 2", stepper)
    for _ in range(2):
        found = ours.step([60000.0, 0.0, 1.0])  # 120,000 together, of a loss that is a sum
    np.testing.assert_allclose(found, np.float16([0.5 - 1.2, 0.5, 0.5]), rtol=1e-3)


def test_the_step_is_counted_beyond_what_bf16_counts_to() -> None:
    ours = Ours("bf16", "optimizer sgd(lr: where(step == 257, 1, 1e-9))")
    ours.number = 256
    assert ours.step([0.0, 0.25, 1.0]).tolist() == [0.5, 0.25, -0.5]


@pytest.mark.parametrize(("kind", "stepper"), [("bf16", NumpyStepper), ("f16", NumpyStepper), ("f16", OnnxStepper)])
def test_an_average_moves_by_a_thousandth(kind: str, stepper: type) -> None:
    ours = Ours(kind, "optimizer sgd(lr: 0.25); average 0.999", stepper)
    mean = np.full(3, 0.5)
    for _ in range(20):
        mean = 0.999 * mean + 0.001 * ours.step([0.0, 1.0, -1.0])
    state = ours.stepper.state()
    np.testing.assert_allclose(state[ours.averages["w"]], mean, rtol=1e-5)
    expected = mean.astype(ours.dtype)
    assert np.array_equal(with_averages(state, ours.averages)["w"], expected)
    loss = ours.stepper.evaluate(ours.feeds([1.0, 0.0, 0.0]))["loss"]  # with the averages
    assert loss.dtype == ours.dtype and loss == expected[0]
    assert ours.stepper.evaluate(ours.feeds([0.0, 1.0, 0.0]))["loss"] == expected[1]
