"""Measures over batches are those over all of their items at once, as PyTorch's over one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grammar.diagnostics import NablacError
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.models import text_source

torch = pytest.importorskip("torch", reason="PyTorch is the oracle: install the `oracle` extra")

BACKENDS = ["numpy", "ort"]
MASKED = """
model M {
    input x: [batch, time, 3]
    output logits = x -> Dense(4)
}
train M {
    target t: i64[batch, time]
    loss cross_entropy(logits, t, ignore: 0)
    metric right = masked_accuracy(logits, t, 0)
    metric perplexity = perplexity(logits, t, ignore: 0)
    metric plain = accuracy(logits, t)
    metric largest = max(abs(logits))
    metric smallest = min(logits)
    metric scale = sqrt(mean(logits ** 2)) / max(abs(logits))
    metric explained = r_squared(logits, cast(unsqueeze(t, -1), f32) * logits)
    validation 0.6
    optimizer sgd(lr: 0.5)
    epochs 3
    shuffle false
    SETTINGS
}
"""
UNUSED = """
model M {
    input x: [batch, 3]
    unused = x -> Dense(2)
    output y = x -> Dense(1)
    output unused
}
train M { target t: [batch, 1]; loss mse(y, t); epochs 1; validation 0.5; SETTINGS }
"""


def data(unpadded: int = 0) -> dict[str, np.ndarray]:
    """Labels of very unequal numbers of items from example to example; 0 is padding."""
    generator = np.random.default_rng(3)
    labels = generator.integers(1, 4, (20, 9))
    for row, count in enumerate(generator.integers(unpadded, 10, 20)):
        labels[row, count:] = 0
    return {"x": generator.normal(size=(20, 9, 3)).astype(np.float32), "t": labels}


def training(text: str, arrays: dict[str, np.ndarray], settings: str = "", **options: Any) -> Training:
    source = text_source(text.replace("SETTINGS", settings))
    run = Training(source, options=Options(**options))
    run.examples = from_arrays(arrays, "arrays")
    return run


def theirs(weights: dict[str, np.ndarray], x: np.ndarray, t: np.ndarray) -> tuple[Any, Any, Any]:
    """The logits, labels and loss of all items at once."""
    logits = torch.tensor(x) @ torch.tensor(weights["dense.W"]) + torch.tensor(weights["dense.b"])
    logits, labels = logits.reshape(-1, 4), torch.tensor(t).reshape(-1)
    return logits, labels, torch.nn.functional.cross_entropy(logits, labels, ignore_index=0)


def explained(y: Any, target: Any) -> float:
    return float(1 - (target - y).square().sum() / (target - target.mean()).square().sum())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 3, 10])
def test_measures_of_a_part_are_those_of_its_items_whatever_the_batch(batch: int, backend: str) -> None:
    run = training(MASKED, data(), backend=backend, batch=batch)
    loop = run.loop()
    assert loop.validation is not None
    found = loop.evaluate(loop.validation)
    rows = run.data.parts["validation"]
    logits, labels, loss = theirs(loop.stepper.state(), data()["x"][rows], data()["t"][rows])
    right = logits.argmax(-1) == labels
    expected = {
        "loss": loss.item(),
        "right": right[labels != 0].double().mean().item(),
        "perplexity": loss.exp().item(),
        "plain": right.double().mean().item(),
        "largest": logits.abs().max().item(),
        "smallest": logits.min().item(),
        "scale": (logits.square().mean().sqrt() / logits.abs().max()).item(),
        "explained": explained(logits, labels[:, None] * logits),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_epochs_measures_weigh_its_batches_by_their_items(backend: str) -> None:
    run = training(MASKED, data(), 'freeze "dense.b"', backend=backend, batch=3)
    loop = run.loop()
    loop.run()
    assert loop.position.history["perplexity"] == pytest.approx(np.exp(loop.position.history["loss"]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_accumulated_batches_of_masked_items_are_the_larger_batch(backend: str) -> None:
    runs = []
    for batch, settings in ((4, ""), (2, "accumulate 2"), (1, "accumulate 4")):
        loop = training(MASKED, data(), settings, backend=backend, batch=batch).loop()
        loop.run()
        runs.append(loop.stepper.state())
    for other in runs[1:]:
        for path in ("dense.W", "dense.b"):
            np.testing.assert_allclose(other[path], runs[0][path], rtol=1e-5, err_msg=path)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_that_the_loss_does_not_need_stay_as_they_are(backend: str) -> None:
    generator = np.random.default_rng(1)
    arrays = {name: generator.normal(size=(8, size)).astype(np.float32) for name, size in (("x", 3), ("t", 1))}
    run = training(UNUSED, arrays, "average 0.9", backend=backend)
    first = run.first_state()
    loop = run.loop()
    loop.run()
    state = loop.stepper.state()
    np.testing.assert_array_equal(state["dense.W"], first["dense.W"])
    assert (state["dense_1.W"] != first["dense_1.W"]).all()


RANKED = """
fn auc(score, positive) {
    higher = cast(unsqueeze(score, 1) > unsqueeze(score, 0), f32)
    above = higher + 0.5 * cast(unsqueeze(score, 1) == unsqueeze(score, 0), f32)
    pairs = unsqueeze(positive, 1) * (1 - unsqueeze(positive, 0))
    output sum(above * pairs) / sum(pairs)
}
model M {
    input x: [batch, 3]
    param scale: [] = 2
    h = x -> Dense(4, activation: tanh)
    score = squeeze(h -> Dense(1), -1)
    spread = mean((score - mean(score)) ** 2)
    output score
}
train M {
    target t: [batch]
    temperature = Dense(1)
    loss binary_cross_entropy(score, t)
    metric auc = auc(score, t)
    metric deviation = sqrt(spread) * scale
    metric median = top_k(score, shape(score)[0] // 2)[0][-1]
    metric tempered = auc(squeeze(temperature(h), -1) * 3 + score, t) + 0 * scale
    metric mae(score, t)
    monitor "val_auc"
    mode "max"
    validation 0.6
    optimizer sgd(lr: 0.5)
    epochs 2
    SETTINGS
}
"""


MONITOR = 'monitor "val_auc"\n    mode "max"'


def ranked_data() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(12)
    x = generator.normal(size=(45, 3)).astype(np.float32)
    return {"x": x, "t": (x[:, 0] + generator.normal(size=45) > 0.8).astype(np.float32)}


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive example has the larger score, ties as halves (Mann and Whitney 1947)."""
    above = score[positive > 0][:, None] - score[positive == 0][None]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 4, 27])
def test_a_metric_that_compares_examples_is_computed_of_all_at_once(batch: int, backend: str) -> None:
    arrays = ranked_data()
    run = training(RANKED, arrays, backend=backend, batch=batch)
    loop = run.loop()
    assert loop.validation is not None
    found = loop.evaluate(loop.validation)
    rows, state = (
        run.data.parts["validation"],
        {path: array.astype(float) for path, array in loop.stepper.state().items()},
    )
    h = np.tanh(arrays["x"][rows] @ state["dense.W"] + state["dense.b"])
    score = (h @ state["dense_1.W"] + state["dense_1.b"])[:, 0]
    tempered = (h @ state["temperature.W"] + state["temperature.b"])[:, 0] * 3 + score
    positive = arrays["t"][rows]
    assert found["auc"] == pytest.approx(area_under_curve(score, positive), rel=1e-6)
    assert found["tempered"] == pytest.approx(area_under_curve(tempered, positive), rel=1e-6)
    assert found["deviation"] == pytest.approx(2 * score.std(), rel=1e-5)
    assert found["median"] == pytest.approx(np.sort(score)[::-1][len(score) // 2 - 1], rel=1e-5)
    assert found["mae"] == pytest.approx(np.abs(score - positive).mean(), rel=1e-5)
    loop.run()
    history = loop.position.history
    assert {"val_auc", "val_median", "mae", "val_mae"} <= history.keys() and "auc" not in history


def test_a_metric_of_all_examples_has_no_figure_of_training_alone() -> None:
    run = training(RANKED.replace("validation 0.6", "").replace(MONITOR, ""), ranked_data())
    assert run.measured_whole == ["auc", "deviation", "median", "tempered"]
    loop = run.loop()
    loop.run()
    assert list(loop.position.history) == ["epoch", "loss", "mae"]
    assert run.evaluate("training").keys() == {"loss", "auc", "deviation", "median", "tempered", "mae"}


def test_a_monitor_of_training_that_is_measured_of_validation_alone_is_refused() -> None:
    with pytest.raises(NablacError, match="the `monitor` auc is not measured"):
        training(RANKED.replace('monitor "val_auc"', 'monitor "auc"'), ranked_data()).loop()


def test_a_loss_of_pairs_says_that_its_figure_is_of_batches() -> None:
    pairs = RANKED.replace("binary_cross_entropy(score, t)", "1 - auc(score + t - stop_gradient(t), t) + mse(score, t)")
    assert training(pairs, ranked_data(), "batch 5").is_by_batches
    assert not training(RANKED, ranked_data()).is_by_batches
