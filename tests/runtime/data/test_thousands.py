"""Signs between the thousands of numbers in CSV, with pandas as the oracle of what the numbers are."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from grammar.diagnostics import NablacError
from runtime.data.csv_file import Format
from tests.command_line import invoke
from tests.runtime.data.descriptions import load, refused

COLUMNS = '-> columns(inputs: "a", targets: "t")'
NARROW = "\u202f"  # the no-break space that French has between thousands
READ = {  # the table, the options of `csv`, and those of pandas
    "commas, in quotes": (
        'a,t\n"1,234.5",5\n"-12,345,678",6\n"1,000e-3",7\n',
        'thousands: ","',
        {"thousands": ","},
    ),
    "commas, with semicolons": ("a;t\n1,234.5;1,000\n2;3\n", 'separator: ";", thousands: ","', {"thousands": ","}),
    "as in India": ("a;t\n12,34,567.5;1\n1,23,45,678;2\n", 'separator: ";", thousands: ","', {"thousands": ","}),
    "points": (
        "a;t\n1.234,5;1.000\n-1.234.567;0,25\n",
        'separator: ";", thousands: ".", decimal: ","',
        {"thousands": ".", "decimal": ","},
    ),
    "spaces": (
        "a;t\n1 234,5; 1 000 \n+12 345 678;0,25\n",
        'separator: ";", thousands: " ", decimal: ","',
        {"thousands": " ", "decimal": ","},
    ),
    "narrow spaces": (
        f"a;t\n1{NARROW}234,5;1{NARROW}000\n12{NARROW}345{NARROW}678;0,25\n",
        'separator: ";", thousands: " ", decimal: ","',
        {"thousands": NARROW, "decimal": ","},
    ),
    "apostrophes": ("a,t\n1'234.5,5\n12'345'678,6\n", 'thousands: "\'"', {"thousands": "'"}),
    "underscores": ("a,t\n1_234.5,5\n12_345_678,6\n", 'thousands: "_"', {"thousands": "_"}),
    "none in the file": ("a,t\n1234.5,5\n-2e3,6\n", 'thousands: ","', {"thousands": ","}),
}


@pytest.mark.parametrize("case", READ)
@pytest.mark.parametrize("limit", ["1", "1GiB"])
def test_numbers_are_those_that_pandas_reads(
    case: str, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, options, of_pandas = READ[case]
    monkeypatch.setenv("NABLAC_IN_MEMORY", limit)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(text.encode()))
    separator = ";" if ";" in text else ","
    read = pytest.importorskip("pandas").read_csv(io.StringIO(text), sep=separator, engine="python", **of_pandas)
    expected = read.astype(np.float64)
    loaded = load(tmp_path, f'csv("x.csv.gz", {options}) {COLUMNS}', "x: f64[batch, 1]", "t: f64[batch, 1]")
    for name, column in (("x", "a"), ("t", "t")):
        np.testing.assert_allclose(loaded.arrays[name][:].ravel(), expected[column], rtol=1e-15)


BROKEN = [
    "1,23,4",
    "1,23",
    "0,125",
    "1,2345",
    "12345,678",
    ",123",
    "1,,234",
    "1,234,",
    "1.5,000",
    "1,234.567,8",
    "(1,234)",
]


@pytest.mark.parametrize("cell", BROKEN)
def test_a_sign_elsewhere_than_between_thousands_is_broken(cell: str, tmp_path: Path) -> None:
    """Where pandas reads `1,23,4` as 1234, and a decimal comma as nothing."""
    (tmp_path / "x.csv").write_text(f'a,t\n"1,234",5\n"{cell}",6\n')
    message = refused(tmp_path, f'csv("x.csv", thousands: ",") {COLUMNS}', inputs="x: f32[batch, 1]")
    assert message == f"E821 HERE/x.csv:3: column `a`: `{cell}` is not a number"


HINTS = {  # the options, a cell, and the hint
    "commas": ("", '"1,234.5"', '`thousands: ","` reads it as 1234.5'),
    "points": (
        'separator: ";"',
        "1.234,5",
        '`decimal: ","` and `thousands: "."` read it as 1234.5',
    ),
    "points, where a comma is the decimal sign": (
        'separator: ";", decimal: ","',
        "1.000,5",
        '`thousands: "."` reads it as 1000.5',
    ),
    "either": (
        'separator: ";"',
        "1,234",
        '`thousands: ","` reads it as 1234; `decimal: ","` reads it as 1.234',
    ),
    "narrow spaces": ("", f"1{NARROW}234", '`thousands: " "` reads it as 1234'),
    "groups of two": (
        'thousands: ","',
        '"1,23"',
        'with `thousands: ","` digits are in groups of three and begin with no 0, as in `12,345,678`; '
        "`--skip-broken` skips such rows",
    ),
    "not in quotes": (
        'thousands: ","',
        "1,234",
        "a number with `,` between its thousands needs quotes where it also separates the cells",
    ),
}


@pytest.mark.parametrize("case", HINTS)
def test_a_hint_names_the_option(case: str, tmp_path: Path) -> None:
    options, cell, hint = HINTS[case]
    separator = ";" if "separator" in options else ","
    (tmp_path / "x.csv").write_text(f"a{separator}t\n{cell}{separator}5\n", "utf-8")
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f'csv("x.csv"{options and ", "}{options}) {COLUMNS}', "x: f32[batch, 1]")
    assert caught.value.diagnostics[0].hint == hint


SPEC = """model M { input x: [batch, 1]; output y = x -> Dense(1) }
train M {
    target t: [batch, 1]; loss mse(y, t); epochs 1; validation 0.2
    data csv("x.csv", separator: ";", decimal: ",", thousands: ".") -> standardize()
        -> columns(inputs: "a", targets: "t")
}
"""


def test_a_run_reads_later_tables_as_it_was_trained(tmp_path: Path) -> None:
    rows = [(1000 + 37 * row, 2000 + 5 * row) for row in range(40)]
    grouped = "a;t\n" + "".join(f"{a:,};{t:,}\n".replace(",", ".") for a, t in rows)
    (tmp_path / "x.csv").write_text(grouped)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(grouped.encode()))
    (tmp_path / "plain.csv").write_text("a,t\n" + "".join(f"{a},{t}\n" for a, t in rows))
    (tmp_path / "commas.csv").write_text("a,t\n" + "".join(f'"{a:,}","{t:,}"\n' for a, t in rows))
    (tmp_path / "m.model").write_text(SPEC)
    assert invoke("train", "m.model", "-q", folder=tmp_path).exit_code == 0
    recipe = json.loads((tmp_path / "runs/m/1/data.json").read_text())
    assert recipe["stages"][0]["arguments"]["thousands"] == "."
    usual = ("--separator", ",", "--decimal", ".", "--thousands", ",")
    calls = [("x.csv",), ("x.csv.gz",), ("plain.csv", *usual), ("commas.csv", *usual)]
    tables = [invoke("predict", "runs/m/1", *call, "--keep", "none", folder=tmp_path).stdout for call in calls]
    assert len(tables[0].splitlines()) == 41 and len(set(tables)) == 1
    judged = [
        json.loads(invoke("eval", "runs/m/1", "--data", name, "--json", folder=tmp_path).stdout)["loss"]
        for name in ("x.csv", "x.csv.gz")
    ]
    assert judged[0] == judged[1] > 0
    refusal = invoke("predict", "runs/m/1", "plain.csv", "--separator", ",", "--decimal", ".", folder=tmp_path)
    assert refusal.stderr == (
        "error[E605]: `.` is both the decimal sign and the one between thousands; "
        "`--thousands '.'` and `--decimal ','` read `1.234,5`\n --> options\n"
    )


def test_a_table_without_options_has_no_hint_to_them(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": "1,234", "t": 1}\n{"a": "5", "t": 2}\n')
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f'json("x.jsonl") {COLUMNS}', "x: f32[batch, 1]")
    assert caught.value.diagnostics[0].hint == (
        "a number is finite, and written in plain digits, as `-1234.5` or `1e-3`, without units, currencies or signs "
        "between thousands; `--skip-broken` skips other rows"
    )


SIGNS: list[tuple[dict[str, str], str]] = [
    ({"thousands": "x"}, "between thousands is one of `,`, `.`, `'`, `_` or a space, not `x`"),
    ({"decimal": "x"}, "the decimal sign is `.` or `,`, not `x`"),
    ({"separator": "ab"}, "`ab` is not one character between cells"),
    (
        {"decimal": ","},
        '`,` is both the separator and the decimal sign; choose another separator, such as `separator: ";"`',
    ),
    (
        {"thousands": "."},
        '`.` is both the decimal sign and the one between thousands; `thousands: "."` and `decimal: ","` read '
        "`1.234,5`",
    ),
]


@pytest.mark.parametrize(("settings", "message"), SIGNS)
def test_settings_that_contradict_are_told(settings: dict[str, str], message: str) -> None:
    assert Format(**settings).contradiction() == message  # type: ignore[arg-type]
    assert Format(";", ",", thousands=".").contradiction() is None
