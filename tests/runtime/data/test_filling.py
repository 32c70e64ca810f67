"""Missing cells: what fills them, from which rows, and what is never filled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.data.examples import fitted_to
from runtime.data.filling import Fill, filled, gaps_of, interpolated
from runtime.data.fitted import facts_of, parse_facts
from tests.command_line import succeed
from tests.runtime.data.descriptions import load, refused
from tests.runtime.data.forecasters import forecaster, write_stations

INPUTS = "x: f64[batch, time, 2]"


def forward(cells: Sequence[float | None], before: float) -> list[float]:
    """Each cell, or the last one before that is there."""
    whole = []
    for cell in cells:
        before = before if cell is None else cell
        whole.append(before)
    return whole


def write(folder: Path, text: str) -> None:
    (folder / "s.csv").write_text(text)


@given(st.lists(st.one_of(st.none(), st.floats(-9, 9)), min_size=1, max_size=20))
def test_forward_is_the_last_number_before(cells: list[float | None]) -> None:
    """And the mean where there is none before."""
    column = np.array([np.nan if cell is None else cell for cell in cells])
    by = filled(column[:, None], ["v"], [Fill("forward")], {"v": 100.0})[:, 0]
    np.testing.assert_array_equal(by, forward(cells, 100.0))
    by_mean = filled(column[:, None], ["v"], [Fill("mean")], {"v": 100.0})[:, 0]
    np.testing.assert_array_equal(by_mean, [100.0 if cell is None else cell for cell in cells])


@given(
    st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=2, max_size=20),
    st.integers(1, 19),
    st.sampled_from(["forward", "mean", "interpolate"]),
)
def test_blocks_are_filled_as_the_whole(cells: list[float | None], cut: int, method: Any) -> None:
    column = np.array([np.nan if cell is None else cell for cell in cells])[:, None]
    cut = min(cut, len(column) - 1)
    whole = filled(column, ["v"], [Fill(method)], {"v": 0.5})
    first = filled(column[:cut], ["v"], [Fill(method)], {"v": 0.5})
    second = filled(column[cut:], ["v"], [Fill(method)], {"v": 0.5}, first[-1])
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=5, max_size=5).filter(
            lambda row: set(row) != {None}
        ),
        min_size=1,
        max_size=4,
    )
)
def test_gaps_between_numbers_of_a_window_lie_on_a_line(rows: list[list[int | None]]) -> None:
    """As NumPy's interpolation has it; before the first number and after the last what filled them stays."""
    table = np.array([[np.nan if cell is None else cell for cell in row] for row in rows])[:, :, None]
    gaps = np.stack([gaps_of(row, ["v"], [Fill("interpolate")]) for row in table])
    windows = interpolated(np.where(gaps, 77.0, table), gaps)
    for window, row in zip(windows[..., 0], table[..., 0], strict=True):
        known = np.flatnonzero(~np.isnan(row))
        np.testing.assert_allclose(window, np.interp(range(5), known, row[known], left=77, right=77), rtol=1e-14)


def test_windows_interpolate_and_hold_nothing_of_later_rows(tmp_path: Path) -> None:
    """Two series; a gap at the end of a window has the number before, the same gap within one lies on a line."""
    first, second = ["", "0", "", "", "6", "", "8"], ["100", "", "120", "", "", "", "200"]
    rows = [f"{name},{cell},{cell},7" for name, cells in (("a", first), ("b", second)) for cell in cells]
    write(tmp_path, "station,v,w,t\n" + "\n".join(rows) + "\n")
    data = (
        'csv("s.csv") -> by("station") -> fill("interpolate", columns: "v", flag: true)'
        ' -> fill("forward", columns: "w") -> window(["v", "w", "missing_v"], length: 4, target: "t")'
    )
    examples = load(tmp_path, data, "x: f64[batch, time, 3]", "t: f64[batch, 1]")
    mean = (0 + 6 + 8 + 100 + 120 + 200) / 6
    x = examples.arrays["x"]
    np.testing.assert_allclose(
        x[..., 0],
        [[mean, 0, 0, 0], [0, 2, 4, 6], [0, 0, 6, 6], [100, 110, 120, 120], [100, 120, 120, 120], [120] * 4],
        rtol=1e-15,
    )
    assert x[1, :, 1].tolist() == [0, 0, 0, 6]
    assert x[3, :, 1].tolist() == [100, 100, 120, 120]
    assert x[1, :, 2].tolist() == [0, 1, 1, 0]


def test_windows_are_filled_within_each_series_and_flagged(tmp_path: Path) -> None:
    rows = ["a,1,7", "b,10,7", "a,,7", "b,NA,7", "a,3,7", "b,12,7", "a,4,7", "b,13,7", "a,5,7", "b,14,7"]
    write(tmp_path, "station,v,t\n" + "\n".join(rows) + "\n")
    data = (
        'csv("s.csv") -> by("station") -> fill("forward", flag: true)'
        ' -> window(["v", "missing_v"], length: 3, target: "t")'
    )
    examples = load(tmp_path, data, INPUTS, "t: f64[batch, 1]")
    assert examples.arrays["x"][..., 0].tolist() == [[1, 1, 3], [1, 3, 4], [10, 10, 12], [10, 12, 13]]
    assert examples.arrays["x"][..., 1].tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_the_mean_is_that_of_the_training_rows(tmp_path: Path) -> None:
    values = ["", "1", "2", "nan", "6", "100", "", "100"]
    write(tmp_path, "v,t\n" + "".join(f"{value},{row}\n" for row, value in enumerate(values)))
    data = 'csv("s.csv") -> fill("mean") -> window("v", length: 2, target: "t")'
    examples = load(tmp_path, data, "x: f64[batch, time, 1]", "t: f64[batch, 1]", validation=3 / 8)
    assert examples.fills == {"v": 3.0, "t": 2.0}
    assert examples.arrays["x"][..., 0].tolist() == [[3, 1], [1, 2], [2, 3], [3, 6], [6, 100], [100, 3]]


def test_a_missing_target_is_not_filled(tmp_path: Path) -> None:
    write(tmp_path, "v\n" + "".join(f"{value}\n" for value in ("1", "2", "nan", "4", "5", "6")))
    notes: dict[str, list[str]] = {}
    data = 'csv("s.csv") -> fill("forward") -> window("v", length: 2)'
    examples = load(tmp_path, data, "x: f64[batch, time, 1]", "t: f64[batch, 1]", notes=notes)
    assert examples.arrays["x"][..., 0].tolist() == [[2, 2], [2, 4], [4, 5]]
    assert examples.arrays["t"].ravel().tolist() == [4, 5, 6]
    assert list(notes) == ["1 window is left out, since targets in it are missing"]


def test_rows_of_a_table_are_filled_by_the_mean_of_the_training_part(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=40).round(3).tolist()
    cells = ["" if row % 7 == 3 else str(value) for row, value in enumerate(values)]
    targets = ["?" if row == 5 else str(row) for row in range(40)]
    write(tmp_path, "v,t\n" + "".join(f"{v},{t}\n" for v, t in zip(cells, targets, strict=True)))
    notes: dict[str, list[str]] = {}
    data = 'csv("s.csv") -> fill("mean", flag: true) -> columns(inputs: ["v", "missing_v"], targets: "t")'
    examples = load(tmp_path, data, "x: f64[batch, 2]", "t: f64[batch, 1]", validation=0.25, notes=notes)
    assert list(notes) == ["1 row is left out, since targets in it are missing"]
    rows = examples.arrays["t"].ravel().astype(int)
    training = [values[row] for row in rows[examples.parts["training"]] if row % 7 != 3]
    assert examples.fills["v"] == pytest.approx(np.mean(training), rel=1e-12)
    expected = [[examples.fills["v"], 1] if row % 7 == 3 else [values[row], 0] for row in rows]
    assert examples.arrays["x"].tolist() == expected


def test_fills_by_column(tmp_path: Path) -> None:
    write(tmp_path, "a,b,t\n1,1,0\n,,0\n3,3,0\n4,4,0\n")
    data = 'csv("s.csv") -> fill("mean") -> fill("forward", columns: "b") -> window(["a", "b"], length: 3, target: "t")'
    examples = load(tmp_path, data, INPUTS, "t: f64[batch, 1]")
    assert examples.arrays["x"][0].tolist() == [[1, 1], [pytest.approx(8 / 3), 1], [3, 3]]


def test_what_fills_is_kept_and_read_back(tmp_path: Path) -> None:
    write(tmp_path, "v\n1\n2\nnan\n4\n5\n6\n")
    data = 'csv("s.csv") -> fill("mean") -> window("v", length: 2)'
    fitted = fitted_to(load(tmp_path, data, "x: f64[batch, time, 1]", "t: f64[batch, 1]"))
    facts = json.loads(json.dumps(facts_of(fitted)))
    assert parse_facts(facts, None).fills == {"v": 3.6}
    for fills in ({}, {"v": "3"}, {"v": float("inf")}):
        with pytest.raises((ValueError, TypeError)):
            parse_facts({**facts, "fills": fills}, None)


# A table, its description, and the diagnostic
REFUSED: dict[str, tuple[str, str, str]] = {
    "a cell that is no number": (
        "v\n1\nx\n3\n4\n",
        'fill("mean") -> window("v", length: 2)',
        "E821 HERE/s.csv:3: column `v`: `x` is not a number",
    ),
    "infinity": (
        "v\n1\ninf\n3\n4\n",
        'fill("mean") -> window("v", length: 2)',
        "E821 HERE/s.csv:3: column `v`: `inf` is not a number",
    ),
    "a column that is not there": (
        "v\n1\n2\n3\n",
        'fill("mean", columns: "w") -> window("v", length: 2)',
        "E822 : HERE/s.csv has no column `w`",
    ),
    "another column than the filled one": (
        "v,w\n1,1\n,2\n3,3\n",
        'fill("mean", columns: "w") -> window("v", length: 2)',
        "E821 HERE/s.csv:3: column `v`: the cell is empty",
    ),
    "flags that nobody asked for": (
        "v\n1\n2\n3\n",
        'fill("mean") -> window("missing_v", length: 2)',
        "E822 : HERE/s.csv has no column `missing_v`",
    ),
    "no number in the training part": (
        "v,t\n,1\n,1\nNA,1\n",
        'fill("mean") -> window("v", length: 2, target: "t")',
        "E823 : column `v` of HERE/s.csv has no number in the training part, by which missing ones are filled",
    ),
    "interpolation of rows in no order": (
        "v,t\n1,1\n,1\n3,3\n",
        'fill("interpolate") -> columns(inputs: "v", targets: "t")',
        'E823 : column `v`: `fill("interpolate")` goes by the order of the rows of a series',
    ),
    "rows in no order": (
        "v,t\n1,1\n,1\n",
        'fill("forward") -> columns(inputs: "v", targets: "t")',
        'E823 : column `v`: `fill("forward")` goes by the order of the rows of a series',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_filled_is_refused(tmp_path: Path, case: str) -> None:
    content, stages, expected = REFUSED[case]
    write(tmp_path, content)
    assert refused(tmp_path, f'csv("s.csv") -> {stages}', inputs="x: f64[batch, time, 1]") == expected


def test_a_column_cannot_be_filled_twice(tmp_path: Path) -> None:
    with pytest.raises(NablacError, match="`v` is filled twice; one of the two would have no effect"):
        load(tmp_path, 'csv("s.csv") -> fill("mean", columns: "v") -> fill("forward", columns: "v")')


FORECASTER = forecaster(
    'by("station") -> fill("forward", flag: true) -> standardize(columns: "v")'
    ' -> window(["v", "missing_v"], length: 6, horizon: 2, target: "v")',
    *(6, 2, 2),
)


def test_predictions_fill_what_is_missing_as_in_training(tmp_path: Path) -> None:
    """The same forecasts as of a table whose cells were filled by hand; every form of the model agrees."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(2, 40)).round(4)
    missing = generator.random((2, 40)) < 0.2
    missing[:, 0], missing[:, -1] = False, True
    cells = [[None if missing[s, row] else float(values[s, row]) for row in range(40)] for s in (0, 1)]
    by_hand = [forward(column, 0.0) for column in cells]
    times = [f"2024-01-01 {row % 24:02d}:00" for row in range(40)]
    write_stations(tmp_path / "s.csv", times, [["" if cell is None else cell for cell in column] for column in cells])
    (tmp_path / "m.model").write_text(FORECASTER)
    succeed("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q")
    forecasts = {}
    for model in ("run", "run/model.onnx"):
        done = succeed("predict", tmp_path / model, tmp_path / "s.csv", "--keep", "none", "--json", "-q")
        forecasts[model] = json.loads(done.stdout)
    assert [row["station"] for row in forecasts["run"]] == ["0", "0", "1", "1"]
    numbers = {model: [row["predicted_v"] for row in rows] for model, rows in forecasts.items()}
    np.testing.assert_allclose(numbers["run"], numbers["run/model.onnx"], rtol=1e-4, atol=1e-5)
    windows = np.stack([np.stack([by_hand[s][-6:], missing[s, -6:]], axis=1) for s in (0, 1)]).astype(np.float32)
    np.save(tmp_path / "x.npy", windows)
    done = succeed("run", tmp_path / "run", tmp_path / "x.npy", "--json", "-q")
    np.testing.assert_allclose(numbers["run"], np.ravel(json.loads(done.stdout)["y"]), rtol=1e-5)
    done = succeed("eval", tmp_path / "run", "--backtest", "--json", "-q")
    column = json.loads(done.stdout)["figures"]["next"]["columns"]["v"]
    held_out = [(s, row) for s in (0, 1) for row in range(30, 39)]
    judged = [(s, at) for s, row in held_out for at in (row, row + 1) if not missing[s, at]]
    assert column["count"] == len(judged) > 0


INTERPOLATING = forecaster('fill("interpolate") -> standardize() -> window("v", length: 4)', 4)


def test_predictions_interpolate_within_each_window(tmp_path: Path) -> None:
    """Forecasts, those of the past and those that feed back are what the model says of windows filled by hand."""
    cells = [float(value) for value in np.random.default_rng(0).normal(size=80).round(4)]
    gaps = {20, 33, 34, 51, 75, 77, 79}
    text = "v\n" + "".join("NA\n" if row in gaps else f"{value!r}\n" for row, value in enumerate(cells))
    write(tmp_path, text)
    (tmp_path / "m.model").write_text(INTERPOLATING)

    def said(*arguments: object) -> Any:
        done = succeed(*arguments, "--json", "-q")
        return json.loads(done.stdout)

    succeed("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q")

    def run(windows: list[list[float]]) -> list[float]:
        np.save(tmp_path / "x.npy", np.array(windows, np.float32)[:, :, None])
        return [float(row[0]) for row in said("run", tmp_path / "run", tmp_path / "x.npy")["y"]]

    def by_hand(rows: range, known: dict[int, float]) -> list[float]:
        inside = [row for row in rows if row in known]
        before = known[max(row for row in known if row < rows[0])] if rows[0] else np.nan
        return np.interp(rows, inside, [known[row] for row in inside], left=before).tolist()

    known = {row: value for row, value in enumerate(cells) if row not in gaps}
    past = said("predict", tmp_path / "run", tmp_path / "s.csv", "--all", "--keep", "none")
    assert [row["row"] for row in past] == list(range(5, 82))
    expected = run([by_hand(range(begin, begin + 4), known) for begin in range(77)])
    np.testing.assert_allclose([row["predicted_v"] for row in past], expected, rtol=1e-4, atol=1e-5)

    steps = said("predict", tmp_path / "run", tmp_path / "s.csv", "--steps", 3, "--keep", "none")
    for row, step in enumerate(steps, 80):
        (known[row],) = run([by_hand(range(row - 4, row), known)])
        assert step["predicted_v"] == pytest.approx(known[row], rel=1e-4, abs=1e-5)

    examples = load(tmp_path, 'csv("s.csv") -> fill("interpolate") -> window("v", length: 4)', "x: f64[batch, time, 1]")
    trained = [row for row in range(4, 80) if row not in gaps]
    np.testing.assert_allclose(
        examples.arrays["x"][..., 0],
        [by_hand(range(row - 4, row), {at: cells[at] for at in range(80) if at not in gaps}) for row in trained],
        rtol=1e-12,
    )


def test_a_backtest_interpolates_as_the_windows_of_examples(tmp_path: Path) -> None:
    """Of a model that predicts one row, and does not read it, both judge the same forecasts."""
    generator = np.random.default_rng(1)
    cells = ["" if row % 3 == 1 else repr(value) for row, value in enumerate(generator.normal(size=60).tolist())]
    write(tmp_path, "v,t\n" + "".join(f"{v},{t}\n" for v, t in zip(cells, generator.normal(size=60), strict=True)))
    (tmp_path / "m.model").write_text(INTERPOLATING.replace("length: 4", 'length: 4, target: "t"'))
    succeed("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q")
    done = succeed("eval", tmp_path / "run", "--backtest", "--json", "-q")
    facts = json.loads(done.stdout)["figures"]["next"]
    of_examples, of_backtest = facts["columns"]["t"], facts["backtest"]["columns"]["t"]
    assert of_examples["count"] == of_backtest["count"] == 15
    assert of_examples["mae"] == pytest.approx(of_backtest["mae"], rel=1e-5)
