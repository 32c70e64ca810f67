"""The folders of runs: their contents, what reads them, and when they are refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import nablac
from grammar.diagnostics import NablacError
from runtime.training import run_record
from tests.command_line import invoke
from tests.nablac.line_model import MODEL, write_line


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model, its import and its data."""
    monkeypatch.chdir(tmp_path)
    return write_line(tmp_path)


def test_the_folder_of_a_run_is_self_contained(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run", "--set", "units=5").exit_code == 0
    (line / "parts.model").unlink()
    (line / "m.model").unlink()
    assert invoke("check", "run/spec.model").exit_code == 0
    assert (line / "run" / "imported" / "parts.model").is_file()
    # Its text is the one that it was started with, and its data is where the model's file was.
    resumed = invoke("train", "run/spec.model", "--resume", "run", "--epochs", "4", "-q")
    assert resumed.exit_code == 0, resumed.output
    shapes = {array.shape for array in load_file(line / "run" / "weights.safetensors").values()}
    assert shapes == {(3, 5), (5,), (5, 1), (1,)}


TRAINED = [
    ("--set", "units=5"),
    ("--seed", "0"),
    ("--validation", "0.5"),
    ("--dtype", "f64"),
    ("--data", "line.csv"),
]


@pytest.mark.parametrize("options", TRAINED)
def test_eval_evaluates_a_run_as_it_was_trained(line: Path, options: tuple[str, ...]) -> None:
    done = invoke("train", "m.model", "-o", "run", *options)
    assert done.exit_code == 0 and "evaluate:  nablac eval run\n" in done.stderr
    best = min(json.loads((line / "run" / "history.json").read_text())["val_loss"])
    evaluated = json.loads(invoke("eval", "run", "--json").stdout)
    assert evaluated["part"] == "validation" and evaluated["loss"] == pytest.approx(best, rel=1e-6)
    assert json.loads((line / "run" / "run.json").read_text())["choices"]["seed"] == (0 if "--seed" in options else 5)


def test_a_run_of_an_earlier_version_is_read(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run", "--epochs", "1").exit_code == 0
    record = json.loads(Path("run/run.json").read_text())
    del record["choices"]["jit"], record["choices"]["memory_budget"], record["surroundings"]["numba"]
    Path("run/run.json").write_text(json.dumps(record))
    evaluated = invoke("eval", "run", "-q")
    assert evaluated.exit_code == 0, evaluated.stderr


def test_eval_reads_the_record_of_a_run_once(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run", "--epochs", "1").exit_code == 0
    read: list[Path] = []
    real = run_record.read_file
    monkeypatch.setattr(run_record, "read_file", lambda path, *rest: read.append(path) or real(path, *rest))
    assert invoke("eval", "run").exit_code == 0
    assert read == [Path("run/run.json")]


@pytest.mark.parametrize("setting", ["validation 0.25", 'validation 0.25\n    test "test.csv"', "validation 0"])
def test_eval_evaluates_all_of_another_file(line: Path, setting: str) -> None:
    header, *rows = (line / "line.csv").read_text().splitlines()
    (line / "test.csv").write_text("\n".join([header, *rows[:10]]) + "\n")
    (line / "other.csv").write_text("\n".join([header, *rows[30:37]]) + "\n")
    (line / "m.model").write_text(MODEL.replace("validation 0.25", setting))
    assert invoke("train", "m.model", "-o", "run", "-q").exit_code == 0
    predictions = nablac.load("run")(x=np.array([row.split(",")[:3] for row in rows[30:37]], np.float32))["y"]
    truths = np.array([row.split(",")[3:] for row in rows[30:37]], np.float64)
    scale = json.loads((line / "run" / "data.json").read_text())["scalings"]["t"]["scale"]
    expected = np.mean(((predictions - truths) / np.array(scale)) ** 2)
    for options in ((), ("--part", "all")):
        done = invoke("eval", "run", "--data", "other.csv", "--json", *options)
        assert done.exit_code == 0, done.output
        evaluated = json.loads(done.stdout)
        assert (evaluated["part"], evaluated["examples"]) == ("all", 7)
        assert evaluated["loss"] == pytest.approx(expected, rel=1e-4)
    if setting == "validation 0.25":
        evaluated = json.loads(invoke("eval", "run", "--data", "other.csv", "--json", "--part", "validation").stdout)
        assert (evaluated["part"], evaluated["examples"]) == ("validation", 2)


def test_eval_notes_that_weights_are_untrained(line: Path) -> None:
    done = invoke("eval", "m.model")
    assert done.stderr == "note: untrained weights, drawn from --seed; --weights FILE loads trained ones\n"
    assert done.stdout.splitlines()[0].endswith("; loss and metrics in scaled units, as in training")
    assert invoke("eval", "nowhere.model").stderr.startswith("error[E901]: there is no such file\n --> nowhere.model\n")


def test_python_refuses_to_load_nothing(line: Path) -> None:
    for weights in (None, "weights.safetensors"):
        with pytest.raises(NablacError, match="there is no run or file nowhere"):
            nablac.load("nowhere", weights)
    with pytest.raises(NablacError, match="no weights are named"):
        nablac.load("m.model")


@pytest.mark.parametrize("content", ["{}", "[]", "", "{", '{"choices": {}}', '{"choices": null, "length": 3}'])
def test_a_damaged_record_is_told_as_one(line: Path, content: str) -> None:
    (line / "run").mkdir()
    (line / "run" / "run.json").write_text(content)
    for done in (invoke("train", "m.model", "--resume", "run"), invoke("eval", "run")):
        damaged = "error[E841]: the record of the run is damaged, or of another version of nablac\n --> run/run.json\n"
        assert done.exit_code == 2 and done.stderr.startswith(damaged)


def test_a_loaded_run_trains_on_its_own_data(line: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    started = nablac.compile(str(line / "m.model"), seed=5).load(line / "run" / "weights.safetensors")
    history = nablac.load(line / "run").train(epochs=2, seed=5)
    assert history["epoch"] == [1, 2] and history == started.train(epochs=2, seed=5)
    nablac.load(line / "run").train(epochs=1, folder="again")
    assert nablac.load("again").train(epochs=1)["epoch"] == [1]


def test_a_project_that_was_moved_has_its_own_data(line: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert invoke("train", "m.model", "-q", "-o", "runs/first").exit_code == 0
    moved = tmp_path_factory.mktemp("other") / "moved"
    shutil.copytree(line, moved)
    Path("line.csv").write_text("a,b,c,t\n" + "9,9,9,9\n" * 80)  # other data than the run's
    assert invoke("eval", str(moved / "runs/first")).exit_code == 0
    assert invoke("train", "m.model", "-q", "--resume", str(moved / "runs/first"), "--epochs", "4").exit_code == 0
    refused = invoke("eval", "runs/first")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "error[E841]: the data has changed since runs/first began\n --> runs/first\n"
        "help: its split would differ: `--data FILE` evaluates on other data\n"
    )
    assert invoke("eval", "runs/first", "--data", "line.csv").exit_code == 0


def test_a_run_that_is_not_finished_has_no_model_yet(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    (line / "run" / "weights.safetensors").unlink()
    said = "run is not finished: it has no weights"
    refused = invoke("summary", "run")
    assert refused.exit_code == 2 and said in refused.stderr
    assert "help: `nablac train --resume run` finishes it" in refused.stderr
    with pytest.raises(NablacError, match=said):
        nablac.load("run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a .model file, or a run with --resume RUN"),
        (("run",), "run is the folder of a run: `nablac train --resume run` continues it"),
        (("run", "--resume", "run"), "run is the folder of a run: `nablac train --resume run` continues it"),
        (("--resume", "elsewhere"), "elsewhere is not the folder of a nablac run"),
    ],
)
def test_what_to_train_has_to_be_named(arguments: tuple[str, ...], message: str, line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    refused = invoke("train", *arguments)
    assert refused.exit_code == 2 and message in refused.stderr


def test_check_checks_a_run_with_its_own_sizes(line: Path) -> None:
    (line / "m.model").write_text(MODEL.replace("units = 4", "units"))
    assert invoke("train", "m.model", "-q", "-o", "run", "--set", "units=3").exit_code == 0
    shutil.rmtree(line / "run" / "checkpoints")
    (line / "m.model").unlink()
    checked = invoke("check", "run")
    assert checked.exit_code == 0 and "1 file checked, no errors" in checked.stderr
    assert "Line: 5 gradients" in invoke("check", "run", "--gradients").stdout
    without = invoke("check", "run/spec.model", "--gradients")
    assert without.exit_code == 1 and "needs `units`" in without.stderr
