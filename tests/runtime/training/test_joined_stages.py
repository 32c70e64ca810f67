"""Stages of tables that meet in one description, in memory and on disk, against arrays made by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from compiler.model_spec import EXAMPLE_WEIGHT, mask_name
from compiler.types import DType
from runtime.data import table_blocks
from runtime.data.file_rows import VARIABLE
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.models import text_source

FORECAST = """
model M {
    input x: f64[batch, 3, 2], k: f64[batch, 2, 1]
    param a: [3, 2] ~ normal(0, 1)
    param b: [2, 2] ~ normal(0, 1)
    output y = x[:, :, 0] @ a + k[:, :, 0] @ b
}
train M {
    target t: f64[batch, 2]
    loss mse(y, t)
    metric mae(y, t)
    batch 4; shuffle false; validation 0.3
    data csv("s.csv") -> by("s") -> fill("forward") -> weights(column: "w")
        -> window(["v", "p"], length: 3, horizon: 2, target: "v", known: "p")
}
"""
ROWS, AHEAD = 20, 3
Table = dict[str, np.ndarray]  # the columns of a series


def table(lacks: bool) -> dict[str, Table]:
    """Two series, some of whose cells are missing; of the last rows of each `p` alone is known."""
    random = np.random.default_rng(8)
    series = {}
    for name in "ab":
        columns = {column: random.normal(size=ROWS + AHEAD).round(3) for column in "vp"}
        columns["w"] = random.uniform(0.5, 2, ROWS + AHEAD).round(3)
        columns["v"][ROWS:] = columns["w"][ROWS:] = np.nan
        if lacks:
            columns["v"][[3, 7, 8, 9, 15, 18]] = columns["p"][[2, 9]] = np.nan
        series[name] = columns
    return series


def write(path: Path, series: dict[str, Table]) -> None:
    """The rows of both series in turns."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["s", "v", "p", "w"])
        for row in range(ROWS + AHEAD):
            for name, columns in series.items():
                numbers = (float(columns[column][row]) for column in "vpw")
                rows.writerow([name, *("" if np.isnan(number) else number for number in numbers)])


def forward(numbers: np.ndarray) -> np.ndarray:
    filled = numbers.copy()
    for row in range(1, len(filled)):
        filled[row] = filled[row - 1] if np.isnan(filled[row]) else filled[row]
    return filled


BORDER = ROWS - round(0.3 * ROWS)  # the first row of the validation part


def windows(series: dict[str, Table], part: str, border: int = BORDER) -> dict[str, np.ndarray]:
    """The arrays of the windows whose targets are in a part."""
    arrays: dict[str, list[np.ndarray]] = {"x": [], "k": [], "t": [], "w": []}
    for columns in series.values():
        past = np.stack([forward(columns["v"][:ROWS]), forward(columns["p"][:ROWS])], axis=1)
        for start in range(ROWS - 4):
            target = columns["v"][start + 3 : start + 5]
            is_in = start + 5 <= border if part == "training" else start + 3 >= border
            if is_in and not np.isnan(target).all():
                arrays["x"].append(past[start : start + 3])
                arrays["k"].append(past[start + 3 : start + 5, 1:])
                arrays["t"].append(target)
                arrays["w"].append(columns["w"][start + 3 : start + 5].mean())
    return {name: np.array(rows) for name, rows in arrays.items()}


@pytest.fixture(params=["in memory", "on disk"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "on disk":
        monkeypatch.setenv(VARIABLE, "1")
        monkeypatch.setattr(table_blocks, "_AT_ONCE", 7)
    return str(request.param)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("lacks", [False, True])
def test_known_columns_with_missing_targets_and_weights(lacks: bool, tmp_path: Path) -> None:
    series = table(lacks)
    write(tmp_path / "s.csv", series)
    run = Training(text_source(FORECAST, tmp_path, dtype=DType.F64))
    state = run.first_state()
    for part in ("training", "validation"):
        expected, rows = windows(series, part), run.data.parts[part]
        read = {name: array[rows] for name, array in run.data.arrays.items()}
        there = ~np.isnan(expected["t"])
        assert read["x"].tolist() == expected["x"].tolist()
        assert read["k"].tolist() == expected["k"].tolist()
        assert read["t"][there].tolist() == expected["t"][there].tolist()
        np.testing.assert_allclose(read[EXAMPLE_WEIGHT], expected["w"], rtol=1e-12)
        assert (mask_name("t") in read) == lacks
        if lacks:
            assert read[mask_name("t")].tolist() == there.tolist()
    y = expected["x"][:, :, 0] @ state["a"] + expected["k"][:, :, 0] @ state["b"]
    errors, counts = y - expected["t"], there * expected["w"][:, None]
    measured = run.evaluate("validation")
    assert measured["loss"] == pytest.approx(np.nansum(counts * errors**2) / counts.sum(), rel=1e-10)
    assert measured["mae"] == pytest.approx(np.nanmean(abs(errors)), rel=1e-10)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("lacks", [False, True])
def test_another_table_takes_its_place(lacks: bool, tmp_path: Path) -> None:
    """`--data` with missing targets for a block that saw none, and the other way around."""
    write(tmp_path / "s.csv", table(not lacks))
    write(tmp_path / "other.csv", table(lacks))
    options = Options(data=str(tmp_path / "other.csv"))
    run = Training(text_source(FORECAST, tmp_path, dtype=DType.F64), options=options)
    expected = windows(table(lacks), "training")
    assert run.data.arrays["x"][run.data.parts["training"]].tolist() == expected["x"].tolist()
    assert (mask_name("t") in run.data.arrays) == lacks


REVIEWS = """
model M {
    input review: i64[batch, T], city: i64[batch], price: f64[batch, 1]
    text = review -> Embedding(20, 2) -> mean(axis: 1)
    output y = concat([text, city -> Embedding(4, 2), price], axis: -1) -> Dense(2)
}
train M {
    target t: f64[batch, 2]
    loss mse(y, t)
    data csv("r.csv") -> by("shop") -> tokens(columns: "review", length: 3) -> categories("city")
        -> fill("mean") -> columns(inputs: ["review", "city", "price"], targets: ["t0", "t1"])
        -> weights(column: "w")
}
"""
CELLS = """shop,review,city,price,t0,t1,w
north,good food,Rome,2,1,5,0.5
south,bad,Rome,,2,,1
north,good,Oslo,4,,,2
south,good bad food good,Bern,6,4,8,3
"""


def test_texts_classes_gaps_weights_and_missing_targets_of_series(tmp_path: Path) -> None:
    """Rows of one series after the other; the third, without any target, is left out, with its text and its class."""
    (tmp_path / "r.csv").write_text(CELLS)
    run = Training(text_source(REVIEWS, tmp_path, dtype=DType.F64))
    arrays = run.data.arrays
    tokenizer = run.data.tokenizers["review"]
    assert [tokenizer.decode(row) for row in arrays["review"].tolist()] == ["good food", "bad", "good bad food"]
    assert (arrays["city"].tolist(), run.data.classes["city"]) == ([1, 1, 0], ("", "Rome"))
    assert arrays["price"].ravel().tolist() == [2, 4, 6]  # the mean of the two that stay
    assert arrays["t"][:, 0].tolist() == [1, 2, 4]
    assert arrays[mask_name("t")].tolist() == [[1, 1], [1, 0], [1, 1]]
    assert arrays[EXAMPLE_WEIGHT].tolist() == [0.5, 1, 3]
    assert run.evaluate("training")["loss"] > 0
