"""How `run` prints and writes the outputs of a model."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from nablac.commands.results import format_output, write

LOGITS = np.array([[0.5, 2.0, -1.0]], np.float32)
FORECAST = np.array([[1.0, 1.2, 1.1, 1.3, 1.4, 1.2]])

SHOWN = {
    "logits": (
        ("logits", LOGITS),
        "logits: float32[1, 3]\n  highest of each row, as index: value\n  [0] 1: 2  0: 0.5  2: -1",
    ),
    "probabilities": (
        ("p", np.array([[0.25, 0.75]])),
        "p: float64[1, 2]\n  highest of each row, as index: value\n  [0] 1: 0.75  0: 0.25",
    ),
    "named classes": (
        ("y", LOGITS, ["cat", "dog", "owl"]),
        "y: float32[1, 3]\n  highest of each row, as class: value\n  [0] dog: 2  cat: 0.5  owl: -1",
    ),
    "another number of classes": (("y", LOGITS, ["cat", "dog"]), "y: float32[1, 3]\n  [[ 0.5  2.  -1. ]]"),
    "a forecast": (("y", FORECAST), "y: float64[1, 6]\n  [[1.  1.2 1.1 1.3 1.4 1.2]]"),
    "one number": (("y", np.array([[1.23456789]])), "y: 1.23457"),
    "one whole number": (("y", np.array([2**63 + 1], np.uint64)), "y: 9223372036854775809"),
    "a text": (("y", np.array(["yes"], object)), "y: yes"),
}


@pytest.mark.parametrize("label", SHOWN)
def test_an_output_is_shown(label: str) -> None:
    arguments, expected = SHOWN[label]
    assert format_output(*arguments) == expected


TABLES = {
    "one output": ({"y": np.array([[1, 2.5], [3, 4]])}, "y_0,y_1\n1,2.5\n3,4\n", ()),
    "a series": ({"y": np.array([[[1.0], [2.0]]])}, "y\n1\n2\n", ()),
    "series of a batch": (
        {"y": np.arange(4.0).reshape(2, 2, 1)},
        "axis_0,axis_1,y\n0,0,0\n0,1,1\n1,0,2\n1,1,3\n",
        (),
    ),
    "outputs side by side": ({"y": np.ones((2, 1)), "label": np.array([4, 5])}, "y,label\n1,4\n1,5\n", ()),
    "outputs of other rows": ({"y": np.ones((2, 1)), "z": np.ones((3, 1))}, "y\n1\n1\n", ("z",)),
    "a number": ({"loss": np.array(0.5)}, "loss\n0.5\n", ()),
}


@pytest.mark.parametrize("label", TABLES)
def test_outputs_are_written_as_a_table(label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, expected, left_out = TABLES[label]
    write(tmp_path / "y.csv", results)
    assert (tmp_path / "y.csv").read_text() == expected
    errors = capsys.readouterr().err
    assert all(f"`{name}`" in errors for name in left_out) and bool(errors) == bool(left_out)


@pytest.mark.parametrize("name", ["y.npy", "y.npz"])
def test_bf16_is_written_as_f32(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, {"y": LOGITS.astype(ml_dtypes.bfloat16)})
    loaded = np.load(tmp_path / name)
    array = loaded if name == "y.npy" else loaded["y"]
    assert array.dtype == np.float32 and array.tolist() == LOGITS.tolist()


def test_a_file_of_one_array_notes_the_outputs_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "y.npy", {"y": LOGITS, "z": LOGITS})
    assert "does not contain `z`" in capsys.readouterr().err
