"""A trained run is one thing: Python, the command line and the bare file give the same numbers, in raw units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import nablac
from tests.command_line import invoke
from tests.nablac.small_runs import KINDS, train

Arrays = dict[str, Any]


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each kind; its folder lies beside its data, and is called for its kind."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    folder.mkdir()
    return train(request.param, folder)


def kind_of(run: Path) -> str:
    return run.parent.name


def columns(folder: Path) -> np.ndarray[Any, Any]:
    return np.loadtxt(folder / "rows.csv", np.float32, delimiter=",", skiprows=1, usecols=(0, 1))


def picture(folder: Path) -> np.ndarray[Any, Any]:
    pixels = np.asarray(Image.open(folder / "pictures/dark/1.png"), np.float32) / 255
    return np.moveaxis(pixels, -1, 0)[None]


def tokens(folder: Path) -> Any:
    fitted = nablac.load(folder / "run").fitted
    assert fitted is not None and fitted.tokenizer is not None
    (text,) = KINDS[folder.name].inputs
    return np.array([fitted.tokenizer.encode(text)])


FED: dict[str, Callable[[Path], Arrays]] = {
    "forecaster": lambda folder: {"series": columns(folder)[None]},
    "regression": lambda folder: {"x": columns(folder)},
    "classifier": lambda folder: {"x": columns(folder)},
    "images": lambda folder: {"image": picture(folder)},
    "text": lambda folder: {"text": tokens(folder)},
    "reviews": lambda folder: {"tokens": tokens(folder)},
}


def outputs_of(*arguments: str | Path, folder: Path) -> Arrays:
    """What `nablac run` writes."""
    ended = invoke("run", *arguments, "-q", "-o", "out.npz", folder=folder)
    assert ended.exit_code == 0, ended.output
    with np.load(folder / "out.npz") as written:
        return dict(written)


def by_onnxruntime(file: Path, arrays: Arrays) -> Arrays:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))


def assert_same(outputs: Arrays, expected: Arrays, rtol: float = 0.0) -> None:
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        scale = float(np.abs(array).max())
        np.testing.assert_allclose(outputs[name], array, rtol=rtol, atol=rtol * scale, err_msg=name)


def test_python_the_command_line_and_the_bare_file_give_the_same_numbers(run: Path, tmp_path: Path) -> None:
    kind, folder = kind_of(run), run.parent
    arrays = FED[kind](folder)
    model = nablac.load(run)
    expected = model(**arrays)
    assert_same(outputs_of("run", *KINDS[kind].inputs, folder=folder), expected)
    assert_same(outputs_of("run", *KINDS[kind].inputs, "--backend", "ort", folder=folder), expected, 1e-5)
    assert_same(outputs_of("run/model.onnx", *KINDS[kind].inputs, folder=folder), expected, 1e-5)
    assert_same(nablac.load(run, backend="ort")(**arrays), expected, 1e-5)
    bare = by_onnxruntime(run / "model.onnx", arrays)
    assert_same(bare, expected, 1e-5)
    # Saved, loaded, and written again.
    model.save(tmp_path / "w.safetensors")
    again = nablac.load(folder / "m.model", tmp_path / "w.safetensors")
    assert_same(again(**arrays), expected)
    assert again.units == model.units and again.fitted is not None
    again.to_onnx(tmp_path / "again.onnx")
    assert_same(by_onnxruntime(tmp_path / "again.onnx", arrays), bare)
    by_file = outputs_of("m.model", *KINDS[kind].inputs, "--weights", tmp_path / "w.safetensors", folder=folder)
    assert_same(by_file, expected)


def test_the_numbers_are_in_raw_units(run: Path) -> None:
    """They are those of the model in the units of training, fed and read through the scaling that was learnt."""
    kind, folder = kind_of(run), run.parent
    model = nablac.load(run)
    assert model.fitted is not None
    scalings = model.fitted.scalings
    trained = nablac.Model(model.spec)
    trained.weights.update(model.weights)
    arrays = FED[kind](folder)
    scaled = {
        name: scalings[name].apply(array).astype(array.dtype) if name in scalings else array
        for name, array in arrays.items()
    }
    expected = trained(**scaled)
    if kind in ("forecaster", "regression"):
        target = scalings["next" if kind == "forecaster" else "t"]
        expected = {"y": expected["y"] * target.scale + target.offset}
        assert expected["y"].mean() > 90  # of targets about 100 and about 1,000
    assert_same(model(**arrays), expected, 1e-4)


COMMANDS: dict[str, tuple[str, ...]] = {
    "check": (),
    "check with gradients": ("--gradients",),
    "compile": ("-o", "made.onnx"),
    "eval": (),
    "summary": (),
    "draw": ("-o", "made.svg"),
    "verify": ("--tolerance", "1e-4"),
    "grad": ("-o", "made.onnx"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_the_folder_of_a_run(command: str, run: Path) -> None:
    ended = invoke(command.split()[0], "run", *COMMANDS[command], folder=run.parent)
    assert ended.exit_code == 0, ended.output


def test_a_run_goes_on_without_its_file(run: Path) -> None:
    folder = run.parent
    (folder / "m.model").rename(folder / "elsewhere.model")
    try:
        ended = invoke("train", "--resume", "run", "--epochs", "2", "--max-time", "0", "-q", folder=folder)
        assert ended.exit_code == 0, ended.output
    finally:
        (folder / "elsewhere.model").rename(folder / "m.model")
