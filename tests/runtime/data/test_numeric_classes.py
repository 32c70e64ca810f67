"""Classes that are numbers: one class however a program writes the number, and codes that stay texts."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.data.csv_file import Format
from runtime.data.examples import fitted_to
from runtime.data.numeric_classes import class_names, number_name
from tests.command_line import invoke, succeed
from tests.runtime.data.descriptions import load

GERMAN = Format(separator=";", decimal=",", thousands=".")
CASES = [
    ("one number", ["101", "101.0", "+101", "1.01e2", "101."], Format(), {"101"}),
    ("an exponent", ["1e2", "100", "1E+2"], Format(), {"100"}),
    ("fractions", ["0.5", ".5", "5e-1", "0.25"], Format(), {"0.5", "0.25"}),
    ("zeros", ["0", "-0.0", "0e9"], Format(), {"0"}),
    ("beyond the whole numbers of a float", ["9007199254740993", "9007199254740992.0"], Format(),
     {"9007199254740993", "9007199254740992"}),
    ("codes", ["007", "7", "7.0"], Format(), {"007", "7", "7.0"}),
    ("hexadecimal codes", ["0e462097431906509019562988736854", "7.0"], Format(),
     {"0e462097431906509019562988736854", "7.0"}),
    ("texts among numbers", ["A1", "101", "101.0"], Format(), {"A1", "101", "101.0"}),
    ("missing numbers", ["101.0", "nan", "NA"], Format(), {"101"}),
    ("missing texts", ["north", "NA"], Format(), {"north", "NA"}),
    ("numbers and truth values", ["1.0", "True", "false", "2"], Format(), {"0", "1", "2"}),
    ("decimal commas", ["1.250,5", "1250,50", "7,0"], GERMAN, {"1250.5", "7"}),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "format", "names"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_names_of_classes(cells: list[str], format: Format, names: set[str]) -> None:
    assert class_names(cells, format) == tuple(sorted(names))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_have_one_name_exactly_where_they_are_equal(number: float) -> None:
    name = number_name(repr(number), Format())
    assert name is not None and Fraction(name) == Fraction(repr(number))
    assert number_name(name, Format()) == name


INPUTS, TARGET = "zip: i64[batch], x: f64[batch, 1]", "t: f64[batch, 1]"
DATA = 'csv("c.csv") -> categories("zip", rare: 1, empty: true) -> columns(inputs: ["zip", "x"], targets: "t")'


def write(folder: Path, cells: list[str]) -> None:
    (folder / "c.csv").write_text("zip,x,t\n" + "".join(f"{cell},{row},{row}\n" for row, cell in enumerate(cells)))


@pytest.mark.parametrize("in_memory", ["1GiB", "8B"])
def test_training_and_later_data_agree(in_memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NABLAC_IN_MEMORY", in_memory)
    write(tmp_path, ["202", "101.0", "101", "", "NaN"])
    first = load(tmp_path, DATA, INPUTS, TARGET)
    assert first.classes["zip"] == ("", "101", "202")
    assert np.asarray(first.arrays["zip"][:]).tolist() == [2, 1, 1, 0, 0]
    write(tmp_path, ["2.02e2", "303.0", "303", "101.00", "404"])
    notes: dict[str, list[str]] = {}
    later = load(tmp_path, DATA, INPUTS, TARGET, fitted=fitted_to(first), keeps_raw=True, notes=notes)
    assert np.asarray(later.arrays["zip"][:]).tolist() == [2, 0, 0, 1, 0]
    message = "3 rows have a class of `zip` that training has not seen, or too seldom: `303` (2), `404` (1)"
    assert notes == {message: [f"{tmp_path}/c.csv:3"]}


def test_codes_stay_texts_in_later_data(tmp_path: Path) -> None:
    write(tmp_path, ["007", "7", "12"])
    first = load(tmp_path, DATA, INPUTS, TARGET)
    write(tmp_path, ["007", "7.0", "7", "12"])
    later = load(tmp_path, DATA, INPUTS, TARGET, fitted=fitted_to(first))
    assert np.asarray(later.arrays["zip"][:]).tolist() == [1, 0, 3, 2]


SPEC = """
model Z {
    input zip: i64[batch], x: f32[batch, 1]
    output y = concat([Embedding(4, 4)(zip), x], axis: -1) -> Dense(1)
}
train Z {
    target t: f32[batch, 1]
    loss mse(y, t)
    optimizer adam(lr: 1e-2)
    epochs 1
    data csv("c.csv") -> categories("zip", empty: true) -> columns(inputs: ["zip", "x"], targets: "t")
}
"""


def test_predictions_and_evaluations_know_a_number_in_any_file_and_count_the_unseen(tmp_path: Path) -> None:
    write(tmp_path, ["101", "202", "303"] * 8)
    (tmp_path / "z.model").write_text(SPEC)
    succeed("train", "z.model", "-q", "-o", "run", folder=tmp_path)
    (tmp_path / "i.csv").write_text("zip,x\n101,1\n,2\n999,3\n999,4\n")
    (tmp_path / "f.csv").write_text("zip,x\n101.0,1\n,2\n999.0,3\n999.0,4\n")
    rows = [{"zip": zip, "x": x} for zip, x in ((101.0, 1), (None, 2), (999.0, 3), (999.0, 4))]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"i.csv": 4, "f.csv": 4, "f.jsonl": 3}
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        pass
    else:
        columns = {name: [row[name] for row in rows] for name in ("zip", "x")}
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "f.parquet")
        files["f.parquet"] = 3
    printed = set()
    for file, line in files.items():
        done = invoke("predict", "run", file, folder=tmp_path)
        printed.add(done.stdout)
        note = "2 rows have a class of `zip` that training has not seen, or too seldom: `999` (2)"
        assert done.stderr == f"note: {note}: {file}:{line}\n"
    assert len(printed) == 1
    (tmp_path / "e.csv").write_text("zip,x,t\n101.0,1,1\n999,2,2\n")
    succeed("compile", "run", "-q", "-o", "m.onnx", folder=tmp_path)
    for model in ("run", "m.onnx"):
        done = invoke("eval", model, "--data", "e.csv", folder=tmp_path)
        assert "1 row has a class of `zip` that training has not seen, or too seldom: `999` (1)" in done.stderr
    (tmp_path / "r.csv").write_text("zip,x\n101.0,1\n999,2\n")
    done = invoke("run", "m.onnx", "r.csv", folder=tmp_path)
    assert "1 row has a class of `zip` that training has not seen, or too seldom: `999` (1)" in done.stderr
