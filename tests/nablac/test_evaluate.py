"""`Model.evaluate`: the loss and the metrics on arrays, on files, and on the parts of the training's data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from tests.command_line import invoke
from tests.nablac.test_callbacks import DATA, TEXT

OF_FILE = TEXT.replace("shuffle true", 'shuffle true; data npz("data.npz")')


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with a seed and a split of its own, beside its data."""
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", **{name: array.astype(np.float32) for name, array in DATA.items()})  # type: ignore[arg-type]
    Path("line.model").write_text(OF_FILE)
    options = ("--seed", "5", "--validation", "0.4", "-q", "-o", "run")
    assert invoke("train", "line.model", *options).exit_code == 0
    return Path("run")


def of_command(*arguments: str) -> dict[str, float]:
    """The loss and the metrics that `nablac eval` prints."""
    facts = json.loads(invoke("eval", *arguments, "--json").stdout)
    return {name: facts[name] for name in ("loss", "mae")}


def test_arrays_are_judged_whole() -> None:
    model = nablac.compile(TEXT)
    y = model(x=DATA["x"])["y"].astype(np.float64)
    error = y - DATA["t"]
    expected = {"loss": float(np.mean(error**2)), "mae": float(np.mean(np.abs(error)))}
    for batch in (None, 5, 100):
        assert model.evaluate(DATA, batch=batch) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("part", [None, "training", "validation", "all"])
def test_a_loaded_run_is_judged_on_its_own_split(run: Path, part: str | None) -> None:
    named = ("--part", part) if part is not None else ()
    assert nablac.load(run).evaluate(part=part) == of_command(str(run), *named)


def test_a_file_is_judged_whole(run: Path) -> None:
    half = {name: array[::2].astype(np.float32) for name, array in DATA.items()}
    np.savez("half.npz", **half)  # type: ignore[arg-type]
    expected = of_command(str(run), "--data", "half.npz")
    for data in ("half.npz", Path("half.npz"), half):
        assert nablac.load(run).evaluate(data) == expected


def test_a_part_of_arrays_is_divided_as_in_their_training() -> None:
    model = nablac.compile(TEXT)
    history = model.train(DATA, seed=3, validation=0.3)
    assert history.best_epoch is not None
    expected = {name: history[f"val_{name}"][history.best_epoch - 1] for name in ("loss", "mae")}
    assert model.evaluate(DATA, part="validation") == pytest.approx(expected, rel=1e-12)


def test_data_that_has_changed_since_the_run_is_refused(run: Path) -> None:
    model = nablac.load(run)
    np.savez("data.npz", x=DATA["x"].astype(np.float32), t=np.zeros((32, 1), np.float32))
    with pytest.raises(NablacError) as caught:
        model.evaluate()
    (error,) = caught.value.diagnostics
    assert (error.code, error.message) == ("E841", "the data has changed since run began")
    assert error.hint == "its split would differ: `evaluate(data)` takes other data"


def test_a_part_that_is_not_there_is_refused(run: Path) -> None:
    model = nablac.load(run)
    with pytest.raises(NablacError) as caught:
        model.evaluate(part="validaton")
    assert str(caught.value) == (
        "error[E604]: there is no part `validaton`\n --> part\nhelp: the parts are training, validation, test, all"
    )
    with pytest.raises(NablacError, match="there are no test examples"):
        model.evaluate(part="test")


def test_evaluating_changes_no_weights() -> None:
    model = nablac.compile(TEXT)
    before = model.weights["dense.W"].copy()
    model.evaluate(DATA)
    np.testing.assert_array_equal(model.weights["dense.W"], before)
