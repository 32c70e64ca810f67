"""Columns that are known of the rows to predict: which rows each window has of them, and that it has no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.data.examples import Examples, fitted_to
from runtime.data.fitted import facts_of, parse_facts
from tests.command_line import succeed
from tests.models import spec_of
from tests.runtime.data.descriptions import load, refused

INPUTS = "x: f64[batch, time, 1]; input k: f64[batch, later, 1]"
TARGET = "t: f64[batch, rows, 1]"


def write(folder: Path, header: str, *rows: str) -> None:
    (folder / "s.csv").write_text("\n".join([header, *rows]) + "\n")


def examples_of(folder: Path, stages: str, inputs: str = INPUTS, **context: object) -> Examples:
    return load(folder, f'csv("s.csv") -> {stages}', inputs, TARGET, **context)


def columns(examples: Examples, name: str) -> list[list[float]]:
    """The first column of an array of windows."""
    return examples.arrays[name][..., 0].tolist()


# Of rows 0 to 7 with v = 10, 11, .. and p = 0, 100, ..: arguments, and the first and last window of each array
WINDOWS: dict[str, tuple[str, list[list[int]], list[list[int]], list[list[int]]]] = {
    "the rows after the window": ("length: 3, horizon: 2", [[10, 11, 12], [13, 14, 15]], [[300, 400], [600, 700]], []),
    "one row": ("length: 3", [[10, 11, 12], [14, 15, 16]], [[300], [700]], []),
    "every row of a shift": (
        "length: 3, horizon: 3, shift: 1",
        [[10, 11, 12], [14, 15, 16]],
        [[100, 200, 300], [500, 600, 700]],
        [[11, 12, 13], [15, 16, 17]],
    ),
    "over a gap": ("length: 2, horizon: 1, shift: 4", [[10, 11], [13, 14]], [[400], [700]], [[14], [17]]),
    "of a stride": ("length: 2, horizon: 2, stride: 3", [[10, 11], [13, 14]], [[200, 300], [500, 600]], []),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_known_columns_are_those_of_the_rows_to_predict(tmp_path: Path, case: str) -> None:
    arguments, inputs, known, targets = WINDOWS[case]
    write(tmp_path, "v,p", *(f"{10 + row},{100 * row}" for row in range(8)))
    examples = examples_of(tmp_path, f'window("v", {arguments}, known: "p")')
    assert columns(examples, "x")[:: len(examples) - 1] == inputs
    assert columns(examples, "k")[:: len(examples) - 1] == known
    if targets:
        assert columns(examples, "t")[:: len(examples) - 1] == targets
    assert (examples.known, examples.columns["k"]) == (("k",), ("p",))


def test_a_column_may_be_read_of_the_past_and_of_the_future(tmp_path: Path) -> None:
    write(tmp_path, "v,p", *(f"{row},{100 * row}" for row in range(5)))
    inputs = "x: f64[batch, time, 2]; input k: f64[batch, later, 1]"
    examples = examples_of(tmp_path, 'window(["v", "p"], length: 2, horizon: 2, known: "p", target: "v")', inputs)
    assert examples.arrays["x"][1].tolist() == [[1, 100], [2, 200]]
    assert columns(examples, "k")[1] == [300, 400]


def test_series_have_known_columns_of_their_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        "s,v,p",
        *(f"{name},{row},{start + row}" for row in range(5) for name, start in (("a", 10), ("b", 50))),
    )
    examples = examples_of(tmp_path, 'by("s") -> window("v", length: 2, horizon: 2, known: "p")')
    assert columns(examples, "k") == [[12, 13], [13, 14], [52, 53], [53, 54]]


# What fills the cells of p, and the known rows of the windows of one row before them. `.` is a missing cell.
CELLS = "1 . 3 . . 6 ."
FILLED: dict[str, list[list[float]]] = {
    '"forward"': [[1, 3, 3], [3, 3, 3], [3, 3, 6], [3, 6, 6]],
    '"mean"': [[10 / 3, 3, 10 / 3], [3, 10 / 3, 10 / 3], [10 / 3, 10 / 3, 6], [10 / 3, 6, 10 / 3]],
    # between two numbers of the rows to predict; before the first of these the number before
    '"interpolate"': [[1, 3, 3], [3, 3, 3], [3, 3, 6], [3, 6, 6]],
}


@pytest.mark.parametrize("method", FILLED)
def test_known_columns_are_filled(tmp_path: Path, method: str) -> None:
    write(tmp_path, "v,p", *(f"{row},{cell.strip('.')}" for row, cell in enumerate(CELLS.split())))
    examples = examples_of(tmp_path, f'fill({method}) -> window("v", length: 1, horizon: 3, known: "p")')
    np.testing.assert_allclose(columns(examples, "k"), FILLED[method])


def test_gaps_of_known_columns_lie_on_a_line(tmp_path: Path) -> None:
    write(
        tmp_path, "v,p", *(f"{row},{cell.strip('.')}" for row, cell in enumerate(["9", "0", ".", ".", "6", ".", "12"]))
    )
    stages = 'fill("interpolate", flag: true) -> window("v", length: 1, horizon: 5, known: ["p", "missing_p"])'
    examples = examples_of(tmp_path, stages, INPUTS.replace("later, 1", "later, 2"))
    assert examples.arrays["k"].tolist() == [
        [[0, 0], [2, 1], [4, 1], [6, 0], [6, 1]],  # after the last number of the rows it stays
        [[0, 1], [0, 1], [6, 0], [9, 1], [12, 0]],
    ]


def test_features_of_dates_are_known(tmp_path: Path) -> None:
    times = np.datetime64("2024-02-28T22:00") + np.arange(6) * np.timedelta64(1, "h")
    write(tmp_path, "time,v", *(f"{time},{row}" for row, time in enumerate(times)))
    stages = 'calendar("time", features: "hour") -> window("v", length: 2, horizon: 2, known: ["hour", "hour_sin"])'
    examples = examples_of(tmp_path, stages, INPUTS.replace("later, 1", "later, 2"))
    hours = np.array([[0, 1], [1, 2], [2, 3]])
    np.testing.assert_allclose(examples.arrays["k"], np.stack([hours, np.sin(2 * np.pi * hours / 24)], axis=-1))


@pytest.mark.parametrize("order", ["time", "random"])
def test_a_column_has_one_scaling_wherever_it_is_read(tmp_path: Path, order: str) -> None:
    generator = np.random.default_rng(0)
    table = generator.normal([5, 100], [1, 20], (40, 2)).round(3)
    write(tmp_path, "v,p", *(f"{v},{p}" for v, p in table.tolist()))
    stages = (
        f'standardize() -> split(validation: 0.25, order: "{order}")'
        ' -> window(["v", "p"], length: 2, horizon: 2, stride: 4, target: "v", known: "p")'
    )
    inputs = "x: f64[batch, time, 2]; input k: f64[batch, later, 1]"
    examples = examples_of(tmp_path, stages, inputs, keeps_raw=True)
    past, known, target = (examples.scalings[name] for name in "xkt")
    for one, other, index in ((past, known, 1), (past, target, 0)):
        np.testing.assert_allclose([one.offset[index], one.scale[index]], [other.offset[0], other.scale[0]], rtol=1e-14)
    if order == "time":
        training = table[:30]
    else:
        starts = 4 * examples.parts["training"]
        training = np.concatenate([table[start : start + 4] for start in starts])
    np.testing.assert_allclose(past.offset, training.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(known.scale, training[:, 1].std(), rtol=1e-12)
    expected = np.stack([table[start + 2 : start + 4, 1:] for start in range(0, 40, 4)])
    np.testing.assert_allclose(examples.arrays["k"], (expected - known.offset) / known.scale, rtol=1e-12)


def test_rows_to_predict_are_not_learnt_from(tmp_path: Path) -> None:
    """A table that ends in rows without targets gives the examples and the scalings of the rows before them."""
    rows = [f"{name},{row},{10 * row + start}" for row in range(8) for name, start in (("a", 0), ("b", 500))]
    later = [f"{name},,{9999}" for _ in range(3) for name in "ab"]
    stages = 'by("s") -> standardize() -> split(validation: 0.5) -> window("v", length: 2, known: "p")'
    write(tmp_path, "s,v,p", *rows)
    whole = examples_of(tmp_path, stages)
    write(tmp_path, "s,v,p", *rows, *later)
    notes: dict[str, list[str]] = {}
    longer = examples_of(tmp_path, stages, notes=notes)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(longer.arrays[name], array)
    for part, chosen in whole.parts.items():
        np.testing.assert_array_equal(longer.parts[part], chosen)
    message = "6 rows at the ends of series are to be predicted, and left out, since nothing is in `v`"
    assert notes == {message: [str(tmp_path / "s.csv")]}


@given(
    st.integers(0, 19), st.sampled_from(["v", "w", "t"]), st.sampled_from(["none", "forward", "interpolate"]), st.data()
)
def test_later_rows_of_other_columns_change_no_input(
    tmp_path_factory: pytest.TempPathFactory, row: int, column: str, method: str, data: Any
) -> None:
    """The inputs of a window depend on rows of the past, and on known columns of the rows to predict, alone."""
    folder = tmp_path_factory.mktemp("leak")
    cells = {name: list(map(float, range(start, start + 20))) for name, start in (("v", 0), ("w", 50), ("p", 90))}
    cells["t"] = [float(number**2) for number in range(20)]
    fill = "" if method == "none" else f'fill("{method}") -> '
    stages = f'{fill}window(["v", "w", "p"], length: 3, horizon: 2, target: "t", known: "p")'
    inputs = "x: f64[batch, time, 3]; input k: f64[batch, later, 1]"

    def arrays() -> dict[str, Any]:
        write(folder, ",".join(cells), *(",".join(map(str, numbers)) for numbers in zip(*cells.values(), strict=True)))
        return examples_of(folder, stages, inputs).arrays

    before = arrays()
    for later in range(row, 20):
        cells[column][later] = data.draw(st.floats(-999, 999))
    after = arrays()
    past = max(0, min(len(before["x"]), row - 2))  # windows of rows before the changed one alone
    np.testing.assert_array_equal(after["x"][:past], before["x"][:past])
    np.testing.assert_array_equal(after["k"], before["k"])


def test_inputs_take_them_by_order_by_name_or_by_column(tmp_path: Path) -> None:
    write(tmp_path, "v,p,q", *(f"{row},{10 * row},{100 * row}" for row in range(4)))
    stages = 'window("v", length: 2, known: ["p", "q"])'
    expected = {
        "x: f64[batch, 2, 1]; input later: f64[batch, 1, 2]": ("x", {"later": ("p", "q")}),
        "known: f64[batch, 1, 2]; input x: f64[batch, 2, 1]": ("x", {"known": ("p", "q")}),
        "q: f64[batch]; input v: f64[batch, 2]; input p: f64[batch, 1]": ("v", {"p": ("p",), "q": ("q",)}),
    }
    for inputs, (past, known) in expected.items():
        examples = examples_of(tmp_path, stages, inputs)
        assert {name: examples.columns[name] for name in examples.known} == known
        assert examples.arrays[past].ravel().tolist() == [0, 1, 1, 2]
        assert sorted(examples.known) == sorted(known)


def test_what_inputs_are_known_is_stored(tmp_path: Path) -> None:
    write(tmp_path, "v,p", *(f"{row},{10 * row}" for row in range(4)))
    fitted = fitted_to(examples_of(tmp_path, 'window("v", length: 2, known: "p")'))
    stored = json.loads(json.dumps(facts_of(fitted)))
    assert parse_facts(stored, None).known == fitted.known == ("k",)
    assert parse_facts({name: fact for name, fact in stored.items() if name != "known"}, None).known == ()
    with pytest.raises(ValueError, match="an input of known columns has none"):
        parse_facts({**stored, "known": ["z"]}, None)


def test_an_input_for_them_has_to_be_there(tmp_path: Path) -> None:
    write(tmp_path, "v,p,q", *(f"{row},{10 * row},0" for row in range(6)))
    with pytest.raises(NablacError) as caught:
        load(tmp_path, 'csv("s.csv") -> window("v", length: 2, horizon: 3, known: ["p", "q"])', INPUTS[:22], TARGET)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "no input of the model takes the known `p`, `q`: it has `x`"
    assert diagnostic.hint == "declare one more, after that of the window: `input future: [batch, 3, 2]`"
    message = "E822 : HERE/s.csv has no column `price`"
    assert refused(tmp_path, 'csv("s.csv") -> window("v", length: 2, known: "price")', inputs=INPUTS) == message


@pytest.mark.parametrize(
    "arguments",
    ['"v", length: 2, known: "v"', '["v", "p"], length: 2, known: "p"', '"v", length: 2, known: ["p", "p"]'],
)
def test_what_is_predicted_is_not_known(arguments: str) -> None:
    text = "model M { input x: [batch, 2, 1]; input k: [batch, 1, 1]; output y = x[:, -1] }\n"
    with pytest.raises(NablacError) as caught:
        spec_of(text + f'train M {{ target t: [batch, 1]; loss mse(y, t); data csv("s.csv") -> window({arguments}) }}')
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "`window`: `known` names each column once, and none that is predicted"
    assert diagnostic.hint == "what is predicted is `target`, or all `columns` if there is none"


def test_a_missing_cell_of_a_known_column_is_named(tmp_path: Path) -> None:
    write(tmp_path, "v,p", "1,1", "2,2", "3,", "4,4", "5,5")
    message = "E821 HERE/s.csv:4: column `p`: the cell is empty"
    assert refused(tmp_path, 'csv("s.csv") -> window("v", length: 2, known: "p")', inputs=INPUTS) == message


def test_check_needs_no_data_for_them(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text(
        "model M { input x: [batch, 2, 1]; input k: [batch, 1, 1]; output y = concat([x, k], axis: 1) -> GRU(1) }\n"
        "train M { target t: [batch, 1]; loss mse(y, t)\n"
        'data csv("s.csv") -> standardize("p") -> window("v", length: 2, known: "p") }\n'
    )
    succeed("check", tmp_path / "m.model")
