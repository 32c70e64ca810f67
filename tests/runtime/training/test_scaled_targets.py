"""Which targets and metrics a scaling leaves raw: those that the loss does more with than compare them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.data.arrays import from_arrays
from runtime.numpy_executor import NumpyRunner
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from runtime.training.unit_notes import unit_notes
from tests.runtime.training.table_runs import TABLE, rows, training

# What a loss does with its target, and whether it says the same of scaled numbers but for their unit.
SCALED_BY_LOSS = {
    "mse(y, t)": True,
    "mae(y, t)": True,
    "huber(y, t)": True,
    "log_cosh(y, t)": True,
    "gaussian_nll(y, exp(y), t)": True,
    "mean(where(t > y, 0.9 * (t - y), 0.1 * (y - t)))": True,
    "mean(maximum(0.9 * (t - y), -0.1 * (t - y)))": True,
    "mse(y, t - x[:, 0:1])": True,
    "mean((y - mean(y) - (t - mean(t))) ** 2)": True,
    "binary_cross_entropy(y, t)": False,
    "mean(-t * log(sigmoid(y)) - (1 - t) * log(1 - sigmoid(y)))": False,
    "mean((1 - sigmoid(y)) ** 2 * t * softplus(-y) + sigmoid(y) ** 2 * (1 - t) * softplus(y))": False,
    "hinge(y, t)": False,
    "mean(exp(y) - t * y)": False,
    "mse(y, log(t))": False,
    "mean(abs(t - 1) * softplus(y))": False,
    "mape(y, t)": False,
    "mean(abs(y - t) / (abs(t) + abs(y)))": False,
    "mean(where(t == 0, 0, (y - t) ** 2))": False,
    "mse(y, t) + mean(relu(y - 1) * t)": False,
    "mse(y / 10, t / 10)": False,
    "mse(y ** 2, t ** 2)": False,
    "mse(y, clip(t, low: 0.0, high: 1.0))": False,
    "mse(y, 0.5 * t + 0.5 * t)": False,
}


@pytest.mark.parametrize("loss", SCALED_BY_LOSS)
def test_a_target_is_scaled_where_the_loss_only_compares_it_with_what_is_computed(tmp_path: Path, loss: str) -> None:
    rows(tmp_path, "train.csv")
    run = training(tmp_path, TABLE, LOSS=loss)
    raw = np.loadtxt(tmp_path / "train.csv", delimiter=",", skiprows=1)[:, 2:3]
    right = (raw - raw.mean()) / raw.std() if SCALED_BY_LOSS[loss] else raw
    np.testing.assert_allclose(run.data.arrays["t"], right, rtol=1e-4, atol=1e-5)
    says = "note: `t` is not scaled: the loss does more with it than compare it with what the model computes"
    says += "; `columns` of a scaling can name it nevertheless"
    assert (says in unit_notes(run.inference, run.data)) == (not SCALED_BY_LOSS[loss])


@pytest.mark.parametrize("loss", [loss for loss in SCALED_BY_LOSS if "sigmoid(y)" in loss or "binary" in loss])
def test_questions_of_yes_and_no_are_learned_from_scaled_inputs(tmp_path: Path, loss: str) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 200)) * [[30], [0.1]] + [[500], [2]]
    lines = [f"{a[n]},{b[n]},{int(a[n] / 30 + b[n] * 10 > 500 / 30 + 20)}" for n in range(200)]
    (tmp_path / "d.csv").write_text("a,b,t\n" + "\n".join(lines) + "\n")
    data = 'csv("d.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: "t")'
    loop = training(tmp_path, data, "optimizer sgd(lr: 0.3)\n seed 1", Options(epochs=20), LOSS=loss).loop()
    loop.run()
    assert 0 < loop.position.history["loss"][-1] < 0.4  # even odds are 0.693, and labels other than 0 and 1 go below 0


# Metrics beside `mse(y, t)`, and whether scaled numbers have them but for their unit.
METRICS = {
    "mae(y, t)": True,
    "rmse(y, t)": True,
    "r_squared(y, t)": True,
    "mean(cast(y > t, f32))": True,
    "mape(y, t)": False,
    "mean(abs(y - t)) / mean(abs(t))": False,
    "mean((y - t) ** 2) / mean(t ** 2)": False,
    "mean(abs(y - t) / maximum(abs(t), 1e-3))": False,
    "mean((log(abs(y) + 1) - log(t)) ** 2)": False,
    "cosine_similarity(y, t)": False,
    "mean(cast((y > 0.5) == (t > 0.5), f32))": False,
}


@pytest.mark.parametrize("metric", [metric for metric, takes in METRICS.items() if takes])
def test_a_metric_of_differences_takes_scaled_numbers(tmp_path: Path, metric: str) -> None:
    rows(tmp_path, "train.csv")
    assert training(tmp_path, TABLE, f"metric share = {metric}").data.scalings.keys() == {"x", "t"}


@pytest.mark.parametrize("metric", [metric for metric, takes in METRICS.items() if not takes])
def test_a_metric_that_asks_for_raw_numbers_is_refused_of_scaled_ones(tmp_path: Path, metric: str) -> None:
    rows(tmp_path, "train.csv")
    setting = f"metric share = {metric}"
    for stage in ("standardize", "min_max"):
        table = TABLE.replace("standardize()", f"{stage}()")
        with pytest.raises(
            NablacError, match="the metric `share` depends on the zero of `t`, which scaling moves"
        ) as caught:
            training(tmp_path, table, setting).data  # noqa: B018
        inputs_alone = f'{stage}(columns: ["x"])'
        assert inputs_alone in str(caught.value)
        assert training(tmp_path, table.replace(f"{stage}()", inputs_alone), setting).data.scalings.keys() == {"x"}


def test_a_percentage_is_of_raw_numbers(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    run = training(tmp_path, TABLE.replace("standardize()", 'standardize(["x"])'), "metric mape(y, t)")
    y = NumpyRunner(run.model_graph(), run.model_weights(run.first_state())).run(
        {"x": np.loadtxt(tmp_path / "train.csv", np.float32, delimiter=",", skiprows=1)[:, :2]}
    )["y"]
    t = np.loadtxt(tmp_path / "train.csv", delimiter=",", skiprows=1)[:, 2:3]
    assert unit_notes(run.inference, run.data) == ["units:     `y` is in the units of `t`"]  # none of scaled numbers
    np.testing.assert_allclose(run.evaluate("training")["mape"], 100 * np.abs((t - y) / t).mean(), rtol=1e-5)


@pytest.mark.parametrize("stage", ["standardize()", "min_max()"])
def test_numbers_without_an_axis_of_1_are_scaled_as_with_it(stage: str) -> None:
    """`(40,)` for `[batch, 1]` and `(40, 4, 4)` for images of one channel, and a model that is trained again."""
    text = """
    model M { input x: [batch, 1]; input image: [batch, 1, 4, 4]
              y = x + mean(image, axis: [2, 3]) -> Dense(1); output y }
    train M { target t: [batch, 1]; loss mse(y, t); data arrays() -> STAGE }
    """
    generator = np.random.default_rng(3)
    raw = {
        "x": generator.normal(size=40) * 30 + 500,
        "image": generator.normal(size=(40, 4, 4)) * 9 + 100,
        "t": generator.normal(size=40) * 1000 + 5000,
    }
    run = Training(TextSource(program_of(Source("m.model", text.replace("STAGE", stage)))))
    run.examples = from_arrays(raw, "arrays")
    for name, shape in {"x": (40, 1), "image": (40, 1, 4, 4), "t": (40, 1)}.items():
        low, high = raw[name].min(), raw[name].max()
        mean, deviation = raw[name].mean(), raw[name].std()
        right = (raw[name] - mean) / deviation if stage == "standardize()" else (raw[name] - low) / (high - low)
        np.testing.assert_allclose(run.data.arrays[name], right.reshape(shape), rtol=1e-5, atol=1e-5, err_msg=name)
    again = Training(run.source, fitted=run.fitted_now)
    again.examples = from_arrays({name: array[:10] for name, array in raw.items()}, "arrays")
    for name in raw:
        np.testing.assert_array_equal(again.data.arrays[name], run.data.arrays[name][:10])
    assert again.data.scalings.keys() == raw.keys()
