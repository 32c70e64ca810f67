"""Runs that resume: with their own options, from whole checkpoints, and only where they are reproduced."""

from __future__ import annotations

import json
import os
import re
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
from runtime.training.option_wording import COMMAND_LINE
from runtime.training.run_record import Length
from runtime.training.surroundings import Surroundings
from tests.command_line import invoke
from tests.nablac.line_model import MODEL, write_line
from tests.paths import SPECS


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model, its import and its data."""
    monkeypatch.chdir(tmp_path)
    return write_line(tmp_path)


OTHERS = {
    "--batch": (("--batch", "4"), "was started with --batch 16, and with --batch 4"),
    "--seed": (("--seed", "9"), "was started with --seed 5, and with --seed 9"),
    "--validation": (("--validation", "0.5"), "was started with no --validation, and with --validation 0.5"),
    "--backend": (("--backend", "ort"), "was started with --backend numpy, and with --backend ort"),
    "--dtype": (("--dtype", "f64"), "was started with --dtype f32, and with --dtype f64"),
    "--overfit": (("--overfit", "8"), "was started with no --overfit, and with --overfit 8"),
    "--limit-batches": (("--limit-batches", "1"), "was started with no --limit-batches, and with --limit-batches 1"),
    "--memory-budget": (
        ("--memory-budget", "1.5GiB"),
        "was started with no --memory-budget, and with --memory-budget 1.5GiB",
    ),
    "--precision": (("--precision", "f16"), "was started with no --precision, and with --precision f16"),
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
        "help: only --epochs, --patience, --keep, --jit, --no-jit, --max-time and --track may change; "
        "`--weights run/weights.safetensors` starts a new run from its weights\n"
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


def test_options_of_a_new_run_are_refused_with_resume(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    for option, message in {
        "-o": "-o names a new run's folder; a resumed run continues in its own",
        "--weights": "a resumed run has its own weights; without --resume, --weights starts a new run",
    }.items():
        done = invoke("train", "m.model", "--resume", "run", option, "other")
        assert done.exit_code == 2 and message in done.stderr


@pytest.mark.parametrize("epochs", ["2", "9"])
def test_a_run_that_stopped_early_resumes_with_the_printed_command(line: Path, epochs: str) -> None:
    text = MODEL.replace("lr: 1e-2", "lr: 1e-30").replace("    seed 5", "    patience 1\n    seed 5")
    (line / "m.model").write_text(text)  # no epoch is better than the first
    done = invoke("train", "m.model", "-o", "run", "--epochs", epochs)
    assert "val_loss has not improved for 1 epochs" in done.stdout
    command = next(row for row in done.stderr.splitlines() if row.startswith("resume:")).split("nablac ")[1]
    assert command == f"train --resume run --epochs {max(4, int(epochs))} --patience 2"
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


ELSEWHERE: dict[str, tuple[object, str]] = {
    "nablac": ("0.0.9", "nablac was 0.0.9, and is "),
    "code": ("0123456789abcdef", "nablac's own code has changed"),
    "library": ("0123456789abcdef", "the standard library has changed"),
    "numpy": ("1.26.0", "NumPy was 1.26.0, and is "),
    "onnxruntime": ("1.20.0", "onnxruntime was 1.20.0, and is "),
    "processor": ("aarch64 ASIMD", "the processor was aarch64 ASIMD, and is "),
    "blas": ("openblas 0.3.20 Haswell", "NumPy's BLAS was openblas 0.3.20 Haswell, and is "),
    "threads": (63, "onnxruntime had 63 threads, and has "),
}


def test_every_fact_of_the_surroundings_has_a_case() -> None:
    assert [*ELSEWHERE, "numba"] == [field.name for field in fields(Surroundings)]


def test_a_run_resumes_with_another_numba_whose_loops_have_the_same_bits(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    record = json.loads(Path("run/run.json").read_text())
    record["surroundings"]["numba"] = "0.50.0"
    Path("run/run.json").write_text(json.dumps(record))
    done = invoke("train", "m.model", "--resume", "run", "--epochs", "9", "-q")
    assert done.exit_code == 0, done.stderr


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


WIDE = """
model Wide {
    input x: [batch, 700]
    y = x -> Dense(800, relu) -> Dense(1)
    output y
}
train Wide {
    target t: [batch, 1]
    loss   mse(y, t)
    batch  128
    epochs 4
    data   npz("data.npz")
}
"""


def test_numpys_threads_may_differ_when_a_run_is_resumed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=random.normal(size=(300, 700)), t=random.normal(size=(300, 1)))
    (tmp_path / "wide.model").write_text(WIDE)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(Path(nablac.__file__).parents[1])

    def train(threads: int, *options: str) -> None:
        command = [sys.executable, "-m", "nablac", "train", "wide.model", "-q", *options]
        surroundings = {**environment, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, env=surroundings, cwd=tmp_path, capture_output=True, check=True)

    train(1, "-o", "one")
    train(2, "-o", "both", "--epochs", "2")
    train(1, "--resume", "both", "--epochs", "4")
    for name in ("history.csv", "weights.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "both" / name).read_bytes(), name


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


def test_python_hears_of_arguments_and_not_of_options(line: Path) -> None:
    model = nablac.compile("m.model")
    model.train(folder="run", progress=False)
    with pytest.raises(NablacError) as caught:
        nablac.compile("m.model").train(folder="run", resume=True, batch=4, progress=False)
    (error,) = caught.value.diagnostics
    assert error.message == "run was started with batch=16, and with batch=4 it would be a different run"
    assert error.place == "batch" and error.hint == (
        "only epochs, patience, keep, jit, max_seconds, callbacks and trackers may change; "
        "`model.load('run/weights.safetensors')` starts a new run from its weights"
    )
    with pytest.raises(NablacError, match="`resume` needs the folder of the run"):
        model.train(resume=True)


def test_the_options_that_may_change_are_accepted_and_named_on_the_page(line: Path) -> None:
    page = (SPECS / "diagnostics" / "E841-resume.md").read_text()
    options = re.findall("--[a-z-]+", COMMAND_LINE.only(list(Length.__annotations__)))
    assert len(options) == 7 and [option for option in options if f"`{option}`" not in page] == []
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    lengths = ("--epochs", "3", "--patience", "9", "--keep", "5", "--max-time", "9")
    resumed = invoke("train", "-q", "--resume", "run", *lengths, "--no-jit")
    assert resumed.exit_code == 0, resumed.output


def test_a_run_is_resumed_without_its_file(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run", "--set", "units=5").exit_code == 0
    (line / "m.model").write_text(MODEL.replace("tanh", "relu"))  # the run has a copy of its own
    resumed = invoke("train", "--resume", "run", "--epochs", "4")
    assert resumed.exit_code == 0, resumed.output
    assert "resume:    nablac train --resume run --epochs 8\n" in resumed.stderr
    assert load_file(line / "run" / "weights.safetensors")["body.dense.W"].shape == (3, 5)


def test_lost_best_weights_are_an_error(line: Path) -> None:
    assert invoke("train", "m.model", "-q", "-o", "run").exit_code == 0
    Path("run/checkpoints/best.safetensors").write_bytes(b"")
    done = invoke("train", "m.model", "--resume", "run", "--epochs", "9")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == (
        "help: the best weights are lost, so the result would differ: "
        "start a new run; `--weights` sets its first weights"
    )


def test_the_time_limit_may_end_an_epoch_early(line: Path) -> None:
    done = invoke("train", "m.model", "-o", "run", "--max-time", "0")
    assert done.exit_code == 0
    assert done.stdout.startswith("epoch 1 after 1 of 4 batches: val_loss ") and "; the time is up\n" in done.stdout
    assert "resume:    nablac train --resume run\n" in done.stderr
    resumed = invoke("train", "m.model", "-q", "--resume", "run")
    assert resumed.exit_code == 0 and resumed.stdout.startswith("best epoch ")
