"""Missing entries of targets do not count in the loss and the metrics, against PyTorch in float64 with a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.model_spec import EXAMPLE_WEIGHT, mask_name
from compiler.types import DType
from runtime.evaluation.evaluation import EvaluationSettings, evaluate
from runtime.evaluation.part_outputs import predictor_of_training
from runtime.training.run_options import Options
from runtime.training.trained import Trained
from runtime.training.training_run import Training
from tests.models import text_source

torch = pytest.importorskip("torch")
F = torch.nn.functional
Loss = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]  # of outputs and targets [rows, 3]: a number for each

MODEL = """
model M {{
    input x: f64[batch, 2]
    y = x -> Dense(3)
    output y
}}
train M {{
    target t: f64[batch, 3]
    loss {loss}
    metric {metric}
    optimizer sgd(lr: 0.1); shuffle false; epochs 2; seed 0; batch {batch}; accumulate {every}
    data csv("t.csv") -> fill("mean") -> columns(inputs: ["a", "b"], targets: ["t0", "t1", "t2"]){stages}
}}
"""
ROWS = 14
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(ROWS, 2)).round(3)
T = (RANDOM.random((ROWS, 3)) < 0.5).astype(np.float64)
W = RANDOM.uniform(0.1, 2, ROWS).round(3)
T[1, 0] = T[2, 1:] = T[5] = T[6, 2] = T[8, 0] = T[9, 1] = T[10, 2] = T[11, :2] = T[13, 0] = np.nan
KEPT = ~np.isnan(T).all(axis=1)  # all but row 5
LOSSES: dict[str, Loss] = {
    "mse(y, t)": lambda y, t: (y - t) ** 2,
    "mae(y, t)": lambda y, t: abs(y - t),
    "huber(y, t, delta: 0.5)": lambda y, t: F.huber_loss(y, t, reduction="none", delta=0.5),
    "log_cosh(y, t)": lambda y, t: torch.log(torch.cosh(y - t)),
    "binary_cross_entropy(y, t)": lambda y, t: F.binary_cross_entropy_with_logits(y, t, reduction="none"),
    "hinge(y, 2 * t - 1)": lambda y, t: F.relu(1 - y * (2 * t - 1)),
    "gaussian_nll(y, exp(y), t)": lambda y, t: F.gaussian_nll_loss(y, t, torch.exp(y) ** 2, reduction="none"),
    "mean(where(t > y, 0.9 * (t - y), 0.1 * (y - t)))": lambda y, t: torch.maximum(0.9 * (t - y), 0.1 * (y - t)),
    "mean(transpose(y - t, [1, 0]) ** 4) + 0.5 * mae(y, t)": lambda y, t: (y - t) ** 4 + 0.5 * abs(y - t),
    "mean(concat([(y - t)[:, 0:1], (y - t)[:, 1:]], axis: -1) ** 2)": lambda y, t: (y - t) ** 2,
}


def write(folder: Path, targets: np.ndarray, name: str = "t.csv") -> None:
    cells = [["NA" if np.isnan(number) else repr(float(number)) for number in row] for row in targets]
    rows = [",".join([*map(str, X[row]), *cells[row], str(W[row])]) for row in range(len(targets))]
    (folder / name).write_text("a,b,t0,t1,t2,w\n" + "\n".join(rows) + "\n")


def training(
    folder: Path,
    loss: str = "mse(y, t)",
    *,
    metric: str = "mae(y, t)",
    batch: int = 4,
    every: int = 1,
    backend: str = "numpy",
    stages: str = "",
) -> Training:
    text = MODEL.format(loss=loss, metric=metric, batch=batch, every=every, stages=stages)
    return Training(text_source(text, folder, dtype=DType.F64), options=Options(backend=backend))


def trained(run: Training) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    loop = run.loop()
    loop.run()
    state = loop.stepper.state()
    return {path: np.array(state[path]) for path in ("dense.W", "dense.b")}, loop.position.history


def by_torch(
    first: dict[str, np.ndarray], loss: Loss, weights: np.ndarray, batch: int
) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    """The weights after two epochs of gradient descent with a mask, and the loss and mean absolute error of each."""
    parameters = [torch.tensor(first[path], requires_grad=True) for path in ("dense.W", "dense.b")]
    x, there = torch.tensor(X[KEPT]), torch.tensor(~np.isnan(T[KEPT]) * 1.0)
    t, weigh = torch.tensor(np.nan_to_num(T[KEPT])), torch.tensor(weights[KEPT])[:, None]
    history: dict[str, list[float]] = {"loss": [], "mae": []}
    for _ in range(2):
        sums = np.zeros(4)
        for start in range(0, len(x), batch):
            rows = slice(start, start + batch)
            y, mask = x[rows] @ parameters[0] + parameters[1], there[rows] * weigh[rows]
            total, count = (mask * loss(y, t[rows])).sum(), mask.sum()
            error = (there[rows] * abs(y - t[rows])).sum()
            sums += [float(part.detach()) for part in (total, count, error, there[rows].sum())]
            for parameter, grad in zip(parameters, torch.autograd.grad(total / count, parameters), strict=True):
                parameter.data -= 0.1 * grad
        history["loss"].append(sums[0] / sums[1])
        history["mae"].append(sums[2] / sums[3])
    return {"dense.W": parameters[0].detach().numpy(), "dense.b": parameters[1].detach().numpy()}, history


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("loss", LOSSES)
def test_training_is_that_with_a_mask(loss: str, backend: str, tmp_path: Path) -> None:
    write(tmp_path, T)
    run = training(tmp_path, loss, backend=backend)
    weights, history = trained(run)
    expected, measured = by_torch(run.first_state(), LOSSES[loss], np.ones(ROWS), 4)
    for path, value in expected.items():
        np.testing.assert_allclose(weights[path], value, rtol=1e-10, atol=1e-12)
    for name, values in measured.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-10)


def test_weights_of_examples_and_masks_multiply_and_metrics_are_masked_alone(tmp_path: Path) -> None:
    write(tmp_path, T)
    run = training(tmp_path, stages=' -> weights(column: "w")')
    weights, history = trained(run)
    expected, measured = by_torch(run.first_state(), LOSSES["mse(y, t)"], W, 4)
    for path, value in expected.items():
        np.testing.assert_allclose(weights[path], value, rtol=1e-10)
    for name, values in measured.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-10)
    assert {EXAMPLE_WEIGHT, mask_name("t")} <= run.step.graph.inputs.keys()


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    write(tmp_path, T)
    whole, _ = trained(training(tmp_path, batch=ROWS))
    for batch, every in ((4, 4), (1, ROWS)):
        weights, _ = trained(training(tmp_path, batch=batch, every=every))
        for path, value in weights.items():
            np.testing.assert_allclose(value, whole[path], rtol=1e-10)


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_where_nothing_is_missing_all_bits_are_those_without_masks(backend: str, tmp_path: Path) -> None:
    write(tmp_path, np.nan_to_num(T))
    run = training(tmp_path, backend=backend)
    weights, history = trained(run)
    assert mask_name("t") not in run.step.graph.inputs
    text = MODEL.format(loss="mse(y, t)", metric="mae(y, t)", batch=4, every=1, stages="")
    source = text_source(text.replace('fill("mean") -> ', ""), tmp_path, dtype=DType.F64)
    plain = Training(source, options=Options(backend=backend))
    others, of_others = trained(plain)
    assert [weights[path].tobytes() for path in weights] == [others[path].tobytes() for path in weights]
    assert history == of_others


def test_a_run_that_is_resumed_goes_on_with_its_masks(tmp_path: Path) -> None:
    write(tmp_path, T)
    whole, _ = trained(training(tmp_path))
    first = training(tmp_path)
    first.options = Options(epochs=1)
    (tmp_path / "run").mkdir()
    first.loop(tmp_path / "run").run()
    second = training(tmp_path).loop(tmp_path / "run", resume=True)
    second.run()
    state = second.stepper.state()
    assert [whole[path].tobytes() for path in whole] == [state[path].tobytes() for path in whole]


@pytest.mark.parametrize(
    "options", [{"jit": True}, {"memory_budget": 1 << 20}, {"jit": True, "backend": "ort"}], ids=str
)
def test_every_way_to_take_a_step_masks_alike(options: dict[str, Any], tmp_path: Path) -> None:
    if "jit" in options:
        pytest.importorskip("numba")
    write(tmp_path, T)
    expected, _ = trained(training(tmp_path))
    run = training(tmp_path)
    run.options = Options(**options)
    for path, value in trained(run)[0].items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-12)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("files", ["validation", "training", "both"])
def test_a_file_for_validation_may_lack_other_targets_than_that_for_training(
    files: str, weighed: bool, tmp_path: Path
) -> None:
    shifted = np.roll(T, 1, axis=1)
    for name, targets, lacks in (("t.csv", T, "training"), ("v.csv", shifted, "validation")):
        write(tmp_path, targets if files in (lacks, "both") else np.nan_to_num(targets), name)
    stages = ' -> weights(column: "w")' if weighed else ""
    run = training(tmp_path, stages=f'{stages}\n    validation "v.csv"')
    weights, history = trained(run)
    t = shifted if files != "training" else np.nan_to_num(shifted)
    there = ~np.isnan(t)
    errors = X @ weights["dense.W"] + weights["dense.b"] - t
    counts = there * W[:, None] if weighed else there
    assert history["val_mae"][-1] == pytest.approx(abs(errors[there]).mean(), rel=1e-10)
    assert history["val_loss"][-1] == pytest.approx(np.nansum(counts * errors**2) / counts.sum(), rel=1e-10)


def test_missing_labels_have_no_weight_of_a_class(tmp_path: Path) -> None:
    """Nor do they count as examples of the class that stands in for them."""
    cells = [("0", 1), ("1", 2), ("NA", 3), ("1", 4), ("1", ""), ("NA", 6)]
    (tmp_path / "t.csv").write_text("a,ill,v\n" + "".join(f"1,{ill},{v}\n" for ill, v in cells))
    run = Training(text_source(TWO_KINDS, tmp_path, dtype=DType.F64))
    assert run.data.class_weights == pytest.approx((4 / (2 * 1), 4 / (2 * 3)))
    assert run.data.arrays[EXAMPLE_WEIGHT].tolist() == pytest.approx([2, 2 / 3, 1, 2 / 3, 2 / 3, 1])


TWO_KINDS = """
model M { input x: f64[batch, 1]
  output y = x -> Dense(2) }
train M { target ill: f64[batch, 1], v: f64[batch, 1]
  loss binary_cross_entropy(y[:, 0:1], ill) + mse(y[:, 1:], v)
  data csv("t.csv") -> fill("mean") -> weights(classes: "balanced") -> columns(inputs: "a", targets: ["ill", "v"]) }
"""


def test_scalings_are_those_of_the_entries_that_are_there(tmp_path: Path) -> None:
    targets = 10 * T + X[:, :1]
    write(tmp_path, targets)
    run = training(tmp_path, stages=" -> standardize()")
    np.testing.assert_allclose(run.data.scalings["t"].offset, np.nanmean(targets, axis=0), rtol=1e-12)
    np.testing.assert_allclose(run.data.scalings["t"].scale, np.nanstd(targets, axis=0), rtol=1e-12)
    assert np.isfinite(run.data.arrays["t"]).all()


NOTES = {
    "mse(y, t)": [
        "1 row is left out, since all targets in it are missing",
        "8 rows lack some targets, which do not count",
    ],
    "max(abs(y - t))": ["9 rows are left out, since targets in them are missing"],
    "mse(y, t) + 0.1 * mean(y ** 2)": ["9 rows are left out, since targets in them are missing"],
    "mean(softmax(t) * y)": ["9 rows are left out, since targets in them are missing"],
    "mean((y - t) ** 2) / (batch + 1)": ["9 rows are left out, since targets in them are missing"],
}


@pytest.mark.parametrize("loss", NOTES)
def test_examples_are_left_out_where_the_loss_has_no_place_for_a_mask(loss: str, tmp_path: Path) -> None:
    write(tmp_path, T)
    run = training(tmp_path, loss)
    assert len(run.data) == (13 if loss == "mse(y, t)" else 5)
    assert list(run.context.notes) == NOTES[loss]


@pytest.mark.parametrize("metric", ["median_absolute_error(y, t)", "precision(y, t)", "mae(y, t) over epoch"])
def test_a_metric_without_a_masked_form_leaves_examples_out_too(metric: str, tmp_path: Path) -> None:
    write(tmp_path, T)
    assert len(training(tmp_path, metric=metric).data) == 5


WINDOWS = """
model M {
    input x: f64[batch, 3, 1]
    output y = x[:, :, 0] -> Dense(4)
}
train M {
    target t: f64[batch, 4]
    loss mse(y, t)
    data csv("s.csv") -> fill("forward") -> window("v", length: 3, horizon: 4)
}
"""


def test_windows_stay_though_some_of_their_targets_are_missing(tmp_path: Path) -> None:
    values = np.arange(1.0, 17)
    values[[6, 10, 11, 12, 13]] = np.nan
    (tmp_path / "s.csv").write_text("v\n" + "\n".join("NA" if np.isnan(v) else str(v) for v in values) + "\n")
    run = Training(text_source(WINDOWS, tmp_path, dtype=DType.F64))
    starts = [start for start in range(10) if not np.isnan(values[start + 3 : start + 7]).all()]
    expected = np.stack([values[start + 3 : start + 7] for start in starts])
    arrays = run.data.arrays
    assert arrays[mask_name("t")].tolist() == (~np.isnan(expected)).astype(float).tolist()
    there = ~np.isnan(expected)
    assert arrays["t"][there].tolist() == expected[there].tolist()
    assert np.isfinite(arrays["t"]).all()
    assert len(starts) == len(run.data) == 9
    assert list(run.context.notes) == [
        "1 window is left out, since all targets in it are missing",
        "9 windows lack some targets, which do not count",
    ]


def judged(run: Training) -> Any:
    """The figures of all examples, with the first weights."""
    run.keeps_raw = True
    loop = run.loop()
    trained_run = replace(run, start=Trained(run.first_state(), run.fitted_now, 1), examples=None)
    assert len(loop.training.rows) == len(trained_run.data)
    settings = EvaluationSettings(5)
    return evaluate(predictor_of_training(trained_run), trained_run.data, "training", settings).results["t"]


def test_figures_are_of_the_entries_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, 100 * T + 1)
    run = training(tmp_path, stages=" -> standardize()")
    result = judged(run)
    first = run.first_state()
    scalings = run.data.scalings
    x, t = (scalings[name] for name in ("x", "t"))
    predicted = t.offset + t.scale * (((X[KEPT] - x.offset) / x.scale) @ first["dense.W"] + first["dense.b"])
    for column in range(3):
        there = ~np.isnan(T[KEPT][:, column])
        error = (100 * T[KEPT] + 1 - predicted)[there, column]
        figures = result.figures(column)
        assert (figures.count, figures.left_out) == (there.sum(), 0)
        np.testing.assert_allclose([figures.mae, figures.rmse], [abs(error).mean(), np.sqrt((error**2).mean())])


def test_labels_are_judged_where_all_of_an_example_are_there(tmp_path: Path) -> None:
    write(tmp_path, T)
    result = judged(training(tmp_path, "binary_cross_entropy(y, t)"))
    whole = int((~np.isnan(T).any(axis=1)).sum())
    assert [int(label.confusion.sum()) for label in result.figures.labels] == [whole] * 3


TWO = """
model M {
    input x: f64[batch, 2]
    y = x -> Dense(2)
    output y
}
train M {
    target t0: f64[batch, 1], t1: f64[batch, 1]
    loss mse(y[:, 0:1], t0) + mae(y[:, 1:2], t1)
    optimizer sgd(); batch 4
    data csv("t.csv") -> fill("mean") -> columns(inputs: ["a", "b"], targets: ["t0", "t1"])
}
"""


@pytest.mark.parametrize("whole", [(), ("t1",)])
def test_each_of_several_targets_has_a_mask_of_its_own(whole: tuple[str, ...], tmp_path: Path) -> None:
    targets = np.where([[False, "t1" in whole, True]], np.nan_to_num(T), T)
    write(tmp_path, targets)
    run = Training(text_source(TWO, tmp_path, dtype=DType.F64))
    kept = ~np.isnan(targets[:, :2]).all(axis=1)
    masks = {name for name in run.data.arrays if name.endswith(".mask")}
    assert masks == {mask_name("t0"), mask_name("t1")} - set(map(mask_name, whole))
    state = run.first_state()
    y, t = X[kept] @ state["dense.W"] + state["dense.b"], targets[kept]
    expected = np.nanmean((y[:, 0] - t[:, 0]) ** 2) + np.nanmean(abs(y[:, 1] - t[:, 1]))
    measured = replace(run, start=Trained(state, run.fitted_now, 1)).evaluate("training")
    assert measured["loss"] == pytest.approx(expected, rel=1e-12)


def test_several_masks_do_not_add_up_over_accumulated_batches(tmp_path: Path) -> None:
    write(tmp_path, T)
    run = Training(text_source(TWO.replace("batch 4", "batch 4; accumulate 2"), tmp_path, dtype=DType.F64))
    assert len(run.data) == (~np.isnan(T[:, :2]).any(axis=1)).sum()


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mse(y, t)": lambda y, t: np.mean((y - t) ** 2),
    "rmse(y, t)": lambda y, t: np.sqrt(np.mean((y - t) ** 2)),
    "r_squared(y, t)": lambda y, t: 1 - ((y - t) ** 2).sum() / ((t - t.mean()) ** 2).sum(),
    "binary_accuracy(y, t)": lambda y, t: np.mean((y > 0) == (t > 0.5)),
    "sum(abs(y - t))": lambda y, t: abs(y - t).sum(),
}


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_are_of_the_entries_that_are_there(metric: str, tmp_path: Path) -> None:
    write(tmp_path, T)
    run = training(tmp_path, metric=f"m = {metric}" if metric.startswith("sum") else metric)
    run.data  # noqa: B018 - reads it, for the masks
    state, there = run.first_state(), ~np.isnan(T[KEPT])
    y = (X[KEPT] @ state["dense.W"] + state["dense.b"])[there]
    measured = replace(run, start=Trained(state, run.fitted_now, 1)).evaluate("training")
    (name,) = measured.keys() - {"loss"}
    assert measured[name] == pytest.approx(METRICS[metric](y, T[KEPT][there]), rel=1e-10)
