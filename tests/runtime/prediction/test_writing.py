"""Results as files: whole or not at all, and every number reads back as itself."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from grammar.diagnostics import NablacError
from runtime.prediction.predictions import Predictions
from runtime.prediction.writing import texts_of, written

COLUMNS: dict[str, Any] = {
    "id": ["x,1", 'y"2', "z\n3"],
    "day": [datetime(2024, 1, 1), datetime(2024, 1, 2), None],
    "n": [1, None, 3],
    "any": [1.5, "text", {"a": [1]}],
    "flag": [True, False, None],
    "kind": np.array(["a", "b", "c"], dtype=object),
    "value": np.array([0.1, 1e-30, -2.5], np.float32),
    "wide": np.array([0.1, 1 / 3, 1e300]),
    "count": np.array([1, 2, 3]),
}


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of any form."""
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    rows: list[dict[str, Any]] = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return rows


def write(path: Path, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    with written(path) as writer:
        for part in parts:
            writer.write(part)
    return rows_of(path)


def test_csv_has_a_text_for_every_value(tmp_path: Path) -> None:
    rows = write(tmp_path / "r.csv", COLUMNS, COLUMNS)
    assert len(rows) == 6 and rows[:3] == rows[3:]
    assert rows[0] == {
        "id": "x,1",
        "day": "2024-01-01 00:00:00",
        "n": "1",
        "any": "1.5",
        "flag": "true",
        "kind": "a",
        "value": "0.1",
        "wide": "0.1",
        "count": "1",
    }
    assert (rows[1]["id"], rows[2]["id"], rows[1]["n"], rows[2]["any"]) == ('y"2', "z\n3", "", '{"a": [1]}')


def test_json_lines_keep_types(tmp_path: Path) -> None:
    rows = write(tmp_path / "r.jsonl", COLUMNS)
    assert rows[0]["day"] == "2024-01-01T00:00:00" and rows[2]["day"] is None
    assert [row["any"] for row in rows] == [1.5, "text", {"a": [1]}]
    assert [row["flag"] for row in rows] == [True, False, None] and rows[0]["value"] == 0.1
    odd = write(tmp_path / "odd.jsonl", {"y": np.array([np.nan, np.inf, 1])})
    assert [row["y"] for row in odd] == [None, None, 1]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = write(tmp_path / "r.parquet", COLUMNS, COLUMNS)
    assert len(rows) == 6
    assert rows[0]["day"] == datetime(2024, 1, 1) and rows[1]["n"] is None and rows[0]["flag"] is True
    assert [row["any"] for row in rows[:3]] == ["1.5", "text", '{"a": [1]}']
    assert rows[3]["value"] == np.float32(0.1) and rows[0]["kind"] == "a"


def test_a_column_that_changes_its_type_has_no_place_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(NablacError) as caught:
        write(tmp_path / "r.parquet", {"n": [1]}, {"n": ["one"]})
    message = "column `n` holds int64 in the first rows, and something else in others"
    assert caught.value.diagnostics[0].message == message
    assert not list(tmp_path.iterdir())


def test_later_rows_have_the_columns_of_the_first(tmp_path: Path) -> None:
    rows = write(tmp_path / "r.csv", {"a": [1], "y": [2]}, {"y": [3], "b": [4]})
    assert rows == [{"a": "1", "y": "2"}, {"a": "", "y": "3"}]


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.parquet"])
def test_nothing_is_there_after_a_fault(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text("before")
    with pytest.raises(ValueError, match="halfway"), written(path) as writer:
        writer.write({"a": [1]})
        raise ValueError("halfway")
    assert path.read_text() == "before" and [file.name for file in tmp_path.iterdir()] == [name]


@given(arrays.arrays(st.sampled_from([np.float32, np.float64]), 5))
def test_a_float_reads_back_as_itself(array: np.ndarray[Any, Any]) -> None:
    read = np.array([float(text) for text in texts_of(array)], array.dtype)
    np.testing.assert_array_equal(read, array)


def test_floats_are_written_as_people_write_them() -> None:
    numbers = [0.1, 1e-5, 123456.7, 1000001, 3e8, -2.5e6]
    assert texts_of(np.array(numbers, np.float32)) == [
        "0.1",
        "1e-05",
        "123456.7",
        "1000001.0",
        "300000000.0",
        "-2500000.0",
    ]
    assert texts_of(np.array([1 / 3, 1e7])) == ["0.3333333333333333", "10000000.0"]


def test_predictions_show_their_first_rows_in_a_notebook() -> None:
    short = Predictions({"<id>": np.array(["a & b"]), "y": np.array([0.5])})._repr_html_()
    table = ElementTree.fromstring(short)
    assert [cell.text for cell in table.iter() if cell.tag in ("th", "td")] == ["<id>", "y", "a & b", "0.5"]
    long = Predictions({"y": np.arange(1200)})._repr_html_()
    assert long.count("<td>") == 10 and long.endswith("<p>1,200 rows</p>")


def test_predictions_are_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    columns = {"id": np.array(["a", "b"], object), "y": np.array([1.0, 2.0])}
    pandas.testing.assert_frame_equal(Predictions(columns).to_dataframe(), pandas.DataFrame(columns))


def test_predictions_are_columns(tmp_path: Path) -> None:
    predicted_columns = Predictions.of(
        [{"id": ["a", "b"], "y": np.array([1, 2])}, {"id": ["c"], "y": np.array([3])}], ["note: one"]
    )
    assert (
        predicted_columns.rows,
        list(predicted_columns),
        predicted_columns["y"].tolist(),
        predicted_columns["id"].tolist(),
    ) == (
        3,
        ["id", "y"],
        [1, 2, 3],
        ["a", "b", "c"],
    )
    assert repr(predicted_columns) == "<Predictions: 3 rows of id, y>" and predicted_columns.notes == ("note: one",)
    predicted_columns.write(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == "id,y\na,1\nb,2\nc,3\n"
    with pytest.raises(KeyError, match="did you mean `id`"):
        predicted_columns["idd"]
    with pytest.raises(NablacError) as caught:
        predicted_columns.write(tmp_path / "r.xlsx")
    assert caught.value.diagnostics[0].code == "E904"
