"""Tables some rows at a time: the same rows as at once, whatever the file, and every fault at its line."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dims import Dim
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from runtime.data.csv_file import OF_COMMAND, Format, read_table
from runtime.data.python_columns import mapping_blocks
from runtime.data.table_blocks import Block, read_rows, table_blocks
from runtime.data.text_lines import decoded_lines
from runtime.input_files import read_inputs
from runtime.prediction.findings import Findings
from tests.runtime.data.descriptions import load, refused


def blocks_of(path: Path, most: int = 2, findings: Findings | None = None, format: Format = OF_COMMAND) -> list[Block]:
    """All blocks of a file."""
    return list(table_blocks(str(path), format, findings or Findings(), most))


def joined(blocks: list[Block]) -> dict[str, list[Any]]:
    """The columns of all blocks."""
    return {name: [value for block in blocks for value in block.values[name]] for name in blocks[0].values}


ROWS = {"id": ["x1", "x2", "x3", "x4", "x5"], "a": [1.5, -2.0, 1e-7, 4.0, 5.0], "n": [1, 2, 3, 4, 5]}


def csv_text() -> str:
    return "id,a,n\n" + "".join(f"{i},{a!r},{n}\n" for i, a, n in zip(*ROWS.values(), strict=True))


def objects() -> list[dict[str, Any]]:
    return [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]


def write(folder: Path, kind: str) -> Path:
    """The rows as a file of the kind."""
    path = folder / f"table.{kind}"
    match kind:
        case "csv":
            path.write_text(csv_text())
        case "csv.gz":
            path.write_bytes(gzip.compress(csv_text().encode()))
        case "jsonl" | "jsonl.gz":
            text = "".join(json.dumps(row) + "\n" for row in objects()).encode()
            path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
        case "json":
            path.write_text(json.dumps(objects()))
        case "parquet":
            pyarrow = pytest.importorskip("pyarrow")
            pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(ROWS), path)
    return path


@pytest.mark.parametrize("most", [1, 2, 5, 100])
@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "jsonl.gz", "json", "parquet"])
def test_a_table_has_the_same_rows_in_any_form_and_in_blocks_of_any_size(tmp_path: Path, kind: str, most: int) -> None:
    blocks = blocks_of(write(tmp_path, kind), most)
    assert [len(block.rows.lines) for block in blocks] == [min(most, 5 - start) for start in range(0, 5, most)]
    assert [number for block in blocks for number in block.rows.numbers] == [0, 1, 2, 3, 4]
    tables = [block.rows.read_columns(["n", "a"], Findings(), None).numbers for block in blocks]
    np.testing.assert_array_equal(np.concatenate(tables), np.stack([ROWS["n"], ROWS["a"]], axis=1))
    assert joined(blocks)["id"] == ROWS["id"]


def test_values_keep_their_types_where_the_file_has_types(tmp_path: Path) -> None:
    assert joined(blocks_of(write(tmp_path, "jsonl"))) == ROWS
    assert joined(blocks_of(write(tmp_path, "csv")))["n"] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "csv.gz"])
def test_standard_input_is_known_by_its_first_bytes(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(write(tmp_path, kind).read_bytes()))
    monkeypatch.setattr("sys.stdin", stdin)
    blocks = list(table_blocks("-", OF_COMMAND, Findings(), 3))
    assert joined(blocks)["id"] == ROWS["id"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_text_is_read_in_the_encoding_that_its_mark_tells(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.csv").write_text("name,a\r\nZoë,1\r\n", encoding=encoding, newline="")
    assert joined(blocks_of(tmp_path / "t.csv")) == {"name": ["Zoë"], "a": ["1"]}


@given(
    st.lists(st.tuples(st.integers(-99, 99), st.text('ab"\n,é ', max_size=5)), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_blocks_of_csv_are_its_table(tmp_path_factory: pytest.TempPathFactory, rows: list[Any], most: int) -> None:
    quoted = ['"' + text.replace('"', '""') + '"' for _, text in rows]
    content = "n,text\n" + "".join(f"{number},{text}\n" for (number, _), text in zip(rows, quoted, strict=True))
    path = tmp_path_factory.mktemp("blocks") / "t.csv"
    path.write_text(content, newline="")
    whole = read_table(content.encode(), str(path), OF_COMMAND, Findings())
    blocks = blocks_of(path, most)
    assert [line for block in blocks for line in block.rows.lines] == whole.lines
    assert joined(blocks) == dict(zip(whole.names, whole.cells, strict=True))


# A file's name and content, and the diagnostic; FILE is its path
FAULTS: dict[str, tuple[str, bytes, str]] = {
    "no rows": ("t.csv", b"a,b\n", "E823 FILE: FILE has no rows"),
    "nothing": ("t.csv", b"", "E823 FILE: FILE is empty"),
    "nothing packed": ("t.csv.gz", gzip.compress(b""), "E823 FILE: FILE is empty"),
    "no bytes of JSON": ("t.json", b"", "E823 FILE: FILE is empty"),
    "blank lines of JSON": ("t.json", b" \n\n", "E823 FILE: FILE is empty"),
    "no objects": ("t.json", b"[]", "E823 FILE: FILE has no rows"),
    "no bytes of Parquet": ("t.parquet", b"", "E823 FILE: FILE is empty"),
    "a short row": ("t.csv", b"a,b\n1,2\n3\n", "E821 FILE:3: 1 cell, where the header names 2"),
    "an open quote": (
        "t.csv",
        b'a,b\n1,2\n3,"4\n',
        "E821 FILE:3: this cannot be read as CSV: this quote is never closed, in column `b`",
    ),
    "a cell without an end": (
        "t.csv",
        b"a,b,c\n1,2,3\n4," + b"x" * 140_000 + b",5\n",
        "E821 FILE:3: this cannot be read as CSV: a cell has more than 131,072 characters, in column `b`",
    ),
    "a gzip file that is damaged": (
        "t.csv.gz",
        gzip.compress(b"a,b\n" + b"1,2\n" * 50)[:-8] + bytes(8),
        "E821 FILE: this gzip file is damaged",
    ),
    "no text": ("t.csv", b"a,b\n1,2\n\xff,4\n", "E821 FILE:3: this is not UTF-8 text: byte 8"),
    "no text later": (
        "t.csv",
        b"a,b\n" + b"1,2\n" * 500 + b"\xff,4\n",
        "E821 FILE:502: this is not UTF-8 text: byte 2004",
    ),
    "a null byte": ("t.csv", b"a,b\n1,2\n\0,4\n", "E821 FILE:3: the text contains a null byte"),
    "an image": ("t.csv", b"\x89PNG\r\n", "E821 FILE: this is an image; expected a CSV file"),
    "two columns of a name": ("t.csv", b"a,a\n1,2\n", "E821 FILE:1: two columns are called `a`"),
    "half a gzip file": (
        "t.csv.gz",
        gzip.compress(b"a,b\n" + b"1,2\n" * 50)[:-20],
        "E821 FILE: this gzip file is cut off: it ends before its content does",
    ),
    "no rows of JSON": ("t.jsonl", b"\n\n", "E823 FILE: FILE has no rows"),
    "a number in a line": (
        "t.jsonl",
        b'{"a": 1}\n3\n',
        'E821 FILE:2: a row of a table in JSON is an object, as `{"a": 1.5}`',
    ),
    "a broken line": (
        "t.jsonl",
        b'{"a": 1}\n{"a": "x',
        "E821 FILE:2: this cannot be read as JSON: Unterminated string starting at character 7",
    ),
    "half of a character": (
        "t.jsonl",
        b'{"a": 1, "b": "\\ud83d\\ude00"}\n{"a": 1, "b": "\\ud83d"}\n',
        "E821 FILE:2: this cannot be read as JSON: `\\ud83d` is half of a character, and its other half is missing",
    ),
    "half of a character in a list": (
        "t.json",
        b'[{"a": 1, "b": "\\uDE00"}]',
        "E807 FILE: this cannot be read as JSON: `\\ude00` is half of a character, and its other half is missing",
    ),
    "an integer of too many digits": (
        "t.jsonl",
        b'{"a": 1}\n{"a": ' + b"7" * 5001 + b"}\n",
        "E821 FILE:2: this cannot be read as JSON: an integer has more than 4,300 digits",
    ),
    "an integer of too many digits in a list": (
        "t.json",
        b'[{"a": ' + b"7" * 5001 + b"}]",
        "E807 FILE: this cannot be read as JSON: an integer has more than 4,300 digits",
    ),
    "a key twice": (
        "t.jsonl",
        b'{"a": 1, "b": 2}\n{"a": 1, "b": 2, "b": 2}\n',
        "E821 FILE:2: the key `b` is there twice",
    ),
    "a key twice in a list": (
        "t.json",
        b'[{"a": 1, "b": 2},\n {"a": 1, "b": 2},\n {"b": 1, "a": 2, "b": 3}]',
        "E821 FILE:3: the key `b` is there twice",
    ),
    "a broken list": (
        "t.json",
        b'[{"a": 1},\n {"a" 2}]',
        "E807 FILE: this cannot be read as JSON: Expecting ':' delimiter at character 7 of line 2",
    ),
    "a text": ("t.json", b'"a"', "E807 FILE: a table in JSON is a list of objects, or an object on each line"),
    "a web page": (
        "t.csv",
        b"\n<!DOCTYPE html>\n<html>\n",
        "E821 FILE: this is a web page (HTML); expected a CSV file",
    ),
    "no names": ("t.csv", b",,\n1,2,3\n", "E821 FILE:1: no column has a name"),
    "no Parquet": ("t.parquet", b"a,b\n1,2\n", "E821 FILE: this cannot be read as a Parquet file: "),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_with_its_line(tmp_path: Path, case: str) -> None:
    name, content, expected = FAULTS[case]
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NablacError) as caught:
        blocks_of(tmp_path / name, 1)
    (diagnostic,) = caught.value.diagnostics
    predictions = f"{diagnostic.code} {diagnostic.place}: {diagnostic.message}".replace(str(tmp_path / name), "FILE")
    assert predictions.startswith(expected)


def test_broken_rows_are_counted_where_they_may_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n4,5\n6,7,8\n")
    findings = Findings(skip_broken=True)
    assert joined(blocks_of(tmp_path / "t.csv", 1, findings)) == {"a": ["1", "4"], "b": ["2", "5"]}
    assert findings.lines() == [
        "2 broken rows or files skipped:",
        f"  {tmp_path}/t.csv:3: 1 cell, where the header names 2",
        f"  {tmp_path}/t.csv:5: 3 cells, where the header names 2",
    ]


def test_a_column_that_a_later_object_lacks_is_empty(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": null}\n{"a": 2}\n')
    blocks = blocks_of(tmp_path / "t.jsonl")
    assert blocks[0].rows.cells == {"a": ["1", "2"], "b": ["", ""]}


def test_columns_from_python_are_a_table() -> None:
    day = np.array(["2024-01-01", "2024-01-02"], "datetime64[ns]")
    columns = {"a": np.array([0.1, 2], np.float32), "text": ["x", "y"], "flag": [True, False], "day": day}
    (block,) = mapping_blocks(columns, "the table", 10)
    numbers = block.rows.read_columns(["a", "flag"], Findings(), None).numbers
    np.testing.assert_array_equal(numbers, [[np.float32(0.1), 1], [2, 0]])
    assert str(block.values["day"][1]) == "2024-01-02 00:00:00"


def test_missing_texts_of_pandas_are_empty_cells() -> None:
    pandas = pytest.importorskip("pandas")
    columns = {"a": pandas.array([pandas.NA, "x"], "string"), "b": pandas.Series(["x", None], dtype="string")}
    (block,) = mapping_blocks(columns, "the table", 10)
    assert dict(block.rows.cells) == {"a": ["", "x"], "b": ["x", ""]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "columns must have the same length: `a` 2, `b` 1"),
        ({}, "columns must have the same length: nothing"),
        ({"a": []}, "the table has no rows"),
        ({"a": np.zeros((2, 2))}, "a column has one axis, not 2"),
        ({"a": [[1], [2, 3]]}, "a column has a value for each row, not lists of different lengths"),
    ],
)
def test_columns_that_are_no_table_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(NablacError) as caught:
        list(mapping_blocks(columns, "the table", 10))
    assert caught.value.diagnostics[0].message == message


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "shift_jis", "gb18030")


@given(
    st.lists(st.text("aé\n\r\t,東 ", max_size=6), min_size=1, max_size=30),
    st.sampled_from(ENCODINGS),
    st.integers(1, 9),
)
def test_lines_are_those_of_the_text_however_its_bytes_come(parts: list[str], encoding: str, size: int) -> None:
    content = ("x" + "".join(parts)).encode(encoding, "ignore")
    text = content.decode(encoding)

    class Dripping(io.BytesIO):
        def read1(self, most: int | None = -1, /) -> bytes:
            return self.read(size if self.tell() else 4)  # a byte order mark comes whole

    named = "" if encoding in ("utf-8-sig", "utf-16", "utf-32") else encoding
    lines = list(decoded_lines(Dripping(content), "FILE", "a text", named))
    assert lines == list(io.StringIO(text, newline=""))


@given(
    st.lists(
        st.sampled_from(
            [
                *("1", " 2.5 ", "1e3", ".5", "-0", "1_0", "nan", "inf", "1e999", "x", "", "١", "1,5", "\xa01", "1.5"),
                *("1,234", "12,34,567.5", "1.234,5", "1_234", "1,23", "1\n2"),
            ]
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([(".", ""), (",", ""), (".", ","), (",", "."), (",", "_")]),
)
def test_a_column_at_once_is_its_cells_one_by_one(cells: list[str], signs: tuple[str, str]) -> None:
    decimal, thousands = signs
    format = Format(";", decimal, thousands=thousands)
    one_by_one = [format.number(cell) for cell in cells]
    at_once = format.numbers(cells)
    assert at_once is None or at_once.tolist() == one_by_one
    if all(number is not None for number in one_by_one) and all(cell.isascii() for cell in cells):
        assert at_once is not None


def test_what_the_first_object_lacks_is_noted(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": 2, "b": 3}\n')
    findings = Findings()
    assert joined(blocks_of(tmp_path / "t.jsonl", 2, findings)) == {"a": [1, 2]}
    assert findings.lines() == [f"note: `b`, which the first row lacks, is left out: {tmp_path}/t.jsonl:2"]


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "jsonl.gz", "json", "parquet"])
def test_training_reads_a_table_of_any_form(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    form = kind.split(".")[0].replace("jsonl", "json")
    data = f'{form}("{path.name}") -> columns(inputs: "a", targets: "n")'
    examples = load(tmp_path, data, "x: f64[batch, 1]", "t: f64[batch, 1]").arrays
    assert (examples["x"].ravel().tolist(), examples["t"].ravel().tolist()) == (ROWS["a"], ROWS["n"])


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])  # `.json` holds arrays
def test_run_reads_a_table_of_any_form(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    types = {"x": TensorType(DType.F64, (Dim.named("n"), 1))}
    assert read_inputs([f"{path}:a[-2:]"], types)["x"].ravel().tolist() == ROWS["a"][-2:]


def test_numbers_of_parquet_are_those_of_their_texts(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    types = ("int8", "uint16", "int64", "uint64", "float16", "float32", "float64", "bool_")
    columns = {}
    for name in types:
        values = [True, None, False] if name == "bool_" else [3, None, 2]
        if name.startswith("float"):
            values = [np.dtype(name).type(0.1), None, np.dtype(name).type(-2.5)]
        columns[name] = pyarrow.array(values * 40, getattr(pyarrow, name)())
    big = pyarrow.array([2**53 + 1, 2**63 - 1, -(2**62) - 1] * 40, pyarrow.int64())
    table = pyarrow.table({**columns, "big": big})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=7)
    rows = read_rows(str(tmp_path / "t.parquet"), OF_COMMAND, Findings(), "parquet")
    assert set(rows.stored) == {*types, "big"}
    for name, stored in rows.stored.items():
        texts = [OF_COMMAND.number(cell) for cell in rows.cells[name]]
        expected = [np.nan if number is None else number for number in texts]
        np.testing.assert_array_equal(stored, expected)
    with pytest.raises(NablacError) as caught:
        rows.read_columns(["int8"], Findings(), None)
    assert caught.value.diagnostics[0].message == "column `int8`: the cell is empty"


def test_texts_of_parquet_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    offsets, data = (pyarrow.py_buffer(content) for content in (np.array([0, 1, 2], np.int32).tobytes(), b"a\xff"))
    names = pyarrow.Array.from_buffers(pyarrow.string(), 2, [None, offsets, data])
    parquet.write_table(pyarrow.table({"name": names, "v": [1.0, 2.0]}), tmp_path / "t.parquet")
    rows = read_rows(str(tmp_path / "t.parquet"), OF_COMMAND, Findings(), "parquet")
    for read in (lambda: rows.cells["name"], lambda: blocks_of(tmp_path / "t.parquet")):
        with pytest.raises(NablacError) as caught:
            read()
        assert caught.value.diagnostics[0].message.startswith("this cannot be read as a Parquet file: 'utf-8' codec")


NESTED = {
    "objects": ('{"a": {"x": 1}, "b": 1}', "an object on line 1"),
    "lists": ('{"a": null, "b": 1}\n{"a": [1, 2], "b": 1}', "a list on line 2"),
    "lists in a list": ('[{"a": [1], "b": 1}, {"a": [2], "b": 1}]', "a list on line 1"),
    "objects in a .json of lines": ('{"a": {"x": 1}, "b": 1}\n{"a": 3, "b": 1}', "an object on line 1"),
}


@pytest.mark.parametrize("case", NESTED)
@pytest.mark.parametrize("limit", ["1", "1GiB"])
def test_a_column_of_objects_or_lists_is_no_column_of_texts(
    tmp_path: Path, case: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the columns beside it are read."""
    content, what = NESTED[case]
    monkeypatch.setenv("NABLAC_IN_MEMORY", limit)
    (tmp_path / "t.json").write_text(content)
    data = 'json("t.json") -> columns(inputs: "INPUT", targets: "b")'
    refusal = refused(tmp_path, data.replace("INPUT", "a"), inputs="x: f32[batch, 1]")
    assert refusal == f"E821 HERE/t.json: column `a`: expected numbers or texts, got {what}"
    examples = load(tmp_path, data.replace("INPUT", "b"), "x: f32[batch, 1]", "t: f32[batch, 1]")
    assert set(examples.arrays["x"][:].ravel().tolist()) == {1}


def test_dates_in_a_time_zone_that_is_none_are_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    times = pyarrow.array([0, 3600], pyarrow.timestamp("s", "Mars/Base"))
    parquet.write_table(pyarrow.table({"v": [1.0, 2.0], "time": times}), path)
    with pytest.raises(NablacError) as caught:
        blocks_of(path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "column `time`: the time zone `Mars/Base` of its dates is not known"


def test_views_of_texts_are_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    try:
        parquet.write_table(pyarrow.table({"city": pyarrow.array(["Rome", None], pyarrow.string_view())}), path)
    except (AttributeError, pyarrow.ArrowNotImplementedError):
        pytest.skip("this pyarrow does not write them")
    (block,) = blocks_of(path)
    assert block.rows.cells["city"] == ["Rome", ""] and not block.rows.refused


@pytest.mark.parametrize("most", [1, 2, 10])
def test_broken_lines_of_json_are_gaps_where_they_may_be_skipped(tmp_path: Path, most: int) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a":\n\n{"a": 3}\n[4]\n{"a": 5}\n')
    findings = Findings(skip_broken=True)
    blocks = blocks_of(tmp_path / "t.jsonl", most, findings)
    assert joined(blocks) == {"a": [1, 3, 5]}
    assert [number for block in blocks for number in block.rows.numbers] == [0, 2, 4]
    assert [line for block in blocks for line in block.rows.lines] == [1, 4, 6]
    assert findings.skipped == 2
