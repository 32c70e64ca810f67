"""Lags: numbers of earlier rows of the same series, and the rows that have none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.data.lags import EarlierRows
from runtime.prediction.predictor import Predictor
from tests.command_line import invoke, succeed
from tests.runtime.data.descriptions import load, refused

INPUTS, TARGET = "x: f64[batch, 2]", "t: f64[batch, 1]"
LAGGED = '-> lag("v", steps: [1, 2]) -> columns(inputs: ["v_lag1", "v_lag2"], targets: "v")'


def write(folder: Path, text: str, name: str = "s.csv") -> None:
    (folder / name).write_text(text)


def column(name: str, cells: list[Any]) -> str:
    return "\n".join([name, *map(str, cells)]) + "\n"


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-9, 9)), min_size=1, max_size=25),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_blocks_have_the_lags_of_the_whole(rows: list[tuple[int, int]], step: int, most: int) -> None:
    of_series: dict[int, list[float]] = {}
    keys, expected = [], []
    for series, number in rows:
        before = of_series.setdefault(series, [])
        keys.append((series, len(before)))
        expected.append(before[-step] if len(before) >= step else np.nan)
        before.append(float(number))
    numbers = np.array([number for _, number in rows], float)
    earlier, lags = EarlierRows(), []
    for begin in range(0, len(rows), most):
        lags += earlier.lagged("v", step, keys[begin : begin + most], numbers[begin : begin + most]).tolist()
        earlier.forget(step)
        assert len(earlier.known["v"]) <= step * len(of_series)
    np.testing.assert_array_equal(lags, expected)


def test_lags_are_of_the_same_series(tmp_path: Path) -> None:
    rows = ["a,1", "b,10", "a,2", "a,3", "b,20", "b,30", "a,4", "b,40"]
    write(tmp_path, "\n".join(["station,v", *rows]) + "\n")
    notes: dict[str, list[str]] = {}
    examples = load(tmp_path, f'csv("s.csv") -> by("station") {LAGGED}', INPUTS, TARGET, notes=notes)
    assert examples.arrays["x"].tolist() == [[2, 1], [3, 2], [20, 10], [30, 20]]
    assert examples.arrays["t"].ravel().tolist() == [3, 4, 30, 40]
    place = f"{tmp_path}/s.csv"
    assert notes == {
        "the row is left out, as `v` in the row before is missing": [f"{place}:2", f"{place}:3"],
        "the row is left out, as `v` 2 rows before is missing": [f"{place}:4", f"{place}:6"],
    }


@pytest.mark.parametrize("broken", ["x", "5,5"])  # a cell that is no number, and a row with too many cells
def test_lags_do_not_pass_over_rows_that_are_left_out(tmp_path: Path, broken: str) -> None:
    write(tmp_path, column("v", [1, 2, 3, broken, 5, 6, 7, 8]))
    skipped: list[str] = []
    examples = load(tmp_path, f'csv("s.csv") {LAGGED}', INPUTS, TARGET, skip_broken=True, skipped=skipped)
    assert examples.arrays["x"].tolist() == [[2, 1], [6, 5], [7, 6]]
    assert examples.arrays["t"].ravel().tolist() == [3, 7, 8]
    assert len(skipped) == 1


def test_the_last_rows_of_each_series_are_held_out(tmp_path: Path) -> None:
    rows = [f"{name},{base + row}" for row in range(6) for name, base in (("a", 0), ("b", 100))]
    write(tmp_path, "\n".join(["station,v", *rows]) + "\n")
    data = f'csv("s.csv") -> by("station") {LAGGED}'
    examples = load(tmp_path, data, INPUTS, TARGET, validation=0.25)
    held_out = examples.arrays["t"][examples.parts["validation"]].ravel().tolist()
    assert held_out == [5, 105]
    assert examples.arrays["t"][examples.parts["training"]].ravel().tolist() == [2, 3, 4, 102, 103, 104]
    shuffled = load(tmp_path, f'{data} -> split(order: "random")', INPUTS, TARGET, validation=0.25, seed=3)
    assert sorted(np.concatenate(list(shuffled.parts.values())).tolist()) == list(range(8))
    assert shuffled.arrays["t"][shuffled.parts["validation"]].ravel().tolist() != held_out


def test_lags_and_targets_are_not_filled(tmp_path: Path) -> None:
    """A missing number leaves out its own row and those that reach back to it; other columns are filled."""
    write(tmp_path, column("v,w", ["1,1", "2,", "3,3", ",5", "5,7", "6,9", "7,11", "8,13"]))
    data = (
        'csv("s.csv") -> fill("mean") -> lag("v", steps: 2) -> columns(inputs: ["v_lag2", "w"], targets: "v")'
        ' -> split(order: "time")'
    )
    examples = load(tmp_path, data, INPUTS, TARGET, validation=0.25)
    assert examples.arrays["x"].tolist() == [[1, 3], [3, 7], [5, 11], [6, 13]]
    assert examples.arrays["t"].ravel().tolist() == [3, 5, 7, 8]
    assert {name: part.tolist() for name, part in examples.parts.items()} == {
        "training": [0, 1, 2],
        "validation": [3],
        "test": [],
    }


def test_several_requests_add_up(tmp_path: Path) -> None:
    write(tmp_path, column("v,w", ["1,10", "2,20", "3,30"]))
    data = 'csv("s.csv") -> lag("v") -> lag(["w"], steps: [2]) -> columns(inputs: ["v_lag1", "w_lag2"], targets: "v")'
    assert load(tmp_path, data, INPUTS, TARGET).arrays["x"].tolist() == [[2, 10]]


# A table, its stages, and the diagnostic
REFUSED: dict[str, tuple[str, str, str]] = {
    "windows": (
        "v\n1\n2\n3\n",
        'lag("v") -> window("v", length: 1)',
        "E823 : a window holds earlier rows itself, and `lag` is for `columns(...)`",
    ),
    "a column that is not there": (
        "v\n1\n2\n3\n",
        'lag("w") -> columns(inputs: "w_lag1", targets: "v")',
        "E822 : HERE/s.csv has no column `w`",
    ),
    "a lag that nobody asked for": (
        "v\n1\n2\n3\n",
        'lag("v") -> columns(inputs: "v_lag2", targets: "v")',
        "E822 : HERE/s.csv has no column `v_lag2`",
    ),
    "a name that is there": (
        "v,v_lag1\n1,1\n2,2\n3,3\n",
        'lag("v") -> columns(inputs: "v_lag1", targets: "v")',
        "E823 : `lag` adds a column `v_lag1`, and there is one of this name",
    ),
    "a lag twice": (
        "v\n1\n2\n3\n",
        'lag("v") -> lag("v", steps: [2, 1]) -> columns(inputs: "v_lag1", targets: "v")',
        "E608 : `v_lag1` is added twice; one of the two would have no effect",
    ),
    "a lag of texts": (
        "v,w\n1,a\n2,b\n3,c\n",
        'lag("w") -> columns(inputs: "w_lag1", targets: "v")',
        "E821 HERE/s.csv:2: column `w`: `a` is not a number",
    ),
    "later rows": (
        "v\n1\n2\n3\n",
        'lag("v", steps: [1, -1]) -> columns(inputs: "v_lag1", targets: "v")',
        "E605 : `steps` of `lag` must be a whole number of at least 1, or a list of them, got a list of 2 items",
    ),
    "a step twice": (
        "v\n1\n2\n3\n",
        'lag("v", steps: [1, 1]) -> columns(inputs: "v_lag1", targets: "v")',
        "E605 : `lag`: no column and no step may be named twice",
    ),
    "fewer rows than steps": (
        "v\n1\n2\n3\n",
        'lag("v", steps: 3) -> columns(inputs: "v_lag3", targets: "v")',
        "E823 : no example is left to train on",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_lag_is_refused(tmp_path: Path, case: str) -> None:
    content, stages, expected = REFUSED[case]
    write(tmp_path, content)
    assert refused(tmp_path, f'csv("s.csv") -> {stages}', inputs="x: f64[batch, 1]") == expected


MODEL = """
model Forecaster {
    input x: f32[batch, 2]
    output y = x -> Dense(1)
}
train Forecaster {
    target next: f32[batch, 1]
    loss mse(y, next)
    epochs 2
    validation 0.25
    data csv("s.csv") -> by("station") -> lag("v", steps: [1, 3]) -> standardize()
        -> columns(inputs: ["v_lag1", "v_lag3"], targets: "v")
}
"""


@pytest.mark.parametrize("most", [4, 1000])  # rows that are read at once
def test_predictions_read_the_earlier_rows_of_their_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Also of a row whose own number is not known yet."""
    values = np.random.default_rng(0).normal(size=(2, 30)).round(4)

    def table(count: int, last: str) -> str:
        rows = [f"{s},{values[s, row]}" for row in range(count) for s in (0, 1)]
        return "\n".join(["station,v", *rows, f"1,{last}", f"0,{last}"]) + "\n"

    write(tmp_path, table(29, "0.5"))
    write(tmp_path, table(10, ""), "later.csv")
    (tmp_path / "m.model").write_text(MODEL)
    succeed("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q")
    monkeypatch.setattr(Predictor, "batch", lambda *_: most)
    for model in ("run", "run/model.onnx"):
        done = succeed("predict", tmp_path / model, tmp_path / "later.csv", "--json", "-q")
        predicted = json.loads(done.stdout)
        order = [(s, row) for row in range(3, 10) for s in (0, 1)] + [(1, 10), (0, 10)]
        assert [row["station"] for row in predicted] == [str(s) for s, _ in order]
        np.save(tmp_path / "x.npy", np.array([[values[s, r - 1], values[s, r - 3]] for s, r in order], np.float32))
        done = invoke("run", tmp_path / "run", tmp_path / "x.npy", "--json", "-q")
        expected = np.ravel(json.loads(done.stdout)["y"])
        np.testing.assert_allclose([row["predicted_v"] for row in predicted], expected, rtol=1e-4, atol=1e-5)
    done = invoke("run", tmp_path / "run", tmp_path / "later.csv", "-q")
    assert done.exit_code == 2 and "`nablac predict` makes `v_lag1` of the table" in done.output
