"""CSV: the same file gives the same numbers in training and in `run`, or the same refusal."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from runtime.data.context import Context
from runtime.data.csv_file import Format
from runtime.input_files import Reading, read_inputs
from tests.runtime.data.descriptions import load

ROWS = [[1.0, 5.0], [2.0, 6.0]]
TAKEN: dict[str, tuple[bytes, str, list[list[float]]]] = {
    "names and numbers": (b"a,t\n1,5\n2,6\n", "", ROWS),
    "gzipped": (gzip.compress(b"a,t\n1,5\n2,6\n"), "", ROWS),
    "spaces": (b"a , t\n 1, 5\n2 ,6 \n", "", ROWS),
    "quotes": (b'"a","t"\n"1","5"\n2,6\n', "", ROWS),
    "a mark before UTF-8": (b"\xef\xbb\xbfa,t\n1,5\n2,6\n", "", ROWS),
    "UTF-16, as spreadsheets write it": ("a,t\n1,5\n2,6\n".encode("utf-16"), "", ROWS),
    "UTF-16 of the other order": (b"\xfe\xff" + "a,t\n1,5\n2,6\n".encode("utf-16-be"), "", ROWS),
    "UTF-16 that was said, without its mark": ("a,t\n1,5\n2,6\n".encode("utf-16-le"), 'encoding: "utf-16"', ROWS),
    "UTF-16 of the other order, without its mark": (
        "a,t\n1,5\n2,6\n".encode("utf-16-be"),
        'encoding: "utf-16"',
        ROWS,
    ),
    "UTF-16 that was said, with its mark": ("a,t\n1,5\n2,6\n".encode("utf-16"), 'encoding: "utf-16"', ROWS),
    "UTF-32": ("a,t\n1,5\n2,6\n".encode("utf-32"), "", ROWS),
    "line ends of every kind": (b"a,t\r\n1,5\r2,6", "", ROWS),
    "blank lines at either end": (b"\n\na,t\n1,5\n2,6\n\n\n", "", ROWS),
    "a blank line between": (b"a,t\n1,5\n\n2,6\n", "", ROWS),
    "powers of ten": (b"a,t\n1e0,.5e1\n+2.,6E+0\n", "", ROWS),
    "a header called nan": (b"a,nan,t\n1,0,5\n2,0,6\n", "", ROWS),
    "a separator and a decimal comma": (b"a;t\n1,0;5,0\n2;6\n", 'separator: ";", decimal: ","', ROWS),
    "decimal commas in quotes": (b'a;t\n"1,25";0\n', 'separator: ";", decimal: ","', [[1.25, 0]]),
    "tabs": (b"a\tt\n1\t5\n2\t6\n", r'separator: "\t"', ROWS),
    "an encoding that was said": ("ä,a,t\né,1,5\né,2,6\n".encode("cp1252"), 'encoding: "cp1252"', ROWS),
    "Shift JIS": ("名,a,t\n東,1,5\n京,2,6\n".encode("shift_jis"), 'encoding: "shift_jis"', ROWS),
    "a header that was said": (b"0,a,t\n9,1,5\n9,2,6\n", "header: true", ROWS),
    "a column without a name": (b",a,t\n7,1,5\n8,2,6\n", "", ROWS),
}


def trained(folder: Path, said: str, columns: tuple[str, str], context: Context) -> list[list[float]]:
    options = f", {said}" if said else ""
    data = f'csv("x.csv"{options}) -> columns(inputs: "{columns[0]}", targets: "{columns[1]}")'
    examples = load(folder, data, "x: f32[batch, 1]", "t: f32[batch, 1]", notes=context.notes).arrays
    return np.hstack([examples["x"], examples["t"]]).tolist()  # type: ignore[no-any-return]


def ran(folder: Path, said: str, columns: tuple[str, str], notes: list[str]) -> list[list[float]]:
    named = dict(each.split(": ") for each in said.split(", ") if each)
    header = {"true": True, "false": False, None: None}[named.get("header")]
    separator = named.get("separator", '","').strip('"').replace(r"\t", "\t")
    decimal, encoding = (named.get(key, default).strip('"') for key, default in (("decimal", "."), ("encoding", "")))
    format = Format(separator, decimal, header, encoding, command=True)
    types = {"x": TensorType(DType.F32, (Dim.named("n"), 2))}
    reading = Reading(notes.append, format, {"x": columns})
    return read_inputs([str(folder / "x.csv")], types, reading)["x"].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", TAKEN)
def test_one_file_gives_training_and_run_the_same_numbers(tmp_path: Path, case: str) -> None:
    content, said, expected = TAKEN[case]
    (tmp_path / "x.csv").write_bytes(content)
    context, notes = Context(tmp_path), list[str]()
    assert trained(tmp_path, said, ("a", "t"), context) == expected
    assert ran(tmp_path, said, ("a", "t"), notes) == expected
    told = [f"note: {place}: {message}" for message, places in context.notes.items() for place in places]
    assert [line for line in notes if "ignored: " not in line] == told
    assert bool(told) == (case in ("a blank line between", "a column without a name"))


def test_a_first_row_of_numbers_is_data_and_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,5\n2,6\n")
    context, notes = Context(tmp_path), list[str]()
    assert trained(tmp_path, "", ("0", "1"), context) == ran(tmp_path, "", ("0", "1"), notes) == ROWS
    assert [message[:52] for message in context.notes] == ["the first row is of numbers, and read as data; `head"]
    assert len(notes) == 1 and "`--header` makes it names" in notes[0]
    quiet: list[str] = []
    assert ran(tmp_path, "header: false", ("0", "1"), quiet) == ROWS and not quiet


REMEDIES: dict[str, tuple[bytes, str, str]] = {
    "a currency": ("a,t\n1,5\n€10,6\n".encode(), "", "as `-1234.5` or `1e-3`, without units or currencies"),
    "a minus that is none": (
        "a,t\n1,5\n\u2212 1,6\n".encode(),
        "",
        "without units or currencies",
    ),
    "infinity": (b"a,t\n1,5\n-inf,6\n", "", "a number is finite"),
    "percent, with commas": (b"a;t\n1;2\n10%;2\n", 'separator: ";", decimal: ","', "as `-1234,5` or"),
    "a title above the names": (b"# of 2024\na,t\n1,5\n", "", "remove titles and comments above them"),
    "a cell too long": (b"a,t\n" + b"x" * 200_000 + b",5\n", "", "cut longer texts; or a quote is not closed"),
}


@pytest.mark.parametrize("case", REMEDIES)
def test_a_hint_says_what_to_change_in_the_file(case: str, tmp_path: Path) -> None:
    content, options, hint = REMEDIES[case]
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(NablacError) as caught:
        trained(tmp_path, options, ("a", "t"), Context(tmp_path))
    assert hint in (caught.value.diagnostics[0].hint or "")


REFUSED: dict[str, tuple[bytes, str, str, str]] = {
    "a first row of numbers and a text": (b"5.1,t\n1,2\n", "E828", "x.csv:1", "the first row may be names or data"),
    "a first row that counts columns": (
        b"0,1\n3,4\n",
        "E828",
        "x.csv:1",
        "the first row may be names or data: `0`, `1`",
    ),
    "a first row that counts behind an index": (b",0,1\n0,3,4\n", "E828", "x.csv:1", "the first row may be"),
    "a missing cell": (b"a,t\n1,5\n,6\n", "E821", "x.csv:3", "column `a`: the cell is empty"),
    "nan": (b"a,t\n1,5\nnan,6\n", "E821", "x.csv:3", "column `a`: `nan` is not a number"),
    "beyond f64": (b"a,t\n1e999,5\n", "E821", "x.csv:2", "column `a`: `1e999` is not a number"),
    "a decimal comma": (b'a,t\n"0,5",5\n', "E821", "x.csv:2", "column `a`: `0,5` is not a number"),
    "thousands": (b'a,t\n"1,000",5\n', "E821", "x.csv:2", "column `a`: `1,000` is not a number"),
    "an underscore": (b"a,t\n1_000,5\n", "E821", "x.csv:2", "column `a`: `1_000` is not a number"),
    "digits of another script": ("a,t\n١٢,5\n".encode(), "E821", "x.csv:2", "column `a`: `١٢` is not a number"),
    "two columns of one name": (b"a,a\n1,5\n", "E821", "x.csv:1", "two columns are called `a`"),
    "a cell too few": (b"a,t\n1,5\n2\n", "E821", "x.csv:3", "1 cell, where the header names 2"),
    "a cell too many": (b"a,t\n1,5\n2,6,7\n", "E821", "x.csv:3", "3 cells, where the header names 2"),
    "a quote that does not end": (b'a,t\n1,5\n"2,6\n3,7\n', "E821", "x.csv:3", "this cannot be read as CSV"),
    "text behind a quote": (b'a,t\n"1"2,5\n', "E821", "x.csv:2", "this cannot be read as CSV"),
    "a null byte": (b"a,t\n1,5\n\0,6\n", "E821", "x.csv:3", "the text contains a null byte"),
    "another encoding": ("a,t\n1,5\né,6\n".encode("latin1"), "E821", "x.csv:3", "this is not UTF-8 text: byte 8"),
    "UTF-16 without its mark": (
        "a,t\n1,5\n".encode("utf-16-le"),
        "E821",
        "x.csv:1",
        "the text contains a null byte",
    ),
    "UTF-16 that is cut off": (
        "a,t\n1,5\n".encode("utf-16")[:-1],
        "E821",
        "x.csv:2",
        "this is not UTF-16 text: byte 16",
    ),
    "a cell of 200,000": (
        b"a,t\n" + b"1" * 200_000 + b",5\n",
        "E821",
        "x.csv:2",
        "this cannot be read as CSV: a cell has more",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_file_gives_training_and_run_the_same_refusal(tmp_path: Path, case: str) -> None:
    content, code, place, message = REFUSED[case]
    (tmp_path / "x.csv").write_bytes(content)
    for read in (
        lambda: trained(tmp_path, "", ("a", "t"), Context(tmp_path)),
        lambda: ran(tmp_path, "", ("a", "t"), []),
    ):
        with pytest.raises(NablacError) as caught:
            read()
        (diagnostic,) = caught.value.diagnostics
        assert (diagnostic.code, diagnostic.place) == (code, f"{tmp_path}/{place}")
        assert diagnostic.message.startswith(message)


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def numpy_file(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, np.ones((3, 2)))
    return buffer.getvalue()


OTHERS = {  # the beginnings that the formats' specifications fix
    "an NPZ archive": numpy_file(np.savez),
    "a NumPy array": numpy_file(np.save),
    "a zip archive, as PyTorch and NumPy save them": zipped("archive/data.pkl"),
    "an Excel file": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "a document of Excel or Word": zipped("[Content_Types].xml", "word/document.xml"),
    "a Python pickle": pickle.dumps([1], 4),
    "a file of weights (safetensors)": b"\x02" + bytes(7) + b'{"}',
    "an ONNX model": b"\x08\x0a\x12\x06nablac\0",
    "a Parquet file": b"PAR1\x15\x04\x15\x20\0",
    "an image": b"\x89PNG\r\n\x1a\n\0",
    "an HDF5 file, as Keras saves them": b"\x89HDF\r\n\x1a\n\0",
    "an SQLite database": b"SQLite format 3\0",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_kind_is_told_as_what_it_is(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.csv").write_bytes(OTHERS[kind])
    for read in (
        lambda: trained(tmp_path, "", ("a", "t"), Context(tmp_path)),
        lambda: ran(tmp_path, "", ("a", "t"), []),
    ):
        with pytest.raises(NablacError) as caught:
            read()
        (diagnostic,) = caught.value.diagnostics
        assert (diagnostic.code, diagnostic.message) == ("E821", f"this is {kind}; expected a CSV file")


def test_an_encoding_that_is_not_the_one_said_is_told_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,t\n1,5\n\x81\x20,6\n")
    options = 'encoding: "shift_jis"'
    for read in (
        lambda: trained(tmp_path, options, ("a", "t"), Context(tmp_path)),
        lambda: ran(tmp_path, options, ("a", "t"), []),
    ):
        with pytest.raises(NablacError) as caught:
            read()
        (diagnostic,) = caught.value.diagnostics
        assert (diagnostic.place, diagnostic.message) == (f"{tmp_path}/x.csv:3", "this is not SHIFT_JIS text: byte 8")


HINTS = {
    "another encoding": (
        "a,t\né,5\n".encode("cp1252"),
        'such as that of Windows, say so: `encoding: "cp1252"`',
        "such as that of Windows, say so: `--encoding 'cp1252'`",
    ),
    "decimal commas between commas": (
        b'a,t\n"0,5",5\n',
        'numbers have a decimal point; `separator: ";"` and `decimal: ","` read a file',
        "numbers have a decimal point; `--separator ';'` and `--decimal ','` read a file",
    ),
    "another separator": (
        b"a;t\n1;5\n",
        'separated by `;`, say so with `separator: ";"`',
        "separated by `;`, say so with `--separator ';'`",
    ),
    "names or data": (b"5.1,t\n1,2\n", "`header: true` reads it as names", "`--header` reads it as names"),
}


@pytest.mark.parametrize("case", HINTS)
def test_a_refusal_names_the_option(tmp_path: Path, case: str) -> None:
    content, of_stage, of_command = HINTS[case]
    (tmp_path / "x.csv").write_bytes(content)
    for read, hint in (
        (lambda: trained(tmp_path, "", ("a", "t"), Context(tmp_path)), of_stage),
        (lambda: ran(tmp_path, "", ("a", "t"), []), of_command),
    ):
        with pytest.raises(NablacError) as caught:
            read()
        assert hint in (caught.value.diagnostics[0].hint or "")


def test_an_input_takes_the_columns_that_it_was_trained_on(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("t,b,a\n9,2,1\n9,4,3\n")
    types = {"x": TensorType(DType.F32, (Dim.named("n"), 2))}
    notes: list[str] = []
    reading = Reading(notes.append, columns={"x": ("a", "b")})
    assert read_inputs([f"{tmp_path}/x.csv"], types, reading)["x"].tolist() == [[1, 2], [3, 4]]
    assert notes == [f"note: {tmp_path}/x.csv: `x` takes a, b; ignored: t"]
    (tmp_path / "x.csv").write_text("a,c\n1,2\n")
    with pytest.raises(NablacError, match="there is no column `b`, which `x` was trained on"):
        read_inputs([f"{tmp_path}/x.csv"], types, reading)


def test_a_header_that_names_several_inputs_feeds_them(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("b,a\n2,1\n4,3\n")
    types = {name: TensorType(DType.F32, (Dim.named("n"), 1)) for name in ("a", "b")}
    found = read_inputs([f"{tmp_path}/x.csv"], types)
    assert {name: array.tolist() for name, array in found.items()} == {"a": [[1], [3]], "b": [[2], [4]]}


def test_a_blank_line_of_one_column_is_a_value_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("value\n0\n1\n\n3\n4\n5\n")
    skipped: list[str] = []
    arguments = {"skip_broken": True, "skipped": skipped}
    examples = load(tmp_path, 'csv("x.csv") -> window("value", length: 2)', **arguments)  # type: ignore[arg-type]
    assert examples.arrays["t"].ravel().tolist() == [5] and len(skipped) == 1


UNFIT = {
    ("300", "u8"): "300 is beyond u8 (0 to 255)",
    ("-200", "i8"): "-200 is beyond i8 (-128 to 127)",
    ("1099511627776", "i32"): "1099511627776 is beyond i32",
    ("9007199254740993", "i64"): "9007199254740992 may be rounded",
    ("7", "bool"): "7 is neither 0 nor 1",
    ("1.5", "i64"): "1.5 is not a whole number",
    ("1e39", "f32"): "1e+39 is beyond f32",
}


@pytest.mark.parametrize(("cell", "dtype"), UNFIT)
def test_a_number_that_the_dtype_has_not_is_named_at_its_line(tmp_path: Path, cell: str, dtype: str) -> None:
    (tmp_path / "x.csv").write_text(f"a,t\n1,5\n\n{cell},6\n")
    reason = UNFIT[cell, dtype]
    data = 'csv("x.csv") -> columns(inputs: "a", targets: "t")'
    with pytest.raises(NablacError) as caught:
        load(tmp_path, data, f"x: {dtype}[batch, 1]", "t: f32[batch, 1]")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place) == ("E824", f"{tmp_path}/x.csv:4")
    assert diagnostic.message.startswith(f"column `a`: the model's `x` is {dtype}[batch, 1], and {reason}")
    with pytest.raises(NablacError) as caught:
        read_inputs([f"{tmp_path}/x.csv:a"], {"x": TensorType(DType(dtype), (Dim.named("n"),))})
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place) == ("E804", f"{tmp_path}/x.csv:4, column `a`")
    assert diagnostic.message.startswith(f"the input is {dtype}[n], and {reason}")


UNNAMED = {  # the file, the columns of the training; what `x` is given
    "by number": ("1,10,a\n2,20,b\n", ("1", "0"), [[10, 1], [20, 2]]),
    "by number, every one": ("1,10\n2,20\n", ("1", "0"), [[10, 1], [20, 2]]),
    "by place, where as many as in training had names": ("1,10\n2,20\n", ("a", "b"), [[1, 10], [2, 20]]),
    "one of them": ("1,10\n2,20\n", ("1",), [10, 20]),
}


@pytest.mark.parametrize("label", UNNAMED)
def test_an_input_takes_its_columns_of_a_file_without_a_header(tmp_path: Path, label: str) -> None:
    content, columns, expected = UNNAMED[label]
    (tmp_path / "x.csv").write_text(content)
    notes: list[str] = []
    reading = Reading(notes.append, Format(header=False, command=True), {"x": columns})
    types = {"x": np.dtype(np.float64)}
    assert read_inputs([f"{tmp_path}/x.csv"], types, reading)["x"].tolist() == expected
    taken = f"note: {tmp_path}/x.csv: there is no header: the columns are taken as a, b of `x`, in this order"
    assert (taken in notes) == (columns == ("a", "b"))


def test_several_inputs_take_their_columns_of_a_file_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,10,100\n2,20,200\n")
    types = {"x": np.dtype(np.float64), "y": np.dtype(np.float64)}
    reading = Reading(format=Format(header=False, command=True), columns={"x": ("2", "0"), "y": ("1",)})
    feeds = read_inputs([f"{tmp_path}/x.csv"], types, reading)
    assert feeds["x"].tolist() == [[100, 1], [200, 2]] and feeds["y"].tolist() == [10, 20]


@pytest.mark.parametrize("columns", [("a", "b"), ("3", "0"), ("a",)])
def test_columns_that_a_file_without_a_header_does_not_tell_are_refused(
    tmp_path: Path, columns: tuple[str, ...]
) -> None:
    (tmp_path / "x.csv").write_text("1,10,100\n2,20,200\n")
    reading = Reading(format=Format(header=False, command=True), columns={"x": columns})
    with pytest.raises(NablacError) as caught:
        read_inputs([f"{tmp_path}/x.csv"], {"x": np.dtype(np.float64)}, reading)
    assert [each.code for each in caught.value.diagnostics] == ["E808"]
