"""The command line as a user meets it: exit status, what is printed where, and what is left on disk."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SPECS = Path(__file__).parents[2] / "specs"
MODELS = sorted(SPECS.glob("*.model"))


def nablac(*arguments: str | Path, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nablac", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(SPECS.parent), "COLUMNS": "100"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, input=stdin, timeout=60, env=environment, check=False
    )


def model(folder: Path, text: str) -> Path:
    path = folder / "given.model"
    path.write_text(text)
    return path


def test_check_says_that_a_file_is_fine() -> None:
    done = nablac("check", SPECS / "lstm.model")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "1 file checked, no errors\n")


def test_check_reads_standard_input_and_prints_json() -> None:
    done = nablac("check", "-", "--json", stdin="model M {\n    input x: [batch, 3]\n    output y\n}\n")
    assert done.returncode == 1
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["code"], error["file"], error["line"], error["column"]) == ("E201", "<stdin>", 3, 12)
    assert done.stderr == ""


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_compiles_to_onnx_that_the_checker_takes(
    tmp_path: Path, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnx

    from runtime.onnx_session import OnnxRunner

    target = tmp_path / "made.onnx"
    done = nablac("compile", path, "-o", target)
    assert done.returncode == 0, done.stderr
    assert "verified against the NumPy runtime" in done.stderr
    assert ("`--model` chooses another" in done.stderr) == (path.stem in ("rnn", "gru"))
    onnx.checker.check_model(onnx.load(target), full_check=True)
    assert os.listdir(tmp_path) == ["made.onnx"]
    OnnxRunner(target, severity=2)
    assert capfd.readouterr().err == ""  # loaded without a warning


def test_compile_counts_buffers_apart_and_tells_its_stages(tmp_path: Path) -> None:
    done = nablac("compile", SPECS / "resnet.model", "-o", tmp_path / "made.onnx", "-v")
    assert "703,386 parameters and 2,400 in buffers, " in done.stdout
    stages = ("read", "elaborated and optimised", "first values", "exported", "written", "checked", "verified")
    for stage in stages:
        assert re.search(rf"{stage} in [\d,]+ ms", done.stderr), stage


@pytest.mark.parametrize(
    ("name", "file"),
    [("ManyToMany", "rnn"), ("ManyToOne", "rnn"), ("GatedDigits", "gru"), ("BidirectionalDigits", "gru")],
)
def test_a_file_of_several_models_compiles_the_one_named(tmp_path: Path, name: str, file: str) -> None:
    done = nablac("compile", SPECS / f"{file}.model", "--model", name, "-o", tmp_path / "made.onnx")
    assert done.returncode == 0, done.stderr
    assert f": {name}, " in done.stdout


def test_run_takes_a_column_of_a_real_series() -> None:
    done = nablac("run", SPECS / "forecaster.model", f"{SPECS}/data/airline-passengers.csv:passengers")
    assert done.returncode == 0
    assert done.stdout.startswith("y: ")
    assert "untrained weights" in done.stderr


def test_run_takes_some_rows_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("a,b\n1,2\n3,4\n5,6\n7,8\n")
    spec = model(tmp_path, "model M {\n    input x: [n]\n    output y = 2 * x\n}\n")

    def shown(chosen: str) -> object:
        done = nablac("run", spec, f"{tmp_path}/few.csv:{chosen}", "--json")
        found = json.loads(done.stdout)
        return found["y"] if done.returncode == 0 else found["errors"][0]["message"]

    assert shown("b") == [4, 8, 12, 16]
    assert shown("b[-2:]") == [12, 16]
    assert shown("a[1:3]") == [6, 10]
    assert shown("a[:1]") == [2]
    assert shown("a[9:]") == "this takes none of the 4 rows"
    assert shown("c[-2:]") == "there is no column `c`"


def test_run_takes_the_image_of_a_digit() -> None:
    pytest.importorskip("PIL")
    done = nablac("run", SPECS / "cnn.model", SPECS / "data" / "seven.png", "--json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert abs(sum(json.loads(done.stdout)["probability"][0]) - 1) < 1e-5


READERS = {
    "npy": np.load,
    "npz": lambda path: np.load(path)["y"],
    "csv": lambda path: np.loadtxt(path, delimiter=","),
    "json": lambda path: json.loads(path.read_text())["y"],
}


@pytest.mark.parametrize("ending", READERS)
def test_a_compiled_model_runs_as_the_text_does(tmp_path: Path, ending: str) -> None:
    assert nablac("compile", SPECS / "lstm.model", "-o", tmp_path / "lstm.onnx").returncode == 0
    series = f"{SPECS}/data/airline-passengers.csv:passengers"
    results = []
    for file in (SPECS / "lstm.model", tmp_path / "lstm.onnx"):
        out = tmp_path / f"{file.suffix[1:]}.{ending}"
        assert nablac("run", file, series, "-o", out).returncode == 0
        results.append(np.asarray(READERS[ending](out)).reshape(-1))
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_settings_and_presets_size_the_model(tmp_path: Path) -> None:
    def parameters(*options: str) -> int:
        done = nablac("compile", SPECS / "mlp.model", *options, "--json", "-o", tmp_path / "made.onnx")
        return int(json.loads(done.stdout)["parameters"])

    assert parameters("--set", "hidden=8") < parameters()


def test_verify_compares_both_runtimes() -> None:
    done = nablac("verify", SPECS / "lstm.model")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ok") == 3
    assert nablac("verify", SPECS / "lstm.model", "--tolerance", "0").returncode in (0, 1)


def test_explain_prints_a_page() -> None:
    done = nablac("explain", "e901")
    assert done.returncode == 0
    assert done.stdout.startswith("# E901")
    assert nablac("explain", "E999").returncode == 2


def test_doctor_finds_what_is_installed() -> None:
    facts = json.loads(nablac("doctor", "--json").stdout)
    assert set(facts["core"]) == {"lark", "numpy", "networkx", "onnx", "onnxruntime", "click", "rich", "safetensors"}


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
    ("an import of itself", b'from "given.model" import A\n', 1),
    ("a dim that overflows", b"model M { input x: [batch, 3]\n y = zeros([9223372036854775807 * 2])\n output y }\n", 1),
    ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", 1),
    ("a trained model", b"PK\x03\x04" + bytes(100), 1),
]


@pytest.mark.parametrize(("content", "status"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_input_gets_one_clear_error_and_leaves_no_file(tmp_path: Path, content: bytes, status: int) -> None:
    path = tmp_path / "given.model"
    path.write_bytes(content)
    done = nablac("compile", path, "-o", tmp_path / "made.onnx", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error[E")
    assert done.stderr.count("error[E") == 1
    assert done.returncode == status
    assert os.listdir(tmp_path) == ["given.model"]


WRONG = [
    ("a missing file", ["run", "nothing.model"], 2, "E901"),
    ("a missing input file", ["run", "{mlp}", "nothing.npy"], 2, "E901"),
    ("an unknown input", ["run", "{mlp}", "imgae={wrong}"], 2, "E802"),
    ("an input of the wrong shape", ["run", "{mlp}", "{wrong}"], 2, "E803"),
    ("an input of the wrong dtype", ["run", "{bert}", "{wrong}"], 2, "E80"),
    ("an unwritable output", ["compile", "{mlp}", "-o", "/nowhere/made.onnx"], 2, "E904"),
    ("an unknown hyperparameter", ["compile", "{mlp}", "--set", "hiden=3"], 1, "E402"),
    ("a setting that is none", ["compile", "{mlp}", "--set", "hidden"], 2, "E906"),
    ("weights that are not there", ["run", "{mlp}", "{wrong}", "--weights", "nothing.safetensors"], 2, "E901"),
]


@pytest.mark.parametrize(("arguments", "status", "code"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_call_is_told_what_is_wrong(tmp_path: Path, arguments: list[str], status: int, code: str) -> None:
    np.save(tmp_path / "wrong.npy", np.full((2, 3, 5), 0.5))
    places = {"mlp": SPECS / "mlp.model", "bert": SPECS / "bert.model", "wrong": tmp_path / "wrong.npy"}
    done = nablac(*(each.format(**places) for each in arguments), cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert f"error[{code}" in done.stderr, done.stderr
    assert done.returncode == status
    assert os.listdir(tmp_path) == ["wrong.npy"]


def test_an_unknown_command_is_told_the_near_one() -> None:
    done = nablac("chek", "x.model")
    assert done.returncode == 2
    assert "did you mean `check`?" in done.stderr
