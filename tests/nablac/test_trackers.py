"""Trackers of experiments: by entry point, on the command line and in Python; their failures never stop a run."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from tests.command_line import invoke
from tests.nablac.test_callbacks import DATA, TEXT
from tests.paths import ROOT

STUB = '''
import json
from pathlib import Path

class Tracker:
    """Writes what it is told to a file."""

    def note(self, *call):
        with Path("told.jsonl").open("a") as file:
            file.write(json.dumps(call) + "\\n")

    def on_train_begin(self, facts):
        self.note("begin", facts.model, facts.folder.name, facts.hypers, facts.settings["batch"])

    def on_epoch_end(self, epoch, metrics):
        self.note("epoch", epoch, metrics["val_loss"])

    def on_train_end(self, history):
        self.note("end", history.best_epoch, history.reason)

class Failing(Tracker):
    def on_epoch_end(self, epoch, metrics):
        self.note("epoch", epoch)
        raise ConnectionError("the server is away")

class Broken:
    def __init__(self):
        raise OSError("no space left")
'''
ENTRY_POINTS = """[nablac.trackers]
stub = stub_tracker:Tracker
failing = stub_tracker:Failing
broken = stub_tracker:Broken
absent = a_package_that_is_not_there:Tracker
"""
WARNING = "the tracker `failing` failed, and tracks no more: ConnectionError: the server is away"
BROKEN = "the tracker `broken` failed, and tracks nothing: OSError: no space left"


def distribution(folder: Path, name: str, entries: str) -> None:
    """An installed distribution with these entry points and no files."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a model and its data, where the trackers of another distribution are installed."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "stub_tracker.py").write_text(STUB)
    distribution(site, "stub-tracker", ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "stub_tracker", raising=False)
    monkeypatch.chdir(tmp_path)
    data = {name: array.astype(np.float32) for name, array in DATA.items()}
    np.savez("data.npz", **data)  # type: ignore[arg-type]
    Path("line.model").write_text(TEXT.replace("shuffle true", 'shuffle true; data npz("data.npz")'))
    return tmp_path


def told() -> list[list[Any]]:
    return [json.loads(line) for line in Path("told.jsonl").read_text().splitlines()]


def test_a_tracker_of_another_package_is_told_of_a_run_of_the_command_line(stubs: Path) -> None:
    assert invoke("train", "line.model", "-o", "run", "--track", "stub", "-q").exit_code == 0
    history = json.loads(Path("run/history.json").read_text())
    best = int(np.argmin(history["val_loss"])) + 1
    assert told() == [
        ["begin", "Line", "run", {}, 8],
        *(["epoch", number + 1, pytest.approx(value)] for number, value in enumerate(history["val_loss"])),
        ["end", best, "all epochs are done"],
    ]


def test_a_failing_tracker_warns_once_and_never_stops_a_run(stubs: Path) -> None:
    ended = invoke("train", "line.model", "-o", "run", "--track", "failing", "--track", "broken", "--track", "stub")
    assert ended.exit_code == 0 and Path("run/model.onnx").exists()
    assert ended.stderr.count(WARNING) == ended.stderr.count(BROKEN) == 1
    calls = [call[0] for call in told()]
    assert calls.count("begin") == 2 and calls.count("end") == 1 and calls.count("epoch") == 5  # 1 of them failed
    with pytest.warns(UserWarning) as warnings:
        history = nablac.compile("line.model").train(trackers=["failing", "broken"], folder="again")
    assert history.epochs == 4 and {str(warning.message) for warning in warnings} == {WARNING, BROKEN}


def test_an_object_may_be_a_tracker(stubs: Path) -> None:
    class Own(nablac.Callback):
        def on_batch_end(self, batch: int, batches: int, metrics: Any) -> None:
            raise nablac.StopTraining  # a tracker does not stop a run either

    class Other(Own):
        pass

    with pytest.warns(UserWarning) as warnings:
        assert nablac.compile(TEXT).train(DATA, trackers=[Own(), Other(), Own()]).epochs == 4
    assert [str(warning.message).split("`")[1] for warning in warnings] == ["Own", "Other", "Own (2)"]
    assert {warning.filename for warning in warnings} == {__file__}  # the line that calls `train`


REFUSED = {
    "stob": "error[E604]: no tracker `stob` is installed\n --> trackers\nhelp: did you mean `stub`?",
    "absent": "error[E809]: the tracker `absent` needs a_package_that_is_not_there\n --> trackers\n"
    "help: pip install 'nablac[absent]'",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tracker_that_is_not_there_is_refused_before_the_run_begins(name: str, stubs: Path) -> None:
    with pytest.raises(NablacError) as caught:
        nablac.compile("line.model").train(trackers=name, folder="run")
    assert str(caught.value) == REFUSED[name] and not Path("run").exists()
    ended = invoke("train", "line.model", "-o", "run", "--track", name)
    assert ended.exit_code != 0 and REFUSED[name] in ended.stderr and not Path("run").exists()


# The trackers of nablac itself


@pytest.fixture
def own(stubs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trackers that nablac declares, whatever is installed, and none of the user's settings."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["nablac.trackers"]
    lines = [f"{name} = {target}" for name, target in declared.items()]
    distribution(stubs / "site", "own-trackers", "\n".join(["[nablac.trackers]", *lines, ""]))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return stubs


@pytest.mark.parametrize(("name", "module"), [("mlflow", "mlflow.tracking"), ("wandb", "wandb")])
def test_the_package_of_a_tracker_is_an_extra(
    name: str, module: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NablacError) as caught:
        nablac.compile(TEXT).train(DATA, trackers=name)
    assert caught.value.diagnostics[0].hint == f"pip install 'nablac[{name}]'"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras[name][0].startswith(name)


def test_mlflow_has_the_run_in_a_local_folder(own: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="pip install 'nablac[mlflow]'")
    history = nablac.compile(TEXT).train(DATA, trackers="mlflow", folder="run")
    client = tracking.MlflowClient(tracking_uri=(own / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("Line").experiment_id])
    assert (run.info.status, run.info.run_name, run.data.params["batch"]) == ("FINISHED", "run", "8")
    logged = client.get_metric_history(run.info.run_id, "val_loss")
    assert [(metric.step, metric.value) for metric in logged] == [*enumerate(history["val_loss"], 1)]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"curves.svg", "history.csv", "run.json"}


class Finished:
    """What W&B's `Run` is to the tracker."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.summary: dict[str, Any] = {}
        self.ended: list[dict[str, Any]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self, **how: Any) -> None:
        self.ended.append(how)


def test_wandb_is_offline_unless_its_mode_is_set(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[dict[str, Any], Finished]] = []
    wandb = ModuleType("wandb")

    def init(**options: Any) -> Finished:
        runs.append((options, Finished()))
        return runs[-1][1]

    wandb.init, wandb.Settings = init, dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    history = nablac.compile(TEXT).train(DATA, trackers="wandb")
    ((options, run),) = runs
    assert (options["mode"], options["project"], options["config"]["batch"]) == ("offline", "nablac", 8)
    assert [(step, values["loss"]) for step, values in run.logged] == [*enumerate(history["loss"], 1)]
    assert run.summary["best_epoch"] == history.best_epoch and run.ended == [{}]
    monkeypatch.setenv("WANDB_MODE", "online")
    nablac.compile(TEXT).train(DATA, trackers="wandb")
    assert runs[1][0]["mode"] is None  # W&B reads its own variable


def test_wandb_itself_writes_an_offline_run(own: Path) -> None:
    pytest.importorskip("wandb", reason="pip install 'nablac[wandb]'")
    assert nablac.compile(TEXT).train(DATA, trackers="wandb").epochs == 4
    (written,) = (own / "wandb").glob("offline-run-*/run-*.wandb")
    assert written.stat().st_size > 0
