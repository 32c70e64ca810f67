"""Mistakes in calls from Python: the whole message says what the caller can do there, in Python's words."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError

TEXT = """model M {
    input x, z: [batch, 3]
    output y = x + z -> Dense(1)
}

train M {
    target t: [batch, 1]
    loss mse(y, t)
    epochs 1
    validation 0.25
}
"""
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
T = X.sum(axis=1, keepdims=True)
DATA = {"x": X, "z": X, "t": T}
PIXELS = X.astype(np.uint8)

BY_NAME = '`predict({"x": ..., "z": ...})` takes columns or arrays by name, as `model(x=..., z=...)` takes arrays'
NO_FILE = (
    f"error[E823]: an input is the name of a file, a dict of columns, or a data frame\n --> inputs\nhelp: {BY_NAME}"
)
OF_PIXELS = (
    "error[E804]: `x`: expected f32[batch, 3], got u8\n --> input `x`\nhelp: convert it: `array.astype('float32')`"
)


def no_dict(what: str, method: str = "train") -> str:
    message = f"error[E823]: expected a dict of arrays by input and target name, got {what}\n --> data\n"
    return f'{message}help: `{method}({{"x": x, "z": z, "t": t}})`'


# What is called, on a trained model `m`, and the message.
MISTAKES: dict[str, tuple[Callable[[Any], object], str]] = {
    "pixels to train on": (lambda m: m.train({**DATA, "x": PIXELS}), OF_PIXELS),
    "pixels to evaluate": (lambda m: m.evaluate({**DATA, "x": PIXELS}), OF_PIXELS),
    "pixels to predict from": (lambda m: m.predict({"x": PIXELS, "z": X}), OF_PIXELS),
    "pixels in a call": (lambda m: m(x=PIXELS, z=X), OF_PIXELS),
    "pixels by another name": (
        lambda m: m.train({"pixels": PIXELS, "z": X, "t": T}),
        OF_PIXELS.replace("`x`", "`pixels`"),
    ),
    "flags to train on": (lambda m: m.train({**DATA, "x": X > 0}), OF_PIXELS.replace("u8", "bool")),
    "arrays without names": (lambda m: m.train(X, T), no_dict("2 arguments without names")),
    "arrays to evaluate without names": (
        lambda m: m.evaluate(X, T),
        no_dict("2 arguments without names", "evaluate"),
    ),
    "a pair": (lambda m: m.train((X, T)), no_dict("a tuple of 2")),
    "an array": (lambda m: m.evaluate(X), no_dict("an array of shape [8, 3]", "evaluate")),
    "an array in a call": (
        lambda m: m(X),
        "error[E801]: M takes its inputs by name, and the call has 1 without one\n --> the call\n"
        "help: `model(x=x, z=z)`",
    ),
    "no examples": (
        lambda m: m.train({name: array[:0] for name, array in DATA.items()}),
        "error[E823]: there are no examples: axis 0 counts them, and it is 0: `x` [0, 3], `z` [0, 3], `t` [0, 1]\n"
        " --> data",
    ),
    "examples of one array": (
        lambda m: m.train({**DATA, "x": X[:0]}),
        "error[E823]: arrays must have the same length, one example per index: `x` [0, 3], `z` [8, 3], `t` [8, 1]\n"
        " --> data",
    ),
    "a list to predict from": (lambda m: m.predict([[1, 2, 3]]), NO_FILE),
    "an array to predict from": (lambda m: m.predict(X), NO_FILE),
    "other columns": (
        lambda m: m.predict({"a": [1.0]}),
        "error[E880]: M does not say what data it was trained on\n --> M\n"
        f"help: as after training on arrays: {BY_NAME}",
    ),
    "a picture by another format": (
        lambda m: m.draw().save("m.png"),
        "error[E904]: a picture is saved as SVG, which no `.png` file holds\n --> m.png\n"
        "help: name it m.svg: browsers and many programs convert it",
    ),
    "no data": (
        lambda m: nablac.compile(TEXT).evaluate(),
        "error[E824]: the train block names no data\n --> M\nhelp: `evaluate({\"x\": x, \"z\": z, \"t\": t})`",
    ),
    "the data of a loaded run": (
        lambda m: nablac.load("run").evaluate(),
        "error[E824]: run was trained on arrays, which a run does not keep\n --> M\n"
        "help: `evaluate({\"x\": x, \"z\": z, \"t\": t})`",
    ),
    "a folder twice": (
        lambda m: m.train(DATA, folder="run"),
        "error[E843]: run already exists and is not empty\n --> run\n"
        "help: `train(folder='run', resume=True)` resumes this run; use another `folder` for a new run",
    ),
    "a run to compile": (
        lambda m: nablac.compile(Path("run")),
        "error[E902]: run is the folder of a run\n --> run\nhelp: `nablac.load('run')` reads it",
    ),
    "no file to compile": (
        lambda m: nablac.compile(None),  # type: ignore[arg-type]
        "error[E605]: `path_or_text` must be the name of a file or a spec, or the text of a model, got None\n"
        " --> path_or_text",
    ),
    "a number as a preset": (
        lambda m: nablac.compile(TEXT, preset=3),  # type: ignore[arg-type]
        "error[E605]: `preset` must be a name, got 3\n --> preset",
    ),
    "a text as a seed": (
        lambda m: nablac.compile(TEXT, seed="a"),  # type: ignore[arg-type]
        "error[E605]: `seed` must be a whole number from 0, got 'a'\n --> seed",
    ),
    "a text as an opset": (
        lambda m: m.onnx("a"),  # type: ignore[arg-type]
        "error[E907]: the opset must be a whole number, got 'a'\n --> opset",
    ),
    "no run to load": (
        lambda m: nablac.load(None),  # type: ignore[arg-type]
        "error[E605]: `path` must be the name of a file, or of the folder of a run, got None\n --> path",
    ),
    "no file to write": (
        lambda m: m.save(None),  # type: ignore[arg-type]
        "error[E605]: `path` must be the name of a file, got None\n --> path",
    ),
    "no folder of a run": (
        lambda m: m.train(DATA, folder=3),  # type: ignore[arg-type]
        "error[E605]: `folder` must be the name of a folder, got 3\n --> folder",
    ),
    "a letter as a depth": (
        lambda m: m.draw("a"),  # type: ignore[arg-type]
        "error[E605]: `depth` must be a whole number of levels from 0, got 'a'\n --> depth",
    ),
    "a number as a pattern": (
        lambda m: m.gradient(3),  # type: ignore[arg-type]
        "error[E605]: `wrt` must be a pattern of names, or a list of them, got 3\n --> wrt",
    ),
    "a text as a number of runs": (
        lambda m: m.profile(runs="a"),  # type: ignore[arg-type]
        "error[E605]: `runs` must be a whole number from 1, got 'a'\n --> runs",
    ),
    "a misspelt spec": (
        lambda m: nablac.compile("forecastr"),
        "error[E901]: there is no file `forecastr`, no file `forecastr.model`, and no spec of this name\n"
        " --> forecastr\nhelp: did you mean `forecaster`?",
    ),
}  # fmt: skip

WEIGHTS: dict[str, tuple[str, Any, str]] = {
    "another shape": (
        "dense.W",
        np.zeros((2, 2)),
        "error[E703]: `dense.W` is f32[3, 1] in M, and the array is f64[2, 2]\n --> weights['dense.W']",
    ),
    "a transpose": (
        "dense.W",
        np.zeros((1, 3), np.float32),
        "error[E703]: `dense.W` is f32[3, 1] in M, and the array is f32[1, 3]\n --> weights['dense.W']\n"
        "help: turn it: `array.T` is f32[3, 1]",
    ),
    "a misspelt path": (
        "dens.W",
        np.zeros((3, 1)),
        "error[E702]: M has no weight `dens.W`\n --> weights['dens.W']\nhelp: did you mean `dense.W`?",
    ),
    "integers": (
        "dense.W",
        np.zeros((3, 1), np.int32),
        "error[E704]: `dense.W` is f32[3, 1] in M, and the array is i32\n --> weights['dense.W']\n"
        "help: convert it: `array.astype('float32')`",
    ),
    "too large a number": (
        "dense.W",
        np.full((3, 1), 1e300),
        "error[E704]: `dense.W` is f32[3, 1] in M, and 1e+300 is beyond f32\n --> weights['dense.W']",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    nablac.compile(TEXT).train(DATA, folder=folder / "run")
    return folder


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_in_the_words_of_python(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    call, message = MISTAKES[case]
    model = nablac.compile(TEXT)
    model.train(DATA)
    with pytest.raises(NablacError) as caught:
        call(model)
    assert str(caught.value) == message
    assert [path.name for path in folder.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fit", "a model has no `fit`: `model.train(data)` trains"),
        ("state_dict", "a model has no `state_dict`: `model.weights` are the arrays by path"),
        ("trian", "'Model' object has no attribute 'trian'"),
    ],
)
def test_a_method_of_another_library_is_told_apart_from_a_misspelt_one(name: str, message: str) -> None:
    model = nablac.compile(TEXT)
    assert not hasattr(model, name) and name not in dir(model)
    with pytest.raises(AttributeError) as caught:
        getattr(model, name)
    assert str(caught.value) == message


@pytest.mark.parametrize("case", WEIGHTS)
def test_a_weight_that_does_not_fit_is_refused_as_it_is_assigned(case: str) -> None:
    path, array, message = WEIGHTS[case]
    model = nablac.compile(TEXT)
    before = {name: held.copy() for name, held in model.weights.items()}
    bias = np.ones(1, np.float32)
    for assign in (
        lambda: model.weights.__setitem__(path, array),
        lambda: model.weights.update({"dense.b": bias, path: array}),
        lambda: model.weights.__ior__({"dense.b": bias, path: array}),
    ):
        with pytest.raises(NablacError) as caught:
            assign()
        assert str(caught.value) == message
    assert model.weights.keys() == before.keys()
    for name, held in model.weights.items():
        np.testing.assert_array_equal(held, before[name])


def test_a_weight_is_kept_or_converted_and_the_dict_is_copied() -> None:
    model = nablac.compile(TEXT)
    own = np.ones((3, 1), np.float32)
    model.weights["dense.W"] = own
    own[0] = 2  # in place
    model.weights["dense.b"] = np.array([0.25])
    np.testing.assert_allclose(model(x=X, z=X)["y"], 2 * X @ [[2], [1], [1]] + 0.25, rtol=1e-5)
    model.weights["dense.W"] = [[1], [1], [1]]
    np.testing.assert_allclose(model(x=X, z=X)["y"], 2 * T + 0.25, rtol=1e-5)
    for weights in (copy.deepcopy(model.weights), pickle.loads(pickle.dumps(model.weights))):
        np.testing.assert_equal(weights, model.weights)


def test_integers_in_lists_and_of_targets_are_numbers() -> None:
    model = nablac.compile(TEXT)
    model.train({"x": [[1, 2, 3]] * 8, "z": X, "t": np.arange(8)[:, None]})
    assert model.weights["dense.W"].dtype == np.float32


def test_files_may_hold_pixels(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=PIXELS, z=X, t=T)
    file = tmp_path / "m.model"
    file.write_text(TEXT.replace("    epochs", '    data npz("data.npz")\n    epochs'))
    assert nablac.compile(file).train().epochs == 1


@pytest.mark.parametrize("part", [None, "training", "all"])
def test_the_arrays_of_the_training_are_judged_without_naming_them(part: str | None) -> None:
    model = nablac.compile(TEXT)
    model.train(DATA, seed=3, validation=0.5)
    assert model.evaluate(part=part) == model.evaluate(DATA, part=part or "validation")


def test_an_array_of_another_name_is_noted() -> None:
    arrays = {"x": X, "zed": X, "t": T}
    model = nablac.compile(TEXT)
    with pytest.warns(UserWarning, match=r"^note: `zed` is read as `z`$"):
        model.train(arrays)
    with pytest.warns(UserWarning, match=r"^note: `zed` is read as `z`$"):
        assert model.evaluate(arrays) == model.evaluate(DATA)


def test_a_spec_that_comes_with_nablac_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert nablac.compile("forecaster", units=3).hypers["units"] == 3
    Path("forecaster.model").write_text(TEXT)
    assert nablac.compile("forecaster").name == "M"  # the folder's own comes first


AXES: dict[tuple[int, ...], str | None] = {
    (3, 20): "where axis 2, of size 1, is missing: `x[..., None]`",
    (20, 1): "where the axis `batch` is missing: `x[None]`",
    (1, 20): "where axis 2, of size 1, is missing: `x[..., None]`",
    (20,): None,
}


@pytest.mark.parametrize("shape", AXES)
def test_a_missing_axis_is_added_where_the_shapes_then_agree(shape: tuple[int, ...]) -> None:
    model = nablac.compile("model M { input x: [batch, time, 1]; output x * 2 }")
    with pytest.raises(NablacError) as caught:
        model(x=np.zeros(shape, np.float32))
    hint = caught.value.diagnostics[0].hint
    assert hint == AXES[shape]
    if hint is not None:
        index = {"x[..., None]": (..., None), "x[None]": None}[hint.split("`")[-2]]
        model(x=np.zeros(shape, np.float32)[index])
