"""`nablac train`, `eval` and `compile --train`: results, interruptions, errors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

import nablac
from runtime.onnx_session import OnnxRunner
from runtime.weights import read_tensors
from tests.command_line import invoke
from tests.paths import ROOT

FORECASTER = str(ROOT / "specs" / "forecaster.model")
BACKENDS = ["numpy", "ort"]


def test_a_run_writes_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("train", FORECASTER, "--epochs", "3")
    assert done.exit_code == 0, done.output
    run = tmp_path / "runs" / "forecaster" / "1"
    assert {path.name.partition(".tfevents")[0] for path in run.iterdir()} == {
        "run.json", "spec.model", "history.csv", "history.json", "curves.svg", "events.out", "checkpoints",
        "weights.safetensors", "model.onnx", "data.json", "lock",
    }  # fmt: skip
    history = json.loads((run / "history.json").read_text())
    assert list(history) == ["epoch", "loss", "mae", "val_loss", "val_mae"] and history["epoch"] == [1, 2, 3]
    assert (run / "history.csv").read_text().splitlines()[0] == "epoch,loss,mae,val_loss,val_mae"
    ElementTree.parse(run / "curves.svg")
    onnx.checker.check_model(str(run / "model.onnx"), full_check=True)
    assert (run / "spec.model").read_text() == Path(FORECASTER).read_text()
    best = int(np.argmin(history["val_loss"]))
    assert done.stdout.startswith(
        f"best epoch {best + 1}: val_loss {history['val_loss'][best]:.6g}; all epochs are done\n"
    )
    assert "resume:    nablac train --resume runs/forecaster/1 --epochs " in done.stderr

    raw = np.linspace(200, 400, 12, dtype=np.float32).reshape(1, 12, 1)
    (forecast,) = OnnxRunner(run / "model.onnx").run({"series": raw}).values()
    assert 100 < forecast.item() < 700  # in passengers, not in deviations

    assert "evaluate:  nablac eval runs/forecaster/1\n" in done.stderr
    assert "predict:   nablac predict runs/forecaster/1 INPUT\n" in done.stderr
    again = invoke("eval", "runs/forecaster/1", "--json")
    assert json.loads(again.stdout)["loss"] == pytest.approx(history["val_loss"][best], rel=1e-5)
    assert invoke("train", FORECASTER, "--epochs", "1", "-q").exit_code == 0
    assert (tmp_path / "runs" / "forecaster" / "2").is_dir()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_resumed_to_more_epochs_is_identical_to_a_longer_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("train", FORECASTER, "--backend", backend, "--epochs", "4", "-q", "-o", "whole").exit_code == 0
    assert invoke("train", FORECASTER, "--backend", backend, "--epochs", "2", "-q", "-o", "part").exit_code == 0
    resumed = invoke("train", FORECASTER, "-q", "--resume", "part", "--epochs", "4")
    assert resumed.exit_code == 0, resumed.output
    for name in ("history.csv", "weights.safetensors", "model.onnx"):
        assert Path("whole", name).read_bytes() == Path("part", name).read_bytes(), name


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("train", FORECASTER, "--dry-run")
    assert done.exit_code == 0 and done.stdout.startswith("one step runs: loss ")
    assert not list(tmp_path.iterdir())


def spec(tmp_path: Path, data: str = "series.csv", **changed: str) -> str:
    """The forecaster on other data."""
    text = Path(FORECASTER).read_text().replace("data/airline-passengers.csv", data)
    for before, after in changed.items():
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "m.model").write_text(text)
    return "m.model"


def series(tmp_path: Path, values: list[object]) -> None:
    (tmp_path / "series.csv").write_text("passengers\n" + "".join(f"{value}\n" for value in values))


def test_broken_data_is_reported_or_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = spec(tmp_path)
    series(tmp_path, [*range(30), "nan", *range(30)])
    done = invoke("train", file, "--epochs", "1")
    assert done.exit_code == 2 and not (tmp_path / "runs").exists()
    assert done.stderr == (
        f"error[E821]: column `passengers`: `nan` is not a number\n --> {tmp_path}/series.csv:32\n"
        "help: with `-> fill(...)` in the data that a model is trained on, it takes missing cells; `--skip-broken` "
        "skips such rows, and reports how many\n"
    )
    skipped = invoke("train", file, "--epochs", "1", "--skip-broken")
    assert skipped.exit_code == 0 and "1 broken rows or files skipped" in skipped.stderr
    assert f"  {tmp_path}/series.csv:32: column `passengers`: `nan` is not a number\n" in skipped.stderr
    assert (tmp_path / "runs" / "forecaster" / "1" / "skipped.txt").read_text().count("\n") == 1


def test_a_runs_weights_are_evaluated_on_data_in_the_runs_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = spec(tmp_path)
    series(tmp_path, [100 + 10 * (n % 7) for n in range(60)])
    assert invoke("train", file, "--epochs", "1", "-q", "-o", "run").exit_code == 0
    raw = np.array([900 + 10 * (n % 7) for n in range(40)], np.float32)
    (tmp_path / "other.csv").write_text("passengers\n" + "".join(f"{value}\n" for value in raw))
    arguments = ("--weights", "run/weights.safetensors", "--data", "other.csv", "--part", "all", "--json")
    done = invoke("eval", file, *arguments)
    evaluated = json.loads(done.stdout)
    assert evaluated["scaled"] is True
    windows = np.stack([raw[n : n + 12, None] for n in range(28)])
    forecast = next(iter(OnnxRunner(tmp_path / "run" / "model.onnx").run({"series": windows}).values()))
    scale = json.loads((tmp_path / "run" / "data.json").read_text())["scalings"]["next"]["scale"][0]
    assert evaluated["mae"] * scale == pytest.approx(np.abs(forecast[:, 0] - raw[12:]).mean(), rel=1e-4)


def test_missing_data_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("train", spec(tmp_path), "--epochs", "1")
    assert done.exit_code == 2 and f"there is no file {tmp_path}/series.csv" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_an_error() -> None:
    done = invoke("train", FORECASTER, "-o", "/proc/nablac/run")  # where root cannot write either
    assert done.exit_code == 2 and "error[E904]: /proc/nablac/run cannot be written" in done.stderr


def test_a_folder_inside_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = invoke("train", FORECASTER, "-o", str(tmp_path / "file" / "run"))
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-3:] == [
        f"error[E904]: {tmp_path}/file/run cannot be written: Not a directory",
        f" --> {tmp_path}/file/run",
        "help: name another file",
    ]


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import runtime.atomic_files

    monkeypatch.chdir(tmp_path)
    count = iter(range(10_000))
    replace = runtime.atomic_files.replace

    def full(written: Path, target: Path) -> None:
        if next(count) > 12:
            raise OSError(28, "No space left on device")
        replace(written, target)

    monkeypatch.setattr(runtime.atomic_files, "replace", full)
    done = invoke("train", FORECASTER, "--epochs", "9", "-o", "run")
    assert done.exit_code == 2 and "cannot be written: No space left on device" in done.stderr
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(runtime.atomic_files, "replace", replace)
    resumed = invoke("train", FORECASTER, "--resume", "run")
    assert resumed.exit_code == 0, resumed.output
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 10


def test_a_run_does_not_overwrite_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run", "precious").write_text("")
    done = invoke("train", FORECASTER, "-o", "run")
    assert done.exit_code == 2 and "error[E843]: run already exists and is not empty" in done.stderr
    assert [path.name for path in Path("run").iterdir()] == ["precious"]


def test_a_changed_model_does_not_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    series(tmp_path, list(range(60)))
    file = spec(tmp_path)
    assert invoke("train", file, "--epochs", "1", "-q", "-o", "run").exit_code == 0
    spec(tmp_path, **{"units = 20..80": "units = 20..82"})
    done = invoke("train", file, "--resume", "run")
    assert done.exit_code == 2 and "error[E841]: the model has changed since run began" in done.stderr
    none = invoke("train", file, "--resume", "nowhere")
    assert none.exit_code == 2 and "error[E841]: nowhere is not the folder of a nablac run" in none.stderr


def test_training_that_diverges_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    series(tmp_path, list(range(60)))
    file = spec(tmp_path, **{"adam(lr: log(2e-4..5e-3))": "sgd(lr: 1e30)", "-> Dense(1)": "-> Dense(1) -> exp"})
    done = invoke("train", file)
    assert done.exit_code == 2 and "error[E842]: the loss is " in done.stderr and "m.model:" in done.stderr
    assert "Traceback" not in done.output


def test_a_gradient_that_is_always_0_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "m.model"
    file.write_text(
        "model M {\n input x: [batch, 3]\n y = x -> Dense(4)\n output p = cast(argmax(y, axis: -1), f32)\n}\n"
        "train M { target t: [batch]; loss mse(p, t) }\n"
    )
    done = invoke("grad", str(file), "--wrt", "dense.W", "-o", str(tmp_path / "g.onnx"))
    assert "grad.dense.W: f32[3, 4], always 0: no gradient reaches it" in done.stdout
    trained = invoke("train", str(file))
    assert trained.exit_code == 1 and "no gradient flows through `argmax`" in trained.stderr and "4 |" in trained.stderr


TRAINED = sorted(path for path in (ROOT / "specs").glob("*.model") if "\ntrain " in path.read_text("utf-8"))


@pytest.mark.parametrize("path", TRAINED, ids=[path.stem for path in TRAINED])
def test_gradients_agree_with_central_differences(path: Path) -> None:
    settings = ["--set", "vocabulary=50", "--set", "width=32"] if path.stem == "translate" else []
    done = invoke("check", "--gradients", str(path), *settings, "--json")
    report = json.loads(done.stdout)
    rows = [row for rows in report["gradients"].values() for row in rows]
    assert done.exit_code == 0 and len(rows) > 5 and all(row["passed"] for row in rows)


CUT = """
model Cut {
    input x: [batch, time, 3]
    output y = x -> GRU(4, truncate: 3) -> Dense(1)
}
train Cut {
    target t: [batch, 1]
    loss mse(y, t) + mean(stop_gradient(y))
}
"""


def test_truncated_and_stopped_gradients_are_checked_without_the_cut(tmp_path: Path) -> None:
    (tmp_path / "cut.model").write_text(CUT)
    done = invoke("check", "--gradients", str(tmp_path / "cut.model"))
    assert done.exit_code == 0 and "Cut: 13 gradients, worst relative difference " in done.stdout


def test_a_wrong_gradient_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compiler.operators.activations import Tanh

    pullback = Tanh.pullback

    def wrong(self: Tanh, *operands: Any, **result: Any) -> tuple[Any, ...]:
        return tuple(1.001 * gradient for gradient in pullback(self, *operands, **result))

    monkeypatch.setattr(Tanh, "pullback", wrong)
    done = invoke("check", "--gradients", str(ROOT / "specs" / "rnn.model"))
    assert done.exit_code == 1 and " by central differences" in done.stdout
    assert "differ from central differences" in done.stderr and "no errors" not in done.stderr


def test_the_exported_step_trains_with_onnxruntime_alone(tmp_path: Path) -> None:
    step = tmp_path / "mlp.step.onnx"
    done = invoke("compile", "--train", str(ROOT / "specs" / "mlp.model"), "-o", str(step))
    assert done.exit_code == 0, done.output
    onnx.checker.check_model(str(step), full_check=True)
    assert {opset.domain for opset in onnx.load(step).opset_import} == {""}
    state = load_file(step.with_suffix(".safetensors"))
    assert {"dense.W", "optimizer/m/dense.W", "optimizer/v/dense.b"} <= state.keys()
    example = [sys.executable, str(ROOT / "examples" / "train_step.py"), str(step), str(ROOT / "specs/data/digits.npz")]
    lines = subprocess.run(example, capture_output=True, text=True, check=True).stdout.splitlines()
    losses = [float(line.split()[1]) for line in lines]
    assert len(losses) == 60 and np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_a_step_in_two_files_has_the_losses_of_one(tmp_path: Path) -> None:
    model, data = str(ROOT / "specs" / "mlp.model"), str(ROOT / "specs/data/digits.npz")
    losses = []
    for options, target, example in (((), "one.onnx", "train_step.py"), (("--split",), "two", "split_step.py")):
        done = invoke("compile", "--train", *options, model, "-o", str(tmp_path / target))
        assert done.exit_code == 0, done.output
        command = [sys.executable, str(ROOT / "examples" / example), str(tmp_path / target), data]
        losses.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert losses[0] == losses[1] and len(losses[0].splitlines()) == 60
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "gradient.onnx",
        "state.safetensors",
        "update.onnx",
    ]
    update = onnx.load(tmp_path / "two" / "update.onnx")
    assert "x" not in {value.name for value in update.graph.input}


def test_a_split_step_needs_a_step_whose_update_reads_gradients_alone(tmp_path: Path) -> None:
    text = (ROOT / "specs" / "mlp.model").read_text()
    changed = re.sub(r"optimizer +adam\(.*?\)", "optimizer sgd(lr: 0.1 * mean(image))", text)
    assert changed != text
    (tmp_path / "m.model").write_text(changed)
    done = invoke("compile", "--train", "--split", str(tmp_path / "m.model"), "-o", str(tmp_path / "two"))
    assert done.exit_code == 2 and "E917" in done.stderr and not (tmp_path / "two").exists()
    assert invoke("compile", "--split", str(tmp_path / "m.model")).exit_code == 2


HALF = """model M {
    input x: f16[batch, 1]
    y = x -> Dense(1)
    output y
}
train M {
    target t: f16[batch, 1]
    loss mse(y, t)
    optimizer adam(lr: step -> warmup(1e-2, steps: 4))
    accumulate 2
    average 0.9
    clip_norm 1.0
    plateau 1
    epochs 2
    batch 4
    data csv("d.csv") -> columns(inputs: ["a"], targets: ["b"])
}
"""


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_a_model_of_16_bits_is_trained_evaluated_resumed_and_compiled(dtype: str, tmp_path: Path) -> None:
    model, run, step = str(tmp_path / "m.model"), str(tmp_path / "r"), str(tmp_path / "s.onnx")
    (tmp_path / "m.model").write_text(HALF.replace("f16", dtype))
    (tmp_path / "d.csv").write_text("a,b\n" + "".join(f"{n / 8},{n / 4}\n" for n in range(20)))
    for arguments in (
        ("check", model),
        ("train", model, "-o", run),
        ("train", model, "--resume", run, "--epochs", "3"),
        ("eval", run),
        ("compile", run, "-o", str(tmp_path / "m.onnx")),
        ("compile", "--train", model, "-o", step),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 0, (arguments, done.output)
    assert len((tmp_path / "r" / "history.csv").read_text().splitlines()) == 4
    dtypes = {array.dtype.name for array in read_tensors(tmp_path / "r" / "weights.safetensors").values()}
    assert dtypes == {{"f16": "float16", "bf16": "bfloat16"}[dtype]}


def test_the_example_loop_runs_steps_of_any_kind(tmp_path: Path) -> None:
    text = (ROOT / "specs" / "mlp.model").read_text().replace("train MLP {", "train MLP {\n    plateau 2")
    (tmp_path / "m.model").write_text(text)
    step = tmp_path / "m.step.onnx"
    done = invoke("compile", "--train", str(tmp_path / "m.model"), "-o", str(step), "--dtype", "f64")
    assert done.exit_code == 0 and "rate" in [value.name for value in onnx.load(step).graph.input], done.output
    example = [sys.executable, str(ROOT / "examples" / "train_step.py"), str(step), str(ROOT / "specs/data/digits.npz")]
    assert len(subprocess.run(example, capture_output=True, text=True, check=True).stdout.splitlines()) == 60


@pytest.mark.campaign
def test_the_step_trains_alike_in_javascript(tmp_path: Path) -> None:
    step, data = tmp_path / "mlp.step.onnx", ROOT / "specs" / "data" / "digits.npz"
    assert invoke("compile", "--train", str(ROOT / "specs" / "mlp.model"), "-o", str(step)).exit_code == 0
    shutil.copytree(ROOT / "examples" / "javascript", tmp_path / "js", ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "install", "--silent", "--prefix", str(tmp_path / "js")], check=True, timeout=300)
    with np.load(data) as arrays:
        (tmp_path / "digits.json").write_text(json.dumps({name: arrays[name].tolist() for name in arrays.files}))
    python = [sys.executable, str(ROOT / "examples" / "train_step.py"), str(step), str(data)]
    javascript = ["node", str(tmp_path / "js" / "train_step.js"), str(step), str(tmp_path / "digits.json")]
    curves = [
        [
            float(line.split()[1])
            for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        ]
        for command in (python, javascript)
    ]
    assert len(curves[0]) == 60
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-3, atol=1e-5)


def test_python_trains_too() -> None:
    model = nablac.compile(ROOT / "specs" / "mlp.model")
    with np.load(ROOT / "specs" / "data" / "digits.npz") as data:
        history = model.train(dict(data), epochs=5)
        assert history["val_accuracy"][-1] > 0.6
        logits = model(image=data["image"])["logits"]
        assert (logits.argmax(axis=1) == data["label"]).mean() > 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "cuda"), "the NumPy runtime has no device but the CPU"),
        (("--device", "cuda", "--backend", "ort"), "error[E910]: there is no device `cuda` here"),
        (("--device", "cuda:1", "--backend", "ort"), "error[E910]: there is no device `cuda:1` here"),
        (("--device", "cuda:x", "--backend", "ort"), "error[E910]: there is no device `cuda:x`"),
        (("--set", "unis=3"), "error[E402]: model Forecaster has no hyperparameter `unis`"),
        (("--epochs", "0"), "0 is not in the range x>=1"),
        (("--resume", "/nowhere"), "error[E841]: /nowhere is not the folder of a nablac run"),
        (("--weights", "/nowhere.safetensors"), "error[E901]"),
        (("--data", "/nowhere.csv"), "error[E820]: there is no file /nowhere.csv\n --> --data\n"),
        (("--model", "Nobody"), "error[E420]: there is no model `Nobody`"),
    ],
)
def test_wrong_usage_is_an_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("train", FORECASTER, *arguments)
    assert done.exit_code in (1, 2) and message in done.stderr, done.output
    assert "Traceback" not in done.output and not list(tmp_path.iterdir())


def test_keep_limits_the_number_of_checkpoints(tmp_path: Path) -> None:
    for keep in (1, 4):
        run = tmp_path / str(keep)
        done = invoke("train", FORECASTER, "--epochs", "6", "--keep", str(keep), "-q", "-o", str(run))
        assert done.exit_code == 0, done.output
        assert len(list((run / "checkpoints").glob("step-*"))) == keep
        assert (run / "checkpoints" / "best.safetensors").exists()
