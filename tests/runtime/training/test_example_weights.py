"""Weights of examples and of classes, against PyTorch in float64: sum(w * l) / sum(w) of each batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.model_spec import EXAMPLE_WEIGHT
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.trained import Trained
from runtime.training.training_run import Training
from tests.command_line import invoke, succeed
from tests.models import text_source
from tests.runtime.training.test_accumulation import ADDS_UP

torch = pytest.importorskip("torch")
Loss = Callable[..., "torch.Tensor"]  # of the outputs, the targets t, b and labels k: one number for each example

MODEL = """
model M {{
    input x: [batch, 2]
    y = x -> Dense(3)
    output y
}}
train M {{
    target t: [batch, 3], b: [batch, 3]; target l: i64[batch]
    loss {loss}
    metric mae(y, t)
    optimizer sgd(lr: 0.1); shuffle false; epochs 2; seed 0; batch {batch}; accumulate {every}
    data arrays() -> {stages}
}}
"""
ROWS = 13
RANDOM = np.random.default_rng(3)
DATA = {
    "x": RANDOM.normal(size=(ROWS, 2)),
    "t": RANDOM.normal(size=(ROWS, 3)),
    "b": RANDOM.integers(0, 2, (ROWS, 3)).astype(np.float64),
    "l": RANDOM.integers(0, 3, ROWS),
    "w": np.array([0, 0, 0, 0, *RANDOM.uniform(0, 2, ROWS - 5), 0]),  # the first batch of four weighs nothing
}
F = torch.nn.functional


def each(loss: torch.Tensor) -> torch.Tensor:
    return loss.reshape(len(loss), -1).mean(dim=1)


LOSSES: dict[str, Loss] = {
    "mse(y, t)": lambda y, t, b, k: each((y - t) ** 2),
    "mae(y, t)": lambda y, t, b, k: each(abs(y - t)),
    "huber(y, t)": lambda y, t, b, k: each(F.huber_loss(y, t, reduction="none")),
    "log_cosh(y, t)": lambda y, t, b, k: each(torch.log(torch.cosh(y - t))),
    "cross_entropy(y, l)": lambda y, t, b, k: F.cross_entropy(y, k, reduction="none"),
    "cross_entropy(y, l, smoothing: 0.2)": lambda y, t, b, k: F.cross_entropy(
        y, k, reduction="none", label_smoothing=0.2
    ),
    "binary_cross_entropy(y, b)": lambda y, t, b, k: each(F.binary_cross_entropy_with_logits(y, b, reduction="none")),
    "categorical_cross_entropy(y, b)": lambda y, t, b, k: -(b * F.log_softmax(y, dim=1)).sum(dim=1),
    "hinge(y, 2 * b - 1)": lambda y, t, b, k: each(F.relu(1 - y * (2 * b - 1))),
    "gaussian_nll(y, exp(0.1 * y), t)": lambda y, t, b, k: each(
        F.gaussian_nll_loss(y, t, torch.exp(0.1 * y) ** 2, reduction="none")
    ),
    "mean(sum((y - t) ** 4, axis: -1)) + 0.1 * mean(y[:, 0] ** 2)": lambda y, t, b, k: (
        ((y - t) ** 4).sum(dim=1) + 0.1 * y[:, 0] ** 2
    ),
    "mean(maximum(0.9 * (t - y), -0.1 * (t - y)))": lambda y, t, b, k: each(
        torch.maximum(0.9 * (t - y), -0.1 * (t - y))
    ),
    "sum((y - t) ** 2) / batch": lambda y, t, b, k: ((y - t) ** 2).sum(dim=1),
    "sum((y - t) ** 2) / (batch * 3)": lambda y, t, b, k: each((y - t) ** 2),
}


def training(
    loss: str, stages: str = 'weights(column: "w")', *, batch: int = 4, every: int = 1, backend: str = "numpy"
) -> Training:
    text = MODEL.format(loss=loss, batch=batch, every=every, stages=stages)
    run = Training(text_source(text, dtype=DType.F64), options=Options(backend=backend))
    run.examples = from_arrays({name: array for name, array in DATA.items() if name != "w" or '"w"' in stages}, "data")
    return run


def trained(run: Training) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    loop = run.loop()
    loop.run()
    return {path: value for path, value in loop.stepper.state().items() if path.startswith("dense")}, (
        loop.position.history
    )


def by_torch(
    first: dict[str, np.ndarray], loss: Loss, weights: np.ndarray, batch: int
) -> tuple[dict[str, np.ndarray], list[float]]:
    """The weights after two epochs of gradient descent, and the loss of each."""
    W, b = (torch.tensor(first[path], dtype=torch.float64, requires_grad=True) for path in ("dense.W", "dense.b"))
    data = {name: torch.tensor(array) for name, array in DATA.items()}
    w, losses = torch.tensor(weights), []
    for _ in range(2):
        total, count = 0.0, 0.0
        for start in range(0, ROWS, batch):
            rows = slice(start, start + batch)
            y = data["x"][rows] @ W + b
            terms = w[rows] * loss(y, data["t"][rows], data["b"][rows], data["l"][rows])
            total, count = total + float(terms.detach().sum()), count + float(w[rows].sum())
            value = terms.sum() / w[rows].sum() if w[rows].sum() > 0 else 0 * terms.sum()
            for parameter, grad in zip((W, b), torch.autograd.grad(value, (W, b)), strict=True):
                parameter.data -= 0.1 * grad
        losses.append(total / count)
    return {"dense.W": W.detach().numpy(), "dense.b": b.detach().numpy()}, losses


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("loss", LOSSES)
def test_training_is_that_of_weighted_means(loss: str, backend: str) -> None:
    run = training(loss, backend=backend)
    expected, losses = by_torch(run.first_state(), LOSSES[loss], DATA["w"], 4)
    weights, history = trained(run)
    for path, value in expected.items():
        np.testing.assert_allclose(weights[path], value, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)


@pytest.mark.parametrize("loss", ADDS_UP[:-3] + list(LOSSES))
def test_accumulated_batches_are_one_weighted_batch(loss: str) -> None:
    whole, _ = trained(training(loss.replace("9)", "2)"), batch=ROWS))
    for batch, every in ((4, 4), (5, 3), (1, ROWS)):
        weights, _ = trained(training(loss.replace("9)", "2)"), batch=batch, every=every))
        for path, value in weights.items():
            np.testing.assert_allclose(value, whole[path], rtol=1e-10, atol=1e-12)


def test_an_ignored_label_does_not_count_whatever_its_weight() -> None:
    run = training("cross_entropy(y, l, ignore: 1)")
    counted = DATA["w"] * (DATA["l"] != 1)
    expected, losses = by_torch(run.first_state(), LOSSES["cross_entropy(y, l)"], counted, 4)
    weights, history = trained(run)
    for path, value in expected.items():
        np.testing.assert_allclose(weights[path], value, rtol=1e-10)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)


COUNTS = np.bincount(DATA["l"], minlength=3)
CLASSES = {
    'weights(classes: "balanced")': ROWS / (3 * COUNTS),  # scikit-learn's compute_class_weight
    "weights(classes: [0.5, 2, 0])": np.array([0.5, 2, 0]),
    'weights(classes: [["1", 3.0]])': np.array([1.0, 3, 1]),
}


@pytest.mark.parametrize("stage", CLASSES)
def test_weights_of_classes_are_those_of_cross_entropy_in_pytorch(stage: str) -> None:
    run = training("cross_entropy(y, l)", stage)
    table = torch.tensor(CLASSES[stage])
    data = {name: torch.tensor(array) for name, array in DATA.items()}
    expected, losses = by_torch(run.first_state(), LOSSES["cross_entropy(y, l)"], CLASSES[stage][DATA["l"]], 4)
    weights, history = trained(run)
    for path, value in expected.items():
        np.testing.assert_allclose(weights[path], value, rtol=1e-10)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)
    y = data["x"] @ torch.tensor(weights["dense.W"]) + torch.tensor(weights["dense.b"])
    at_once = float(F.cross_entropy(y, data["l"], weight=table))
    np.testing.assert_allclose(evaluated(run, weights)["loss"], at_once, rtol=1e-10)


def evaluated(run: Training, weights: dict[str, np.ndarray]) -> dict[str, float]:
    """The loss and the metrics of all examples with these weights, in batches of four."""
    after = replace(run, start=Trained(weights, run.fitted_now, 1))
    return after.evaluate("training")


def test_a_column_and_classes_multiply_and_metrics_count_all_alike() -> None:
    run = training("cross_entropy(y, l)", 'weights(column: "w", classes: [1, 2, 3])')
    np.testing.assert_array_equal(run.data.arrays[EXAMPLE_WEIGHT], DATA["w"] * (DATA["l"] + 1))
    weights, _ = trained(run)
    y = DATA["x"] @ weights["dense.W"] + weights["dense.b"]
    np.testing.assert_allclose(evaluated(run, weights)["mae"], abs(y - DATA["t"]).mean(), rtol=1e-12)


def test_the_step_takes_the_weights_as_an_input() -> None:
    step = training("mse(y, t)").step
    assert [str(step.graph.inputs[EXAMPLE_WEIGHT].type)] == ["f64[batch]"]
    assert EXAMPLE_WEIGHT not in training("mse(y, t)", "split()").step.graph.inputs


REFUSED = {
    "max(abs(y - t))": "`max` makes of all examples something other than a mean or a sum",
    "mean(y @ y^T)": "`mean` makes of all examples something other than a mean or a sum",
    "mse(y, t) + logsumexp(y)": "`logsumexp` makes of all examples something other than a mean or a sum",
    "mean((y - mean(y, axis: 0)) ** 2)": "`mean` makes of all examples something other than a mean or a sum",
    "mean(y ** 2) / (batch + 1)": "it reads the size batch + 1",
}


@pytest.mark.parametrize("loss", REFUSED)
def test_a_loss_that_has_no_weighted_form_is_refused(loss: str) -> None:
    with pytest.raises(NablacError) as caught:
        training(loss).step  # noqa: B018 - builds it
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E628", f"`weights` cannot weight this loss: {REFUSED[loss]}")
    assert diagnostic.hint == "make the weight a target: `target w: [batch]`, and `loss sum(w * term) / sum(w)`"


def test_an_exported_step_names_the_weights_among_its_inputs(tmp_path: Path) -> None:
    text = MODEL.format(loss="mse(y, t)", batch=4, every=1, stages='weights(column: "w")')
    (tmp_path / "m.model").write_text(text)
    done = succeed("compile", "--train", tmp_path / "m.model", "-o", tmp_path / "m.onnx", "--json", "-q")
    assert json.loads(done.stdout)["inputs"] == ["x", "t", "b", "l", EXAMPLE_WEIGHT]


def test_an_input_with_the_name_of_the_weights_is_refused(tmp_path: Path) -> None:
    text = MODEL.format(loss="mse(y, sample_weight)", batch=4, every=1, stages='weights(column: "w")')
    text = text.replace("target t:", "target sample_weight:").replace("mae(y, t)", "mae(y, sample_weight)")
    (tmp_path / "m.model").write_text(text)
    done = invoke("check", tmp_path / "m.model")
    assert done.exit_code == 1
    message = "`weights` makes `sample_weight` an input of the training step, and there is one of this name"
    assert f"error[E212]: {message}" in done.output
