"""Runs whose stages meet: series with known columns, weights and missing targets, on every way and on disk."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from runtime.data import stored_rows, table_blocks
from runtime.data.file_rows import VARIABLE
from tests.command_line import succeed
from tests.nablac.evaluated import figures_of
from tests.runtime.training.test_joined_stages import FORECAST, ROWS, forward, table, windows, write

SPEC = FORECAST.replace("f64", "f32").replace("validation 0.3", "validation 0.3; epochs 3; optimizer sgd(lr: 0.1)")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model and its table."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "s.csv", table(True))
    (tmp_path / "m.model").write_text(SPEC)
    return tmp_path


def weights_of(folder: Path, run: str) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    weights: dict[str, np.ndarray] = load_file(folder / run / "weights.safetensors")
    return weights


def answers(weights: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What the model says of windows, in float64."""
    a, b = (weights[name].astype(np.float64) for name in ("a", "b"))
    return arrays["x"][:, :, 0] @ a + arrays["k"][:, :, 0] @ b


def test_runs_on_disk_and_resumed_ones_reach_the_same_bits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed("train", "m.model", "-q", "-o", "whole")
    succeed("train", "m.model", "-q", "-o", "resumed", "--epochs", "1")
    in_memory = figures_of(folder / "whole")["figures"]["t"]["columns"]["v"]
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(stored_rows, "_AT_ONCE", 100)
    monkeypatch.setattr(table_blocks, "_AT_ONCE", 7)
    succeed("train", "m.model", "-q", "-o", "on-disk")
    succeed("train", "m.model", "-q", "--resume", "resumed", "--epochs", "3")
    for run in ("on-disk", "resumed"):
        assert (folder / run / "weights.safetensors").read_bytes() == (
            folder / "whole/weights.safetensors"
        ).read_bytes()
    on_disk = figures_of(folder / "on-disk")["figures"]["t"]["columns"]["v"]
    for name in ("count", "mae", "rmse"):
        assert in_memory[name] == on_disk[name]


def test_figures_and_predictions_are_those_of_the_weights(folder: Path) -> None:
    succeed("train", "m.model", "-q", "-o", "run")
    succeed("compile", "run", "-o", "m.onnx")
    weights, series = weights_of(folder, "run"), table(True)
    validation = windows(series, "validation")
    errors = answers(weights, validation) - validation["t"]
    figures = figures_of(folder / "run")["figures"]["t"]["columns"]["v"]
    assert figures["count"] == np.isfinite(errors).sum()
    assert figures["mae"] == pytest.approx(np.nanmean(abs(errors)), rel=1e-5)
    of_compiled = figures_of(folder / "m.onnx", "--data", "s.csv")["figures"]["t"]["columns"]["v"]
    of_run = figures_of(folder / "run", "--data", "s.csv")["figures"]["t"]["columns"]["v"]
    every = windows(series, "validation", border=0)
    errors = answers(weights, every) - every["t"]
    for facts in (of_compiled, of_run):
        assert facts["count"] == np.isfinite(errors).sum()
        assert facts["mae"] == pytest.approx(np.nanmean(abs(errors)), rel=1e-5)
    expected = []
    for columns in series.values():
        v, p = forward(columns["v"][:ROWS]), forward(columns["p"])
        expected.append(v[-3:] @ weights["a"].astype(np.float64) + p[ROWS : ROWS + 2] @ weights["b"].astype(np.float64))
    for model in ("run", "m.onnx"):
        rows = list(csv.DictReader(io.StringIO(succeed("predict", model, "s.csv", "-q").stdout)))
        assert [row["s"] for row in rows] == ["a", "a", "b", "b"]
        np.testing.assert_allclose(
            [float(row["predicted_v"]) for row in rows], np.ravel(expected), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("lacks", [False, True])
def test_a_file_for_validation_is_read_alike(folder: Path, lacks: bool) -> None:
    write(folder / "later.csv", table(lacks))
    (folder / "m.model").write_text(SPEC.replace("validation 0.3", 'validation "later.csv"'))
    succeed("train", "m.model", "-q", "-o", "run")
    arrays = windows(table(lacks), "validation", border=0)
    errors = answers(weights_of(folder, "run"), arrays) - arrays["t"]
    figures = figures_of(folder / "run")["figures"]["t"]["columns"]["v"]
    assert (figures["count"], figures["mae"]) == (
        np.isfinite(errors).sum(),
        pytest.approx(np.nanmean(abs(errors)), rel=1e-5),
    )


def test_a_search_weighs_and_masks_too(folder: Path) -> None:
    """The best value of a study is the weighted and masked loss of the weights that it keeps."""
    pytest.importorskip("optuna")
    (folder / "m.model").write_text(SPEC.replace("sgd(lr: 0.1)", "sgd(lr: 0.05..0.1)"))
    found = json.loads(succeed("tune", "m.model", "--trials", "1", "-o", "study", "--json").stdout)
    validation = windows(table(True), "validation")
    errors = answers(weights_of(folder, found["best"]["folder"]), validation) - validation["t"]
    counts = np.isfinite(errors) * validation["w"][:, None]
    assert found["best"]["objective"] == pytest.approx(np.nansum(counts * errors**2) / counts.sum(), rel=1e-4)
