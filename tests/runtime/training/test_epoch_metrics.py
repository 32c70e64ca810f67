"""Metrics of all examples at once are scikit-learn's of the whole part, whatever the batch; ties count as there."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.training_run import Training

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle: install the `oracle` extra")

EXAMPLES = 60
MODEL = """
model M {
    input score: [batch], pair: [batch, 2], logits: [batch, 4], y: [batch, 3]
    param w: [] = 0
    output out = score + w
}
train M {
    target t: [batch]
    target k: i64[batch]
    target label: i64[batch]
    target value: [batch, 3]
    loss mse(out, t)
    metric auc(score, t) over epoch
    metric auc_of_two = auc(pair, k) over epoch
    metric implied = auc(score, t)
    metric ap = score -> average_precision(t) over epoch
    metric median_absolute_error(y, value) over epoch
    metric precision(score, t)
    metric recall(score, t)
    metric f1(score, t)
    metric f1_of_two = f1(pair, k) over epoch
    metric precision_of_two = precision(pair, k) over epoch
    metric macro_f1(logits, label)
    metric mean_of_it = mean(abs(score)) over epoch
    epochs 1
    validation 0.5
    shuffle false
}
"""


def arrays(ties: int, share: float = 0.4, dtype: type = np.float32, labels: int = 4) -> dict[str, np.ndarray]:
    """Examples whose scores have so many values; 0 gives each its own."""
    generator = np.random.default_rng(5)
    score = generator.normal(size=EXAMPLES)
    if ties:
        score = np.round(score * ties) / ties
    truth = generator.random(EXAMPLES) < share
    pair = generator.normal(size=(EXAMPLES, 2))
    return {
        "score": score.astype(dtype),
        "pair": np.round(pair, 1).astype(dtype),
        "logits": generator.normal(size=(EXAMPLES, 4)).astype(dtype),
        "y": generator.normal(size=(EXAMPLES, 3)).astype(dtype),
        "t": truth.astype(dtype),
        "k": truth.astype(np.int64),
        "label": generator.integers(0, labels, EXAMPLES),
        "value": generator.normal(size=(EXAMPLES, 3)).astype(dtype),
    }


def evaluated(data: dict[str, np.ndarray], text: str = MODEL, **options: Any) -> tuple[dict[str, float], np.ndarray]:
    """The figures of the validation part, and its rows."""
    training = Training(TextSource(program_of(Source("m.model", text))), options=Options(**options))
    training.examples = from_arrays(data, "arrays")
    return training.evaluate("validation"), training.data.parts["validation"]


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("batch", [1, 7, 30])
@pytest.mark.parametrize("ties", [0, 1, 3])
@pytest.mark.parametrize("labels", [4, 2])
def test_figures_of_a_part_are_those_of_scikit_learn(ties: int, batch: int, labels: int, backend: str) -> None:
    data = arrays(ties, labels=labels)
    figures, rows = evaluated(data, batch=batch, backend=backend)
    part = {name: array[rows] for name, array in data.items()}
    difference = part["pair"][:, 1] - part["pair"][:, 0]
    said, said_of_two = part["score"] > 0, difference > 0
    expected = {
        "auc": metrics.roc_auc_score(part["t"], part["score"]),
        "implied": metrics.roc_auc_score(part["t"], part["score"]),
        "auc_of_two": metrics.roc_auc_score(part["k"], difference),
        "ap": metrics.average_precision_score(part["t"], part["score"]),
        "median_absolute_error": metrics.median_absolute_error(part["value"].astype(float), part["y"].astype(float)),
        "precision": metrics.precision_score(part["t"], said),
        "recall": metrics.recall_score(part["t"], said),
        "f1": metrics.f1_score(part["t"], said),
        "f1_of_two": metrics.f1_score(part["k"], said_of_two),
        "precision_of_two": metrics.precision_score(part["k"], said_of_two),
        "macro_f1": metrics.f1_score(
            part["label"], part["logits"].argmax(-1), average="macro", labels=range(4), zero_division=0
        ),
        "mean_of_it": np.abs(part["score"].astype(float)).mean(),
    }
    for name, value in expected.items():
        rounding = 1e-6 if name in ("median_absolute_error", "mean_of_it") else 1e-14
        assert figures[name] == pytest.approx(value, rel=rounding, abs=1e-15), name


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_of_one_class_nothing_is_ranked_and_counts_are_those_of_scikit_learn(share: float) -> None:
    data = arrays(3, share)
    figures, rows = evaluated(data, batch=7)
    truth, said = data["t"][rows], data["score"][rows] > 0
    assert np.isnan(figures["auc"])
    assert np.isnan(figures["ap"]) if share == 0 else figures["ap"] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert figures["precision"] == metrics.precision_score(truth, said, zero_division=0)
        assert figures["recall"] == pytest.approx(metrics.recall_score(truth, said, zero_division=0))
        assert figures["f1"] == pytest.approx(metrics.f1_score(truth, said, zero_division=0))


def test_a_part_of_one_example_is_measured() -> None:
    data = {name: array[:3] for name, array in arrays(0).items()}
    figures, rows = evaluated(data, validation=0.34)
    error = np.abs(data["value"] - data["y"])[rows]
    assert len(rows) == 1 and figures["median_absolute_error"] == pytest.approx(error.mean())


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64"])
def test_scores_of_any_float_are_ranked_in_f64(dtype: str) -> None:
    from compiler.types import DType

    text = MODEL.replace("metric mean_of_it = mean(abs(score)) over epoch", "")
    source = TextSource(program_of(Source("m.model", text)), dtype=DType(dtype))
    training = Training(source, options=Options(batch=7))
    floats = DType(dtype).numpy
    data = {name: array if array.dtype.kind == "i" else array.astype(floats) for name, array in arrays(2).items()}
    training.examples = from_arrays(data, "arrays")
    figures, rows = training.evaluate("validation"), training.data.parts["validation"]
    truth, score = data["t"][rows].astype(float), data["score"][rows].astype(float)
    assert figures["auc"] == pytest.approx(metrics.roc_auc_score(truth, score), rel=1e-14)
    assert figures["ap"] == pytest.approx(metrics.average_precision_score(truth, score), rel=1e-14)


def test_a_metric_over_epoch_is_measured_of_validation_and_may_be_monitored() -> None:
    text = MODEL.replace("epochs 1", 'epochs 2\n    monitor "val_auc"')
    training = Training(TextSource(program_of(Source("m.model", text))), options=Options(batch=7))
    training.examples = from_arrays(arrays(2), "arrays")
    loop = training.loop()
    loop.run()
    assert loop.settings.higher_is_better
    assert {"val_auc", "val_mean_of_it", "f1", "val_f1"} <= loop.position.history.keys()
    assert not {"auc", "mean_of_it"} & loop.position.history.keys()


@pytest.mark.parametrize(
    ("metric", "what"),
    [
        ("metric mean(w ** 2) over epoch", "this reads nothing of the examples"),
        ("metric mean(crossed) over epoch", r"this reads `crossed`, f32\[batch, batch\]"),
        ("metric mean(late) over epoch", r"this reads `late`, f32\[3, batch\]"),
        ("epochs 3 over epoch", "`epochs` cannot be computed over an epoch"),
    ],
)
def test_what_cannot_be_collected_example_by_example_is_refused(metric: str, what: str) -> None:
    targets = "target crossed: [batch, batch]\n    target late: [3, batch]\n    "
    text = MODEL.replace("epochs 1", "" if metric.startswith("epochs") else "epochs 1")
    text = text.replace("loss mse", f"{targets}{metric}\n    loss mse")
    with pytest.raises(NablacError, match=what):
        Training(TextSource(program_of(Source("m.model", text)))).step  # noqa: B018 - raises
