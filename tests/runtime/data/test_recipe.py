"""What a run and a compiled model keep of their data: the same, without any path, and readable of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nablac
from compiler.output_meanings import Meaning
from grammar.diagnostics import NablacError
from runtime.data.fitted import Fitted, Stage
from runtime.data.recipe import RECIPE, Recipe, read_recipe, recipe_in, recipe_metadata, recipe_to_json, write_recipe
from runtime.data.scaling import Scaling
from runtime.onnx_session import OnnxRunner
from tests.command_line import invoke

MODELS = {
    "csv": """
model M { input x: [batch, 2]; output y = x -> Dense(1) }
train M { target price: [batch, 1]; loss mse(y, price); epochs 1
    data csv("DATA.csv", separator: ";") -> standardize() -> columns(inputs: ["a", "b"], targets: "t")
         -> split(validation: 0.25, order: "random") }
""",
    "classes": """
model M { input x: [batch, 2]; output y = x -> Dense(2) }
train M { target kind: i64[batch]; loss cross_entropy(y, kind); epochs 1
    data csv("DATA.csv", separator: ";") -> columns(inputs: ["b", "a"], targets: "kind") }
""",
    "window": """
model M { input x: [batch, T, 1]; output y = x -> LSTM(2) -> Dense(2) }
train M { target next: [batch, 2]; loss mse(y, next); epochs 1
    data csv("DATA.csv", separator: ";") -> min_max() -> window("a", length: 4, horizon: 2) }
""",
}
STAGES: dict[str, list[str]] = {
    "csv": ["csv", "standardize", "columns"],
    "classes": ["csv", "columns"],
    "window": ["csv", "min_max", "window"],
}
COLUMNS: dict[str, dict[str, list[str]]] = {
    "csv": {"x": ["a", "b"], "price": ["t"]},
    "classes": {"x": ["b", "a"], "kind": ["kind"]},
    "window": {"x": ["a"], "next": ["a"]},
}


def run(folder: Path, model: str) -> Path:
    """A short run of a model on a table of 16 rows."""
    generator = np.random.default_rng(1)
    rows = [f"{a};{b};{a - b};{'big' if a > 0 else 'small'}" for a, b in generator.normal(size=(16, 2))]
    (folder / "DATA.csv").write_text("a;b;t;kind\n" + "\n".join(rows) + "\n")
    (folder / "m.model").write_text(MODELS[model])
    done = invoke("train", "m.model", "-o", "run", "-q", folder=folder)
    assert done.exit_code == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize("model", MODELS)
def test_a_run_and_its_compiled_model_keep_the_same_without_paths(tmp_path: Path, model: str) -> None:
    folder = run(tmp_path, model)
    content = json.loads((folder / "data.json").read_text())
    assert [stage["name"] for stage in content["stages"]] == STAGES[model]
    assert {**content["columns"], **content["targets"]} == COLUMNS[model]
    metadata = OnnxRunner(folder / "model.onnx").metadata
    assert json.loads(metadata[RECIPE]) == content
    for text in (json.dumps(content), json.dumps(metadata)):
        assert "DATA" not in text and str(tmp_path) not in text
    kept, compiled = read_recipe(folder), recipe_in(metadata)
    assert kept is not None and compiled is not None
    loaded = nablac.load(folder).recipe
    assert loaded is not None
    assert recipe_to_json(kept) == recipe_to_json(compiled) == recipe_to_json(loaded)
    assert compiled.source is not None and compiled.source.arguments["separator"] == ";"


def test_classes_and_outputs_are_told_by_their_targets(tmp_path: Path) -> None:
    recipe = read_recipe(run(tmp_path, "classes"))
    assert recipe is not None
    assert recipe.outputs == {"y": Meaning("logits", "kind")}
    assert (recipe.classes_of("kind"), recipe.class_output("kind")) == (("big", "small"), "y")


def test_weights_that_were_saved_and_loaded_know_their_data(tmp_path: Path) -> None:
    model = nablac.load(run(tmp_path, "csv"))
    model.save(tmp_path / "kept.safetensors")
    again = nablac.compile(tmp_path / "m.model").load(tmp_path / "kept.safetensors")
    assert model.recipe is not None and again.recipe is not None
    assert recipe_to_json(again.recipe) == recipe_to_json(model.recipe)


@pytest.mark.parametrize("model", MODELS)
def test_a_run_of_an_earlier_version_has_the_stages_of_its_train_block(tmp_path: Path, model: str) -> None:
    folder = run(tmp_path, model)
    whole = nablac.load(folder).recipe
    content = json.loads((folder / "data.json").read_text())
    for key in ("stages", "targets", "outputs"):
        del content[key]
    (folder / "data.json").write_text(json.dumps(content))
    save_file(load_file(folder / "weights.safetensors"), folder / "weights.safetensors")  # without its metadata
    recipe = nablac.load(folder).recipe
    assert recipe is not None and whole is not None
    assert recipe_to_json(recipe) == recipe_to_json(whole)


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    fitted = Fitted(
        {"x": Scaling(np.array([1.5]), np.array([0.1]))},
        {"kind": ("a", "b")},
        None,
        ("a", "b"),
        {"x": ("u", "v")},
        {"t": ("kind",)},
        (
            Stage("csv", {"separator": ",", "decimal": ".", "header": None, "encoding": "", "thousands": ""}),
            Stage("columns", {"inputs": ["u", "v"], "targets": "kind"}),
        ),
    )
    recipe = Recipe(fitted, {"y": Meaning("logits", "t")})
    write_recipe(tmp_path, recipe)
    of_file, of_metadata = read_recipe(tmp_path), recipe_in(recipe_metadata(recipe))
    assert of_file is not None and of_metadata is not None
    assert recipe_to_json(of_file) == recipe_to_json(of_metadata) == recipe_to_json(recipe)
    assert of_file.fitted.stages == fitted.stages
    assert read_recipe(tmp_path / "elsewhere") is None


def test_a_compiled_model_of_an_earlier_version_says_its_columns_and_classes() -> None:
    metadata = {"nablac.columns": '{"x": ["a", "b"]}', "nablac.classes": '["cat", "dog"]'}
    recipe = recipe_in(metadata)
    assert recipe is not None and recipe.source is None
    assert recipe.columns_of("x") == ("a", "b") and recipe.classes_of("label") == ("cat", "dog")
    assert recipe_in({"nablac.model": "M"}) is None


EMPTY: dict[str, Any] = {"scalings": {}, "classes": {}}
BROKEN: dict[str, Any] = {
    "no JSON": "{",
    "a list": "[]",
    "stages that are none": json.dumps({**EMPTY, "stages": [3]}),
    "a kind that is none": json.dumps({**EMPTY, "outputs": {"y": {"kind": "guess", "target": "t"}}}),
    "a stage that is none": json.dumps({**EMPTY, "stages": [{"name": "sql", "arguments": {}}]}),
    "an argument that is none": json.dumps({**EMPTY, "stages": [{"name": "csv", "arguments": {"password": "x"}}]}),
    "an argument of another kind": json.dumps({**EMPTY, "stages": [{"name": "csv", "arguments": {"header": 3}}]}),
    "a window without a length": json.dumps({**EMPTY, "stages": [{"name": "window", "arguments": {"columns": "a"}}]}),
    "outputs that are none": json.dumps({**EMPTY, "outputs": ["y"]}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_recipe_that_nobody_wrote_is_refused(tmp_path: Path, case: str) -> None:
    (tmp_path / "data.json").write_text(BROKEN[case])
    with pytest.raises(NablacError) as caught:
        read_recipe(tmp_path)
    assert caught.value.diagnostics[0].code == "E827"
    with pytest.raises(NablacError) as caught:
        recipe_in({RECIPE: BROKEN[case]})
    assert caught.value.diagnostics[0].code == "E915"
