"""The folders of runs: their contents, how they resume, and when they are refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import nablac
from grammar.diagnostics import NablacError
from runtime.training import run_record
from runtime.training.surroundings import Surroundings
from tests.command_line import invoke

MODEL = """from "parts.model" import Body

model Line(units = 4) {
    input x: [batch, 3]
    y = x -> Body(units) -> Dense(1)
    output y
}

train Line {
    target t: [batch, 1]
    loss mse(y, t)
    optimizer adam(lr: 1e-2)
    epochs 3
    batch 16
    validation 0.25
    seed 5
    data csv("line.csv") -> standardize() -> columns(inputs: ["a", "b", "c"], targets: ["t"])
}
"""


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model, its import and its data."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(80, 3))
    lines = [",".join(f"{cell:.6f}" for cell in (*row, row.sum())) for row in rows]
    (tmp_path / "line.csv").write_text("a,b,c,t\n" + "\n".join(lines) + "\n")
    (tmp_path / "m.model").write_text(MODEL)
    (tmp_path / "parts.model").write_text(
        "layer Body(units) {\n    input x: [batch, n]\n    output x -> Dense(units, activation: tanh)\n}\n"
    )
    return tmp_path


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
    expected = "note: untrained weights, drawn from --seed; --weights FILE loads trained ones\n"
    assert invoke("eval", "m.model").stderr == expected + "units:     the loss and the metrics are in scaled units\n"
    assert invoke("eval", "nowhere.model").stderr.startswith("error[E901]: there is no such file\n --> nowhere.model\n")


def test_python_refuses_to_load_nothing(line: Path) -> None:
    for weights in (None, "weights.safetensors"):
        with pytest.raises(NablacError, match="there is no run or file nowhere"):
            nablac.load("nowhere", weights)
    with pytest.raises(NablacError, match="no weights are named"):
        nablac.load("m.model")


OTHERS = {
    "--batch": (("--batch", "4"), "was started with --batch 16, and with --batch 4"),
    "--seed": (("--seed", "9"), "was started with --seed 5, and with --seed 9"),
    "--validation": (("--validation", "0.5"), "was started with no --validation, and with --validation 0.5"),
    "--backend": (("--backend", "ort"), "was started with --backend numpy, and with --backend ort"),
    "--dtype": (("--dtype", "f64"), "was started with --dtype f32, and with --dtype f64"),
    "--overfit": (("--overfit", "8"), "was started with no --overfit, and with --overfit 8"),
    "--limit-batches": (("--limit-batches", "1"), "was started with no --limit-batches, and with --limit-batches 1"),
    "--memory-budget": (
        ("--memory-budget", "1GB"),
        "was started with no --memory-budget, and with --memory-budget 1000000000",
    ),
    "--set": (("--set", "units=5"), "was started with no --set, and with --set units=5"),
    "--skip-broken": (("--skip-broken",), "was started with no --skip-broken, and with --skip-broken"),
}


@pytest.mark.parametrize("option", OTHERS)
def test_a_run_does_not_resume_with_other_options(line: Path, option: str) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    before = {path: path.read_bytes() for path in (line / "run").rglob("*") if path.is_file()}
    arguments, message = OTHERS[option]
    done = invoke("train", "m.model", "--resume", "run", "-q", *arguments)
    assert done.exit_code == 2
    assert done.stderr == (
        f"error[E841]: run {message} it would be a different run\n --> {option}\n"
        "help: only --epochs, --patience, --keep and --max-time may change; `--weights run/weights.safetensors` starts "
        "a new run from its weights\n"
    )
    assert before == {path: path.read_bytes() for path in (line / "run").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "options",
    [
        ("--dtype", "f64"),
        ("--overfit", "8"),
        ("--limit-batches", "2"),
        ("--backend", "ort", "--seed", "0"),
        ("--memory-budget", "4KB"),
    ],
)
def test_a_resumed_run_keeps_its_options(line: Path, options: tuple[str, ...]) -> None:
    assert invoke("train", "m.model", "-q", "-o", "whole", "--epochs", "4", *options).exit_code == 0
    assert invoke("train", "m.model", "-q", "-o", "part", "--epochs", "2", *options).exit_code == 0
    resumed = invoke("train", "m.model", "-q", "--resume", "part", "--epochs", "4")
    assert resumed.exit_code == 0, resumed.output
    for name in ("history.csv", "weights.safetensors"):
        assert Path("whole", name).read_bytes() == Path("part", name).read_bytes(), name


CHANGED = {
    "an imported file": ("parts.model", "the model has changed since run began"),
    "the data": ("line.csv", "the data has changed since run began"),
}


@pytest.mark.parametrize("label", CHANGED)
def test_a_run_does_not_resume_after_a_change(line: Path, label: str) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    name, message = CHANGED[label]
    text = (line / name).read_text()
    (line / name).write_text(text.replace("tanh", "relu") if name == "parts.model" else text + "1,2,3,4\n")
    done = invoke("train", "m.model", "--resume", "run")
    assert done.exit_code == 2 and f"error[E841]: {message}\n --> run\n" in done.stderr


@pytest.mark.parametrize("content", ["{}", "[]", "", "{", '{"choices": {}}', '{"choices": null, "length": 3}'])
def test_a_folder_without_a_run_is_refused(line: Path, content: str) -> None:
    (line / "run").mkdir()
    (line / "run" / "run.json").write_text(content)
    for done in (invoke("train", "m.model", "--resume", "run"), invoke("eval", "run")):
        assert done.exit_code == 2 and "error[E841]: run is not the folder of a nablac run" in done.stderr


def test_a_run_that_was_killed_before_its_first_step_resumes(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "whole", "--keep", "99").exit_code == 0
    shutil.copytree("whole", "run", ignore=shutil.ignore_patterns("history*", "curves*", "*tfevents*", "*.onnx"))
    for path in (line / "run" / "checkpoints").iterdir():
        if path.name != "step-000000000.safetensors":
            path.unlink()
    (line / "run" / "checkpoints" / ".step-000000004.safetensors.0123.part").write_bytes(b"half")
    resumed = invoke("train", "m.model", "-q", "--resume", "run")
    assert resumed.exit_code == 0, resumed.output
    for name in ("history.csv", "weights.safetensors", "model.onnx"):
        assert Path("whole", name).read_bytes() == Path("run", name).read_bytes(), name
    assert not list((line / "run").rglob("*.part"))


def test_lost_best_weights_are_an_error(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    Path("run/checkpoints/best.safetensors").write_bytes(b"")
    done = invoke("train", "m.model", "--resume", "run", "--epochs", "9")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == (
        "help: the best weights are lost, so the result would differ: "
        "start a new run; `--weights` sets its first weights"
    )


def test_options_of_a_new_run_are_refused_with_resume(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    for option, message in {
        "-o": "-o names a new run's folder; a resumed run continues in its own",
        "--weights": "a resumed run has its own weights; without --resume, --weights starts a new run",
    }.items():
        done = invoke("train", "m.model", "--resume", "run", option, "other")
        assert done.exit_code == 2 and message in done.stderr


def test_the_time_limit_may_end_an_epoch_early(line: Path) -> None:
    done = invoke("train", "m.model", "-o", "run", "--max-time", "0")
    assert done.exit_code == 0
    assert done.stdout.startswith("epoch 1 after 1 of 4 batches: val_loss ") and "; the time is up\n" in done.stdout
    assert "resume:    nablac train m.model --resume run\n" in done.stderr
    resumed = invoke("train", "m.model", "-q", "--resume", "run")
    assert resumed.exit_code == 0 and resumed.stdout.startswith("best epoch ")


@pytest.mark.parametrize("epochs", ["2", "9"])
def test_a_run_that_stopped_early_resumes_with_the_printed_command(line: Path, epochs: str) -> None:
    text = MODEL.replace("lr: 1e-2", "lr: 1e-30").replace("    seed 5", "    patience 1\n    seed 5")
    (line / "m.model").write_text(text)  # no epoch is better than the first
    done = invoke("train", "m.model", "-o", "run", "--epochs", epochs)
    assert "val_loss has not improved for 1 epochs" in done.stdout
    command = next(row for row in done.stderr.splitlines() if row.startswith("resume:")).split("nablac ")[1]
    assert command == f"train m.model --resume run --epochs {max(4, int(epochs))} --patience 2"
    resumed = invoke(*command.split())
    assert resumed.exit_code == 0, resumed.output
    assert json.loads((line / "run" / "history.json").read_text())["epoch"] == [1, 2, 3]


def test_resuming_in_python_creates_no_folder(line: Path) -> None:
    data = {"x": np.ones((20, 3), np.float32), "t": np.ones((20, 1), np.float32)}
    with pytest.raises(NablacError, match="nowhere is not the folder of a nablac run"):
        nablac.compile("m.model").train(data, folder="nowhere", resume=True)
    assert not Path("nowhere").exists()


def test_python_resumes_a_run(line: Path) -> None:
    data = {"x": np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3), "t": np.ones((20, 1), np.float32)}
    model = nablac.compile("m.model", units=5)
    model.train(data, folder="run", epochs=2)
    history = nablac.compile("m.model", units=5).train(data, folder="run", resume=True, epochs=4)
    assert history["epoch"] == [1, 2, 3, 4]
    with pytest.raises(NablacError, match="the data has changed since run began"):
        nablac.compile("m.model", units=5).train({**data, "t": data["x"][:, :1]}, folder="run", resume=True, epochs=5)


def test_a_loaded_run_trains_on_its_own_data(line: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    started = nablac.compile(str(line / "m.model"), seed=5).load(line / "run" / "weights.safetensors")
    history = nablac.load(line / "run").train(epochs=2, seed=5)
    assert history["epoch"] == [1, 2] and history == started.train(epochs=2, seed=5)
    nablac.load(line / "run").train(epochs=1, folder="again")
    assert nablac.load("again").train(epochs=1)["epoch"] == [1]


# What the results of a run depend on besides its options


ELSEWHERE: dict[str, tuple[object, str]] = {
    "nablac": ("0.0.9", "nablac was 0.0.9, and is "),
    "code": ("0123456789abcdef", "nablac's own code has changed"),
    "library": ("0123456789abcdef", "the standard library has changed"),
    "numpy": ("1.26.0", "NumPy was 1.26.0, and is "),
    "onnxruntime": ("1.20.0", "onnxruntime was 1.20.0, and is "),
    "processor": ("aarch64 ASIMD", "the processor was aarch64 ASIMD, and is "),
    "blas": ("openblas 0.3.20 Haswell", "NumPy's BLAS was openblas 0.3.20 Haswell, and is "),
    "blas_threads": (63, "NumPy's BLAS had 63 threads, and has "),
    "threads": (63, "onnxruntime had 63 threads, and has "),
    "numba": ("0.50.0", "numba was 0.50.0, and is "),
}


def test_every_fact_of_the_surroundings_has_a_case() -> None:
    assert list(ELSEWHERE) == [field.name for field in fields(Surroundings)]


@pytest.mark.parametrize("fact", ELSEWHERE)
def test_a_run_does_not_resume_in_other_surroundings(line: Path, fact: str) -> None:
    backend = "ort" if fact in ("onnxruntime", "threads") else "numpy"
    assert invoke("train", "m.model", "-q", "-o", "run", "--backend", backend).exit_code == 0
    record = json.loads(Path("run/run.json").read_text())
    value, message = ELSEWHERE[fact]
    record["surroundings"][fact] = value
    Path("run/run.json").write_text(json.dumps(record))
    done = invoke("train", "m.model", "--resume", "run", "--epochs", "9")
    assert done.exit_code == 2
    first, location, hint = done.stderr.splitlines()[-3:]
    assert first.startswith(f"error[E841]: run would not be reproduced: {message}")
    assert location == " --> run"
    assert hint.startswith("help: ") and hint.endswith(
        "`--weights run/weights.safetensors` starts a new run from its weights"
    )
    assert "{" not in hint and (fact != "nablac" or f"nablac=={value}`" in hint)
    Path("run/weights.safetensors").unlink()  # a killed run has none
    killed = invoke("train", "m.model", "--resume", "run", "--epochs", "9").stderr
    assert "error[E841]" in killed and "weights" not in killed


@pytest.mark.parametrize("variable", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_threads_of_blas_are_compared_however_they_are_set(line: Path, variable: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(Path(nablac.__file__).parents[1])

    def train(threads: int, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nablac", "train", "m.model", "-q", *options]
        surroundings = {**environment, variable: str(threads)}
        return subprocess.run(command, env=surroundings, capture_output=True, text=True)

    assert train(2, "-o", "run").returncode == 0
    refused = train(1, "--resume", "run", "--epochs", "4")
    assert refused.returncode == 2
    assert "run would not be reproduced: NumPy's BLAS had 2 threads, and has 1\n" in refused.stderr
    assert train(2, "--resume", "run", "--epochs", "4").returncode == 0


def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "whole", "--epochs", "4", "--keep", "9").exit_code == 0
    assert invoke("train", "m.model", "-q", "-o", "run", "--epochs", "2", "--keep", "9").exit_code == 0
    newest = max(Path("run/checkpoints").glob("step-*"))
    content = bytearray(newest.read_bytes())
    content[-9] ^= 1  # one bit of a tensor
    newest.write_bytes(bytes(content))
    resumed = invoke("train", "m.model", "--resume", "run", "--epochs", "4", "--keep", "9")
    assert resumed.exit_code == 0, resumed.output
    assert f"note: {newest} is damaged; the run resumes from an earlier checkpoint\n" in resumed.stderr
    for name in ("history.csv", "weights.safetensors"):
        assert Path("whole", name).read_bytes() == Path("run", name).read_bytes(), name


def test_damaged_best_weights_are_refused(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    best = Path("run/checkpoints/best.safetensors")
    content = bytearray(best.read_bytes())
    content[-9] ^= 1
    best.write_bytes(bytes(content))
    done = invoke("train", "m.model", "--resume", "run", "--epochs", "9")
    assert done.exit_code == 2
    assert "error[E840]: this checkpoint is damaged: its bytes have changed\n" in done.stderr


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


def test_two_processes_do_not_train_in_one_folder(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    script = (
        "import sys, filelock\nlock = filelock.FileLock('run/lock')\nlock.acquire()\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        done = invoke("train", "m.model", "-q", "--resume", "run", "--epochs", "4")
        other.communicate("")
    assert done.exit_code == 2
    assert done.stderr == (
        "error[E841]: another process is training in run\n --> run\n"
        "help: two would overwrite each other: wait for it, or stop it\n"
    )
    assert invoke("train", "m.model", "-q", "--resume", "run", "--epochs", "4").exit_code == 0


def test_a_run_is_resumed_without_its_file(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run", "--set", "units=5").exit_code == 0
    (line / "m.model").write_text(MODEL.replace("tanh", "relu"))  # the run has a copy of its own
    resumed = invoke("train", "--resume", "run", "--epochs", "4")
    assert resumed.exit_code == 0, resumed.output
    assert "resume:    nablac train --resume run --epochs 8\n" in resumed.stderr
    assert load_file(line / "run" / "weights.safetensors")["body.dense.W"].shape == (3, 5)


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
