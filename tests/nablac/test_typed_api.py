"""What a type checker, `dir` and `help` say of the Python interface."""

from __future__ import annotations

import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nablac
from tests.paths import ROOT

PROGRAM = """
import numpy as np

import nablac

def report(epoch: int, metrics: dict[str, float]) -> None:
    print(epoch, metrics["loss"])

class Stop(nablac.Callback):
    def on_epoch_end(self, epoch, metrics):
        raise nablac.StopTraining

model = nablac.compile("m.model", units=3)
history = model.train({"x": np.ones((4, 3))}, epochs=3, folder="run", callbacks=[report, Stop()], trackers="mlflow")
reveal_type(model)
reveal_type(history)
reveal_type(history["loss"])
reveal_type(history.best_epoch)
reveal_type(model.evaluate(part="test"))
reveal_type(model(x=[1.0])["y"])
reveal_type(model.predict("new.csv").rows)
reveal_type(nablac.load("run").weights)
model.train(epochs="three")
model.train(epoch=3)
model.train({"x": [1]}, 3)
model.evaluate(batches=3)
model.predict("new.csv", keep="some")
"""
REVEALED = [
    r"nablac\.model\.Model",
    r"nablac\.history\.History",
    r"list\[float\]",
    r"int \| None",
    r"dict\[str, float\]",
    r"numpy\.ndarray\[.*\]",
    r"int",
    r"dict\[str, numpy\.ndarray\[.*\]\]",
]
ERRORS = [
    ("epochs=", 'Argument "epochs" to "train" of "TrainableModel" has incompatible type "str"; expected "int | None"'),
    ("epoch=", 'Argument "epoch" to "train" of "TrainableModel" has incompatible type "int"; expected "Never"'),
    ("}, 3)", 'Argument 2 to "train" of "TrainableModel" has incompatible type "int"; expected "Never"'),
    ("keep=", 'Argument "keep" to "predict" of "Model" has incompatible type'),
    ("batches=", 'Unexpected keyword argument "batches" for "evaluate" of "TrainableModel"'),
]
API = ["Callback", "History", "Model", "NablacError", "RunFacts", "StopTraining", "__version__", "compile", "load"]


@pytest.mark.one_version
def test_a_type_checker_knows_the_interface(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nmypy_path = {ROOT}\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache", "program.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    revealed = re.findall(r'note: Revealed type is "(.*)"', ended.stdout.replace("builtins.", ""))
    assert len(revealed) == len(REVEALED), ended.stdout + ended.stderr
    for pattern, type in zip(REVEALED, revealed, strict=True):
        assert re.fullmatch(pattern, type)
    lines = PROGRAM.split("\n")
    messages = [(lines[int(line) - 1], text) for line, text in re.findall(r":(\d+): error: (.*)", ended.stdout)]
    for part, message in ERRORS:
        assert any(part in line and text.startswith(message) for line, text in messages), messages
    assert len({line for line, _ in messages}) == len(ERRORS)


def test_a_marker_says_that_the_package_is_typed() -> None:
    assert (ROOT / "nablac" / "py.typed").exists()  # and test_wheel.py finds every such file in the wheel


def test_dir_and_help_show_the_interface_and_nothing_else() -> None:
    assert dir(nablac) == API == nablac.__all__
    text = pydoc.plain(pydoc.render_doc(nablac))
    for name in set(API) - {"__version__"}:
        assert name in text
    assert "TYPE_CHECKING" not in text and "annotations" not in text.replace("__annotations__", "")


def test_help_of_training_lists_its_options() -> None:
    text = pydoc.plain(pydoc.render_doc(nablac.Model.train))
    for option in ("epochs: 'int | None' = None", "callbacks:", "trackers:", "progress: 'bool | None' = None"):
        assert option in text
