"""`nablac compare`: what differs between runs, what they came to, as a table, as JSON and as a page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nablac.run_comparison import compare_runs
from runtime.training.event_reader import read_scalars
from tests.command_line import invoke
from tests.runtime.charts.test_page import Reader

MODEL = """model Line(units = 4) {
    input x: [batch, 3]
    y = x -> Dense(units, activation: tanh) -> Dense(1)
    output y
    preset wide { units = 16 }
}

train Line {
    target t: [batch, 1]
    loss mse(y, t)
    metric mae(y, t)
    optimizer adam(lr: 1e-2)
    epochs 3
    batch 16
    validation 0.25
    seed 5
    data csv("line.csv") -> columns(inputs: ["a", "b", "c"], targets: ["t"])
}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs that differ in one thing each, and one that is not finished; no test changes it."""
    folder = tmp_path_factory.mktemp("compare")
    rows = np.random.default_rng(0).normal(size=(80, 3))
    lines = [",".join(f"{cell:.6f}" for cell in (*row, row.sum())) for row in rows]
    (folder / "line.csv").write_text("a,b,c,t\n" + "\n".join(lines) + "\n")
    (folder / "other.csv").write_text("a,b,c,t\n" + "\n".join(lines[:60]) + "\n")
    (folder / "m.model").write_text(MODEL)
    (folder / "sgd.model").write_text(MODEL.replace("adam(lr: 1e-2)", "sgd(lr: 0.05)"))
    (folder / "mae.model").write_text(MODEL.replace("epochs 3", 'epochs 3\n    monitor "val_mae"'))
    for name, arguments in {
        "adam": ("m.model",),
        "set": ("m.model", "--set", "units=16"),
        "preset": ("m.model", "--preset", "wide"),
        "long": ("m.model", "--epochs", "5"),
        "sgd": ("sgd.model",),
        "mae": ("mae.model",),
        "data": ("m.model", "--data", "other.csv"),
    }.items():
        ended = invoke("train", *arguments, "-q", "-o", f"runs/{name}", folder=folder)
        assert ended.exit_code == 0, ended.output
    shutil.copytree(folder / "runs" / "long", folder / "runs" / "begun")
    (folder / "runs" / "begun" / "weights.safetensors").unlink()
    shutil.copytree(folder / "runs" / "begun", folder / "runs" / "new")
    for name in ("history.json", "history.csv", "checkpoints/best.safetensors"):
        (folder / "runs" / "new" / name).unlink()
    return folder / "runs"


def compared(runs: Path, *names: str) -> dict[str, Any]:
    ended = invoke("compare", *(runs / name for name in names), "--json")
    assert ended.exit_code == 0, ended.output
    content: dict[str, Any] = json.loads(ended.stdout)
    return content


@pytest.mark.parametrize(
    ("names", "differences"),
    [
        (["adam", "set"], {"units": ["4", "16"]}),
        (["adam", "preset"], {"units": ["4", "16"], "preset": [None, "wide"]}),
        (["set", "preset"], {"preset": [None, "wide"]}),
        (["adam", "long"], {"epochs": ["3", "5"]}),
        (["adam", "sgd", "adam"], None),
        (["adam", "sgd"], {"optimizer": ["adam(lr: 1e-2)", "sgd(lr: 0.05)"]}),
        (["adam", "mae"], {"monitor": [None, '"val_mae"']}),
    ],
    ids=str,
)
def test_the_settings_that_differ_are_those_of_text_preset_and_options(
    runs: Path, names: list[str], differences: dict[str, list[str | None]] | None
) -> None:
    expected = differences or {
        "optimizer": ["adam(lr: 1e-2)", "sgd(lr: 0.05)"]
    }  # a run that is named twice counts once
    assert compared(runs, *names)["differences"] == expected


def test_the_data_of_a_run_are_told_apart_by_what_they_hold(runs: Path) -> None:
    content = compared(runs, "adam", "data")
    assert list(content["differences"]) == ["data"]
    assert content["notes"] == ["the runs have different data: their results are not comparable"]


def test_results_are_those_of_the_best_epoch(runs: Path) -> None:
    for run in compared(runs, "adam", "long", "sgd")["runs"]:
        history = json.loads((Path(run["run"]) / "history.json").read_text())
        best = int(np.argmin(history["val_loss"]))
        assert run["best_epoch"] == best + 1 and run["epochs"] == len(history["loss"])
        assert run["metrics"] == {name: history[name][best] for name in ("val_loss", "loss", "mae", "val_mae")}
        assert next(iter(run["metrics"])) == run["monitor"] == "val_loss"
        assert run["parameters"] == 3 * 4 + 4 + 4 + 1 and run["is_finished"]


def test_the_time_is_that_of_all_epochs(runs: Path) -> None:
    times = read_scalars(runs / "long", "seconds")
    assert list(times) == [1, 2, 3, 4, 5] and min(times.values()) > 0
    assert compared(runs, "adam", "long")["runs"][1]["seconds"] == pytest.approx(sum(times.values()))


def test_the_best_run_is_named(runs: Path) -> None:
    content = compared(runs, "adam", "set", "long", "sgd")
    best = min(content["runs"], key=lambda run: run["metrics"]["val_loss"])
    assert content["best"] == best["run"]
    ended = invoke("compare", *(runs / name for name in ("adam", "set", "long", "sgd")))
    assert f"best: runs/{Path(best['run']).name}, val_loss " in ended.stdout


def test_runs_that_monitor_different_quantities_have_no_best(runs: Path) -> None:
    content = compared(runs, "adam", "mae")
    assert content["best"] is None
    assert content["notes"] == ["the runs monitor different quantities (val_loss, val_mae): no best run is named"]


def test_the_table_has_settings_and_results(runs: Path) -> None:
    lines = invoke("compare", runs / "adam", runs / "sgd").stdout.splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["setting", "runs/adam", "runs/sgd"],
        [lines[1]],
        ["optimizer", "adam(lr:", "1e-2)", "sgd(lr:", "0.05)"],
        ["text", "+1", "-1", "lines"],
        [],
    ]
    header = ["run", "best", "epoch", "val_loss", "loss", "mae", "val_mae", "parameters", "time"]
    assert lines[5].split() == header
    assert lines[7].split()[:3] == ["runs/adam", "3", "of"]


def test_settings_that_do_not_fit_beside_each_other_are_listed_with_their_runs(runs: Path) -> None:
    names = ["adam", "sgd", "long", "set", "preset", "begun", "new"]
    lines = invoke("compare", *(runs / name for name in names)).stdout.splitlines()
    assert lines[0] == "settings that differ"
    start = lines.index("  optimizer")
    assert lines[start + 1] == "    adam(lr: 1e-2): runs/adam, runs/long, runs/set, runs/preset, runs/begun, runs/new"
    assert lines[start + 2] == "    sgd(lr: 0.05): runs/sgd"


def test_equal_runs_are_called_so(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "adam", tmp_path / "copy")
    ended = invoke("compare", runs / "adam", tmp_path / "copy")
    assert ended.stdout.startswith("the settings are equal\n")


def test_unfinished_runs_are_compared_as_they_are(runs: Path) -> None:
    ended = invoke("compare", runs / "adam", runs / "begun", runs / "new")
    assert ended.exit_code == 0
    assert f"note: {runs / 'begun'} is not finished: it has finished 5 epochs" in ended.stderr
    assert f"note: {runs / 'new'} is not finished: no epoch is finished yet" in ended.stderr
    (row,) = [line.split() for line in ended.stdout.splitlines() if line.startswith("runs/new")]
    assert row[:2] == ["runs/new", "none"]


def test_the_page_shows_results_histories_and_changes_of_the_text(runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    ended = invoke("compare", runs / "adam", runs / "sgd", runs / "new", "--report", target)
    assert ended.exit_code == 0 and f"wrote {target}" in ended.stderr
    reader = Reader(target.read_text("utf-8"))
    assert reader.unclosed == [] and reader.of("script") == []
    assert [text for _, text in reader.of("h2")] == ["Results", "Histories", "Settings that differ"]
    charts = [text for attributes, text in reader.of("title") if text in ("val_loss", "loss", "mae", "val_mae")]
    assert charts == ["val_loss", "loss", "mae", "val_mae"]
    assert len(reader.of("polyline")) == 2 * 4
    changed = {attributes.get("class"): text for attributes, text in reader.of("span")}
    assert changed["gone"].strip("- ") == "optimizer adam(lr: 1e-2)"
    assert changed["new"].strip("+ ") == "optimizer sgd(lr: 0.05)"


WRONG = {
    "none": ([], 2, "compare takes two runs or more, and none is named"),
    "one": (["adam"], 2, "compare takes two runs or more, and one is named"),
    "one twice": (["adam", "../runs/adam"], 2, "compare takes two runs or more, and one run is named twice"),
    "missing": (["adam", "nowhere"], 2, "nowhere is not the folder of a nablac run"),
    "a folder of runs": (["adam", "."], 2, "it holds runs: name them, as"),
    "no report": (["adam", "sgd", "--report", "page.txt"], 2, "`--report page.txt` is an HTML file: name it page.html"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_compared_is_said(runs: Path, case: str) -> None:
    arguments, status, message = WRONG[case]
    ended = invoke("compare", *arguments, folder=runs)
    assert (ended.exit_code, ended.stdout) == (status, "")
    assert message in ended.stderr


def test_a_study_is_told_from_a_folder_of_runs(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "adam", tmp_path / "study" / "trials" / "0")
    ended = invoke("compare", runs / "adam", "study", folder=tmp_path)
    assert ended.exit_code == 2 and "it is a study: name one of its trials, as study/trials/0" in ended.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "is not a run's history"), ('{"loss": 3}', "is not a run's history"), ("{", "is not a run's history")],
)
def test_a_history_that_is_none_is_named(runs: Path, tmp_path: Path, content: str, message: str) -> None:
    shutil.copytree(runs / "adam", tmp_path / "damaged")
    (tmp_path / "damaged" / "history.json").write_text(content)
    ended = invoke("compare", runs / "adam", tmp_path / "damaged")
    assert ended.exit_code == 2 and message in ended.stderr


def test_a_run_of_a_version_that_kept_less_is_compared_by_its_loss(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "mae", tmp_path / "old")
    record = json.loads((tmp_path / "old" / "run.json").read_text())
    del record["facts"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(record))
    (tmp_path / "old" / "checkpoints" / "best.safetensors").write_bytes(b"damaged")
    for events in (tmp_path / "old").glob("events*"):
        events.write_bytes(events.read_bytes()[:-3])  # its last record is cut
    _, run = compare_runs([runs / "adam", tmp_path / "old"]).runs
    assert (run.monitor, run.parameters, run.kept_epoch) == ("val_loss", None, None)
    assert run.best_epoch == int(np.argmin(run.history["val_loss"])) + 1
    assert list(read_scalars(run.folder, "seconds")) == [1, 2]
