"""Which columns and labels reach which input and target of a model, and in which form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.data.batches import Batches
from runtime.training.training_run import Training
from tests.models import text_source
from tests.runtime.data.descriptions import load, refused

ROWS = "a,b,kind,t\n1,10,red,0\n2,20,blue,1\n3,30,red,2\n"
CASES = {
    "each its column": (
        ["a", "b"],
        "a: f32[batch, 1], b: f32[batch]",
        {"a": [[1], [2], [3]], "b": [10, 20, 30]},
    ),
    "the rest to one of another name": (
        ["a", "b", "kind"],
        "x: f32[batch, 2], kind: i64[batch]",
        {"x": [[1, 10], [2, 20], [3, 30]], "kind": [1, 0, 1]},
    ),
    "one input takes all, whatever it is called": (
        ["a", "b"],
        "a: f32[batch, 2]",
        {"a": [[1, 10], [2, 20], [3, 30]]},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_inputs_take_the_columns_that_are_called_like_them(tmp_path: Path, name: str) -> None:
    columns, inputs, expected = CASES[name]
    (tmp_path / "rows.csv").write_text(ROWS)
    listed = ", ".join(f'"{each}"' for each in columns)
    examples = load(tmp_path, f'csv("rows.csv") -> columns(inputs: [{listed}], targets: "t")', inputs=inputs)
    for array, numbers in expected.items():
        np.testing.assert_array_equal(examples.arrays[array], np.array(numbers))


def test_several_targets_take_theirs(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    data = 'csv("rows.csv") -> columns(inputs: "a", targets: ["b", "t"])'
    examples = load(tmp_path, data, inputs="x: f32[batch, 1]", target="t: i64[batch], b: f32[batch, 1]")
    assert examples.arrays["t"].tolist() == [0, 1, 2] and examples.arrays["b"].tolist() == [[10], [20], [30]]


def test_labels_become_one_hot_rows_where_a_target_is_floats_of_them(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    data = 'csv("rows.csv") -> columns(inputs: ["a", "b"], targets: "t")'
    examples = load(tmp_path, data, "x: f32[batch, 2]", "label: f32[batch, 3]")
    np.testing.assert_array_equal(examples.arrays["label"], np.eye(3))
    message = refused(tmp_path, data, inputs="x: f32[batch, 2]", target="label: f32[batch, 2]")
    assert message == ("E826 HERE/rows.csv:4: `label` has 2 classes, 0 to 1, and the data holds a label 2")


def test_more_texts_than_one_hot_rows_have_are_all_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,kind\n1,dog\n2,cat\n3,bird\n")
    data = 'csv("rows.csv") -> columns(inputs: "a", targets: "kind")'
    message = refused(tmp_path, data, inputs="x: f32[batch, 1]", target="t: f32[batch, 2]")
    assert message == "E826 : `kind` holds 3 classes, `bird`, `cat`, `dog`, and the model's `t` is f32[batch, 2]"


def test_columns_of_inputs_alone_feed_an_autoencoder(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    text = """
    model M { input x: [batch, 2]; output y = x -> Dense(1) -> Dense(2) }
    train M { loss mse(y, x); data csv("rows.csv") -> standardize() -> columns(inputs: ["a", "b"]) }
    """
    data = Training(text_source(text, tmp_path)).data
    assert data.inputs == ("x",) and data.targets == () and data.arrays.keys() == {"x"}
    rows = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    scaling = data.scalings["x"]
    np.testing.assert_allclose(data.arrays["x"] * scaling.scale + scaling.offset, rows, rtol=1e-6, atol=1e-6)
    message = refused(tmp_path, 'csv("rows.csv") -> columns(inputs: "a")', inputs="x: f32[batch, 1]")
    assert message == "E824 : the model needs `t`: f32[batch, 1], and the data has `input` float64[1]"


def test_mixup_takes_digits_whose_labels_are_one_hot(tmp_path: Path) -> None:
    np.savez(tmp_path / "digits.npz", image=np.random.default_rng(0).random((8, 1, 2, 2)), label=np.arange(8) % 3)
    data = 'digits("digits.npz") -> augment(mixup: 0.4)'
    examples = load(tmp_path, data, "image: f32[batch, 1, 2, 2]", "label: f32[batch, 3]")
    (batch,) = Batches(examples, "training", 8).epoch(0)
    np.testing.assert_allclose(batch["label"].sum(axis=1), 1, rtol=1e-6)
    assert ((batch["label"] > 0).sum(axis=1) == 2).any()


REFUSED = {
    ('["a", "b", "t"]', "a: f32[batch, 1], b: f32[batch, 1]"): ("E824 : no input or target of the model is called `t`"),
    ('["kind"]', "x: f32[batch, 1]"): (
        "E824 : column `kind` holds texts, 2 classes, as `blue`, and the model's `x` is f32[batch, 1]"
    ),
    ('["a", "kind"]', "x: f32[batch, 2]"): (
        "E824 : column `kind` holds texts, 2 classes, as `blue`, and the model's `x` is f32[batch, 2]"
    ),
}


@pytest.mark.parametrize(("columns", "inputs"), REFUSED)
def test_columns_that_go_nowhere_are_said(tmp_path: Path, columns: str, inputs: str) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    data = f'csv("rows.csv") -> columns(inputs: {columns}, targets: "t")'
    assert refused(tmp_path, data, inputs=inputs) == REFUSED[columns, inputs]


def test_flags_of_parquet_are_numbers(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"x": [1.0, 2.0], "t": [True, False]}), tmp_path / "rows.parquet")
    examples = load(tmp_path, 'parquet("rows.parquet") -> columns(inputs: "x", targets: "t")', "x: f32[batch, 1]")
    assert examples.arrays["t"].tolist() == [[1], [0]]
