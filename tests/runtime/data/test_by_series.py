"""Several series in one table: every window, part and forecast is that of one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from tests.runtime.data.descriptions import load, refused

WINDOWS = 'csv("s.csv") -> by("station") -> window("value", length: 2, horizon: 1)'


def write(path: Path, rows: list[tuple[str, object]]) -> None:
    path.write_text("station,value\n" + "".join(f"{station},{value}\n" for station, value in rows))


def windows(values: list[float], count: int) -> list[list[float]]:
    """The windows of so many rows in one series."""
    return [values[start : start + count] for start in range(len(values) - count + 1)]


@given(st.lists(st.sampled_from("abc"), min_size=12, max_size=60))
def test_windows_and_parts_are_those_of_each_series(
    tmp_path_factory: pytest.TempPathFactory, stations: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("by")
    write(folder / "s.csv", [(station, number) for number, station in enumerate(stations)])
    of_station = {
        station: [float(number) for number, other in enumerate(stations) if other == station]
        for station in dict.fromkeys(stations)
    }
    parts: dict[str, list[list[float]]] = {"training": [], "validation": [], "test": []}
    for values in of_station.values():
        count = len(values)
        held_out = round(count * 0.25), round(count * 0.25)
        first, second = max(0, count - sum(held_out)), count - held_out[1]
        for start, window in enumerate(windows(values, 3)):
            target = start + 2
            parts["training" if target < first else "validation" if target < second else "test"].append(window)
    assume(all(parts.values()))
    examples = load(folder, WINDOWS, validation=0.25, test=0.25)
    whole = np.concatenate([examples.arrays["x"][:, :, 0], examples.arrays["t"]], axis=1)
    assert {part: whole[rows].tolist() for part, rows in examples.parts.items()} == parts


def test_scaling_is_fitted_to_the_training_rows_of_all_series(tmp_path: Path) -> None:
    rows = [(station, value) for value in range(8) for station in ("a", "b")]
    write(tmp_path / "s.csv", [(station, value + 100 * (station == "b")) for station, value in rows])
    data = WINDOWS.replace("-> window", "-> standardize() -> window")
    examples = load(tmp_path, data, validation=0.25)
    training = np.array([value + offset for offset in (0, 100) for value in range(6)])
    assert examples.scalings["x"].offset == pytest.approx(training.mean())
    assert examples.scalings["x"].scale == pytest.approx(training.std())


def test_no_window_spans_a_skipped_row(tmp_path: Path) -> None:
    rows: list[tuple[str, object]] = [
        ("a", 1),
        ("b", 10),
        ("a", 2),
        ("b", "x"),
        ("a", 3),
        ("b", 12),
        ("b", 13),
        ("b", 14),
    ]
    write(tmp_path / "s.csv", rows)
    examples = load(tmp_path, WINDOWS, skip_broken=True)
    assert examples.arrays["x"][:, :, 0].tolist() == [[1, 2], [12, 13]]
    assert examples.arrays["t"].ravel().tolist() == [3, 14]


def test_a_row_of_no_series_is_a_gap_in_all_of_them(tmp_path: Path) -> None:
    text = "station,value\na,1\nb,10\na,2\nb\nb,11\na,3\nb,12\na,4\nb,13\na,5\n"
    (tmp_path / "s.csv").write_text(text)
    examples = load(tmp_path, WINDOWS, skip_broken=True)
    assert examples.arrays["x"][:, :, 0].tolist() == [[3, 4], [11, 12]]


def test_several_columns_tell_series_apart(tmp_path: Path) -> None:
    text = "place,sensor,value\n" + "".join(f"{p},{s},{n}\n" for n in range(3) for p in "ab" for s in "12")
    (tmp_path / "s.csv").write_text(text)
    data = WINDOWS.replace('by("station")', 'by(["place", "sensor"])')
    assert load(tmp_path, data).arrays["t"].ravel().tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("in_memory", ["1GiB", "8B"])
@pytest.mark.parametrize(
    ("written", "one"),
    [
        (["101", "101.0", "101.", "1.01e+2"], True),  # as programs write a column of whole numbers, and of floats
        (["3.1", "3.10"], False),  # versions
        (["12e4", "120000"], False),  # hexadecimal
        (["007", "7"], False),
        (["a.0", "a"], False),
    ],
)
def test_a_whole_number_is_one_series_however_it_is_written(
    written: list[str], one: bool, in_memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NABLAC_IN_MEMORY", in_memory)
    rows = [(station, value) for value, station in enumerate(written * 3)]
    write(tmp_path / "s.csv", rows)
    examples = load(tmp_path, WINDOWS)
    count = len(rows) if one else 3
    assert len(examples) == (count - 2 if one else len(written))


def test_a_float_that_is_missing_is_of_no_series(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"station": 1.0, "value": 1}\n{"station": NaN, "value": 2}\n')
    data = 'json("s.jsonl") -> by("station") -> window("value", length: 2, horizon: 1)'
    assert refused(tmp_path, data) == "E821 HERE/s.jsonl:2: column `station`: the cell is empty"


def test_a_series_that_is_too_short_is_left_out_with_a_note(tmp_path: Path) -> None:
    write(tmp_path / "s.csv", [("a", 1), ("a", 2), ("b", 7), ("a", 3)])
    notes: dict[str, list[str]] = {}
    assert load(tmp_path, WINDOWS, notes=notes).arrays["t"].ravel().tolist() == [3]
    message = "a series without 3 rows in a row, for a window, is left out"
    assert notes == {message: [f"{tmp_path}/s.csv: b"]}


# The rows of a table, and the diagnostic
REFUSED: dict[str, tuple[str, str, str]] = {
    "no such column": ("a,value\nx,1\n", WINDOWS, "E822 : HERE/s.csv has no column `station`"),
    "a row of no series": (
        "station,value\na,1\n,2\n",
        WINDOWS,
        "E821 HERE/s.csv:3: column `station`: the cell is empty",
    ),
    "only short series": (
        "station,value\na,1\nb,2\n",
        WINDOWS,
        "E823 : 2 rows are too few for windows of 2 and a horizon of 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_tells_no_series_apart_is_refused(tmp_path: Path, case: str) -> None:
    content, data, expected = REFUSED[case]
    (tmp_path / "s.csv").write_text(content)
    assert refused(tmp_path, data) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('csv("s.csv") -> by(["a", "a"]) -> window("value", length: 2)', "`by`: no column may be named twice"),
        (
            'csv("s.csv") -> window("value", length: 2) -> by("a")',
            "`by`: expected rows of a table, got examples",
        ),
        ('arrays() -> by("a") -> window("value", length: 2)', "`by` changes a table or a text, but arrays are"),
        (
            'csv("s.csv") -> by("a") -> by("b") -> window("value", length: 2)',
            "`by` appears twice; one of the two would have no effect",
        ),
    ],
)
def test_descriptions_that_make_no_sense_are_refused_without_data(tmp_path: Path, data: str, message: str) -> None:
    with pytest.raises(NablacError) as caught:
        load(tmp_path, data)
    assert caught.value.diagnostics[0].message.startswith(message)
