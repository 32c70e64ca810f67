"""`nablac compile --target`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import invoke

TEXT = """model M(rate = 0.5) {
    input x: [batch, 3]
    output y = x -> Dense(4) -> Dropout(rate)
}
train M {
    target t: [batch, 4]
    loss mse(y, t)
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.model").write_text(TEXT)
    return tmp_path


def test_the_report_says_what_leaves_the_device(folder: Path) -> None:
    (folder / "m.model").write_text(TEXT.replace("Dropout(rate)", "tan"))
    ended = invoke("compile", "m.model", "--target", "ort-cuda", "-o", "m.onnx", "--no-verify", folder=folder)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.rstrip().endswith("for ort-cuda")
    wanted = (
        "1 node has no kernel on CUDA: it runs on the processor, between copies\n  1 Tan of f32, first at m.model:3:"
    )
    assert wanted in ended.stderr
    ended = invoke("compile", "m.model", "--target", "ort-cuda", "--json", "-o", "m.onnx", "--no-verify", folder=folder)
    facts = json.loads(ended.stdout)
    assert facts["target"] == "ort-cuda"
    (row,) = facts["leaving"]
    assert (row["operator"], row["type"], row["nodes"]) == ("Tan", "f32", 1)


def test_a_portable_training_step_agrees_with_the_numpy_runtime(folder: Path) -> None:
    ended = invoke("compile", "m.model", "--train", "--target", "portable", "-o", "m.step.onnx", folder=folder)
    assert ended.exit_code == 0, ended.output
    assert "opset 17, IR 10, for portable" in ended.stdout
    assert "verified: the losses of 3 steps on a random batch, onnxruntime against NumPy, differ by " in ended.stderr


def test_an_opset_above_the_targets_is_refused(folder: Path) -> None:
    ended = invoke("compile", "m.model", "--target", "portable", "--opset", "21", folder=folder)
    assert ended.exit_code == 2, ended.output
    assert "error[E907]: opset 21 is above 17, the highest supported by `--target portable`" in ended.stderr
    assert "help: choose 17" in ended.stderr
