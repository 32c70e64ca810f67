"""Results never overwrite a file that the command reads, that belongs to a run, or that is of another kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import nablac
from grammar.diagnostics import NablacError
from tests.command_line import invoke

MODEL = """model Line {
    input x: [batch, 2]
    y = x -> Dense(1)
    output y
}

train Line {
    target t: [batch, 1]
    loss mse(y, t)
    optimizer sgd(lr: 1e-2)
    epochs 1
    batch 8
    data csv("line.csv") -> columns(inputs: ["a", "b"], targets: ["t"])
}
"""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = np.random.default_rng(0).normal(size=(32, 2))
        lines = [f"{a:.4f},{b:.4f},{a + b:.4f}" for a, b in rows]
        Path("line.csv").write_text("a,b,t\n" + "\n".join(lines) + "\n")
        Path("a.model").write_text(MODEL)
        assert invoke("train", "a.model", "-q", "-o", "run").exit_code == 0
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model, its data and its run, and files of other kinds."""
    monkeypatch.chdir(trained)
    Path("x.csv").write_text("a,b\n1,2\n")
    Path("keep.csv").write_text("a,b\n1,2\n")
    Path("linked.csv").unlink(missing_ok=True)
    Path("linked.csv").symlink_to("x.csv")
    Path("picture.onnx").write_bytes(PNG)
    Path("w.npz").write_bytes(PNG)
    Path("dir.model").mkdir(exist_ok=True)
    save_file(dict(nablac.load("run").weights), "w.safetensors")
    return trained


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


REFUSED = {
    "an input": (["run", "run", "x.csv", "-o", "x.csv"], "x.csv is read by this command, and would be lost"),
    "an input by name": (["run", "a.model", "x=x.csv", "-o", "./x.csv"], "is read by this command"),
    "an input's rows": (["run", "a.model", "x=x.csv:a,b[-1:]", "-o", "x.csv"], "is read by this command"),
    "an input by a link": (["run", "a.model", "x.csv", "-o", "linked.csv"], "linked.csv is read by this command"),
    "the history of a run": (["run", "run", "x.csv", "-o", "run/history.json"], "belongs to the run in "),
    "the data of a run": (["run", "run", "x.csv", "-o", "run/data.json"], "belongs to the run in "),
    "a run's picture": (["draw", "run", "-o", "run/curves.svg"], "belongs to the run in "),
    "the weights of a run": (["compile", "a.model", "-o", "run/weights.safetensors"], "belongs to the run in "),
    "the model of a run": (["compile", "run", "-o", "run/model.onnx"], "belongs to the run in "),
    "a step over a run's weights": (["compile", "run", "--train", "-o", "run/weights.onnx"], "run/weights.safetensors"),
    "a gradient over a run's data": (["grad", "a.model", "-o", "run/data.json"], "belongs to the run in "),
    "a run's checkpoint": (["grad", "a.model", "-o", "run/checkpoints/1"], "belongs to the run in "),
    "a table": (["compile", "a.model", "-o", "keep.csv"], "is there already, and not an ONNX model: it would be lost"),
    "a gradient over a table": (["grad", "a.model", "-o", "keep.csv"], "another file, as keep.onnx"),
    "an image": (["compile", "a.model", "-o", "picture.onnx"], "picture.onnx is an image: it would be lost"),
    "weights that are read": (
        ["compile", "a.model", "--weights", "w.safetensors", "--train", "-o", "w.onnx"],
        "w.safetensors is read by this command",
    ),
    "a folder": (["compile", "a.model", "-o", "dir.model"], "dir.model is a folder"),
    "a model in no folder": (["compile", "a.model", "-o", "no/a.onnx"], "no/a.onnx cannot be written: No such file"),
    "a gradient in a file": (["grad", "a.model", "-o", "x.csv/a.onnx"], "cannot be written: Not a directory"),
    "a profile in no folder": (["profile", "a.model", "--report", "no/x.html"], "no/x.html cannot be written: No such"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_overwriting_a_file_is_refused(folder: Path, case: str) -> None:
    arguments, message = REFUSED[case]
    before = contents(folder)
    done = invoke(*arguments)
    assert done.exit_code == 2 and done.stderr.startswith("error[E904]") and message in done.stderr
    assert contents(folder) == before and not done.stdout


SUFFIXES = {
    "a model": (["compile", "a.model", "-o", "a.txt"], "the file is ONNX, which no `.txt` file holds: name it a.onnx"),
    "a step": (["compile", "a.model", "--train", "-o", "a.CSV"], "the file is ONNX, which no `.csv` file holds"),
    "a gradient": (
        ["grad", "a.model", "-o", "g.json"],
        "the file is ONNX, which no `.json` file holds: name it g",
    ),
    "equations": (["draw", "a.model", "--latex", "-o", "c.svg"], "the file is LaTeX, which no `.svg` file holds"),
    "a gradient in LaTeX": (["grad", "a.model", "--latex", "-o", "g.onnx"], "the file is LaTeX, which no `.onnx` file"),
    "a gradient as text": (["grad", "a.model", "--text", "-o", "g.html"], "the file is text, which no `.html` file"),
    "a profile": (["profile", "a.model", "--report", "p.svg"], "the file is HTML, which no `.svg` file holds"),
}


@pytest.mark.parametrize("case", SUFFIXES)
def test_the_suffix_of_another_format_is_refused(folder: Path, case: str) -> None:
    arguments, message = SUFFIXES[case]
    before = contents(folder)
    done = invoke(*arguments)
    assert done.exit_code == 2 and message in done.stderr
    assert contents(folder) == before and not done.stdout


@pytest.mark.parametrize("name", ["keep.csv", "w.npz", "run/weights.safetensors", "picture.onnx"])
def test_weights_overwrite_only_weights(folder: Path, name: str) -> None:
    before = contents(folder)
    model = nablac.compile("a.model")
    for write in (model.save, model.to_onnx):
        with pytest.raises(NablacError, match="E904") as caught:
            write(name)
        assert caught.value.diagnostics[0].hint
    assert contents(folder) == before


ALLOWED = {
    "a result twice": ["run", "run", "x.csv", "-o", "y.csv"],
    "a result in a run's folder": ["run", "run", "x.csv", "-o", "run/y.json"],
    "a model twice": ["compile", "a.model", "-o", "m.onnx"],
    "a model of any name": ["compile", "a.model", "-o", "m.bin"],
    "a step in a new folder": ["compile", "a.model", "--train", "--split", "-o", "new"],
    "a step twice": ["compile", "a.model", "--train", "-o", "step.onnx"],
    "a gradient twice": ["grad", "a.model", "-o", "grad.onnx"],
    "a picture in a run's folder": ["draw", "run", "-o", "run/y.svg"],
}


@pytest.mark.parametrize("case", ALLOWED)
def test_results_overwrite_results(folder: Path, case: str) -> None:
    for _ in range(2):
        assert invoke(*ALLOWED[case]).exit_code == 0
    Path("empty.csv").write_bytes(b"")  # as `mktemp` creates them
    nablac.compile("a.model").to_onnx("empty.csv")
    Path("broken.safetensors").write_bytes(b"half")
    nablac.compile("a.model").save("broken.safetensors")
