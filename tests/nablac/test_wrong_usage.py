"""Hostile files and wrong usage of commands: one error, the exit status of its kind, and no file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import invoke
from tests.paths import SPECS

HOSTILE = [
    ("binary garbage", bytes(range(256)) * 40, 1),
    ("10 MB of brackets", b"(" * 10_000_000, 1),
    ("10,000 nested blocks", b"layer L {" + b"if a {" * 10_000 + b"}" * 10_001, 1),
    ("a huge loop", b"model M {\n input x: [batch]\n for i in 0..1000000000 { x = x + 1 }\n output y = x\n}\n", 1),
    (
        "a recursive layer",
        b"layer L { input x: [...]\n output x -> L() }\nmodel M { input x: [batch, 2]\n y = x -> L()\n output y }\n",
        1,
    ),
    ("an import of itself", b'from "m.model" import A\n', 1),
    ("a dim that overflows", b"model M { input x: [batch, 3]\n y = zeros([9223372036854775807 * 2])\n output y }\n", 1),
    ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", 1),
    ("a trained model", b"PK\x03\x04" + bytes(100), 1),
]


@pytest.mark.parametrize(("content", "status"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_input_gets_one_clear_error_and_leaves_no_file(tmp_path: Path, content: bytes, status: int) -> None:
    path = tmp_path / "m.model"
    path.write_bytes(content)
    done = invoke("compile", path, "-o", tmp_path / "m.onnx", folder=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error[E")
    assert done.stderr.count("error[E") == 1
    assert done.exit_code == status
    assert os.listdir(tmp_path) == ["m.model"]


WRONG = [
    ("a missing file", ["run", "nothing.model"], 2, "E901"),
    ("a missing input file", ["run", "{mlp}", "nothing.npy"], 2, "E901"),
    ("an unknown input", ["run", "{mlp}", "imgae={wrong}"], 2, "E802"),
    ("an input of the wrong shape", ["run", "{mlp}", "{wrong}"], 2, "E803"),
    ("an input of the wrong dtype", ["run", "{bert}", "{wrong}"], 2, "E80"),
    ("an unwritable output", ["compile", "{mlp}", "-o", "/nowhere/m.onnx"], 2, "E904"),
    ("an unknown hyperparameter", ["compile", "{mlp}", "--set", "hiden=3"], 1, "E402"),
    ("a setting without a value", ["compile", "{mlp}", "--set", "hidden"], 2, "E906"),
    ("missing weights", ["run", "{mlp}", "{wrong}", "--weights", "nothing.safetensors"], 2, "E901"),
]


@pytest.mark.parametrize(("arguments", "status", "code"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_usage_gets_a_diagnostic(tmp_path: Path, arguments: list[str], status: int, code: str) -> None:
    np.save(tmp_path / "wrong.npy", np.full((2, 3, 5), 0.5))
    files = {"mlp": SPECS / "mlp.model", "bert": SPECS / "bert.model", "wrong": tmp_path / "wrong.npy"}
    done = invoke(*(argument.format(**files) for argument in arguments), folder=tmp_path)
    assert "Traceback" not in done.stderr
    assert f"error[{code}" in done.stderr, done.stderr
    assert done.exit_code == status
    assert os.listdir(tmp_path) == ["wrong.npy"]


def test_an_unknown_command_gets_a_suggestion() -> None:
    done = invoke("chek", "x.model")
    assert done.exit_code == 2
    assert "did you mean `check`?" in done.stderr
