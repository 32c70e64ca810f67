"""Input files as arrays: every kind, from a file or from stdin, and what is said of those that do not serve."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from runtime.input_files import InputType, Reading, read_inputs
from runtime.signature import random_keys

N = Dim.named("n")
VECTOR = TensorType(DType.F32, (N,))
TOKENS = TensorType(DType.I64, (N,))
FLAGS = TensorType(DType.BOOL, (N,))


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


ONE_TWO = np.array([1.0, 2.0])
FILES = {
    "one.npy": npy(ONE_TWO),
    "text.txt": b"1 2",
    "held.npz": npz(x=ONE_TWO, label=np.array([7])),
    "other.npz": npz(a=ONE_TWO, b=ONE_TWO),
    "single.npz": npz(a=ONE_TWO),
    "some.json": b'{"x": [1, 2], "more": [3]}',
    "odd.json": b'[1, "NaN", "-Infinity"]',
    "table.csv": b"x,y\n1,5\n2,6\n",
    "half.npy": npy(ONE_TWO)[:-3],
    "garbage.npy": b"garbage" * 20,
    "garbage.npz": b"PK\x03\x04garbage",
    "objects.npy": npy(np.array([{}], object)),
    "fractions.npy": npy(np.array([0.5])),
    "large.npy": npy(np.array([2**63 + 1], np.uint64)),
    "twice.json": b'{"x": [1], "x": [2]}',
    "huge.json": b"[1e400]",
    "dates.npy": npy(np.array(["2020-01-01"], "M8[D]")),
    "beyond.npy": npy(np.array([1e300])),
    "unnamed": npy(ONE_TWO),
    "utf16.json": "[1, 2]".encode("utf-16"),
    "flags.json": b"[true, false]",
    "wide.json": b"[1, 18446744073709551616]",
    "mixed.json": b"[1, true]",
    "digits.json": b"[" + b"9" * 5000 + b"]",
    "ragged.json": b"[[1, 2], [3]]",
    "uneven.json": b"[1, [3]]",
    "deep.json": b"[" * 65 + b"]" * 65,
    "null.json": b"[1, null]",
    "cut.json": b"[1, 2",
    "comma.json": b"[1,\n2,]",
    "more.json": b"[1] [2]",
    "empty.json": b" ",
    "none.json": b"[]",
    **dict.fromkeys(("empty.npy", "empty.npz", "empty.png", "empty.parquet", "empty.jsonl"), b""),
    "header.csv": b"x\n",
    "latin.json": b'["\xe9"]',
    "image.npy": b"\x89PNG\r\n\x1a\n",
    "array.npz.csv": npz(x=ONE_TWO),
    "array.png": npy(ONE_TWO),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


TAKEN: dict[str, tuple[str, InputType, list[float]]] = {
    "an array": ("one.npy", VECTOR, [1, 2]),
    "an array of the input's name, others left aside": ("held.npz", VECTOR, [1, 2]),
    "an array by name": ("held.npz:label", VECTOR, [7]),
    "an array by name for an input by name": ("x=other.npz:b", VECTOR, [1, 2]),
    "the only array, whatever its name": ("x=single.npz", VECTOR, [1, 2]),
    "a JSON object": ("some.json", VECTOR, [1, 2]),
    "a part of a JSON object": ("some.json:more", VECTOR, [3]),
    "what JSON has no numbers for": ("odd.json", VECTOR, [1, np.nan, -np.inf]),
    "a column": ("table.csv:y", VECTOR, [5, 6]),
    "a file without an ending": ("unnamed", VECTOR, [1, 2]),
    "JSON in UTF-16 with its mark": ("utf16.json", VECTOR, [1, 2]),
    "flags alone, which are 1 and 0": ("flags.json", VECTOR, [1, 0]),
    "a whole number beyond 64 bits where floats are wanted": ("wide.json", VECTOR, [1, 2.0**64]),
    "a dtype that the language has not": ("one.npy", np.dtype(np.uint64), [1, 2]),
    "numbers beyond i64 where they are wanted": ("large.npy", np.dtype(np.uint64), [2**63 + 1]),
}


@pytest.mark.parametrize("label", TAKEN)
def test_a_file_is_taken(folder: Path, label: str) -> None:
    argument, wanted, expected = TAKEN[label]
    (found,) = read_inputs([argument], {"x": wanted}).values()
    assert found.dtype == (wanted if isinstance(wanted, np.dtype) else wanted.dtype.numpy)
    np.testing.assert_array_equal(found, np.array(expected, found.dtype))


ARCHIVE = "E807: this cannot be read as an .npz file of plain arrays"
PLAIN = "E807: this cannot be read as a .npy file of a plain array"
REFUSED: dict[str, tuple[str, InputType, str]] = {
    "several arrays, none of the name": ("x=other.npz", VECTOR, "E807: there is no array `x`; the file holds a, b"),
    "an array that is not there": ("other.npz:c", VECTOR, "E807: there is no array `c`"),
    "a file that is cut off": (
        "half.npy",
        VECTOR,
        f"{PLAIN}: its header declares 16 bytes of numbers; the file has 13",
    ),
    "another kind": ("text.txt", VECTOR, "E807: `.txt` is not a supported input file"),
    "no array": (
        "garbage.npy",
        VECTOR,
        f"{PLAIN}: its first bytes are not those of the format",
    ),
    "no archive": (
        "garbage.npz",
        VECTOR,
        f"{ARCHIVE}: it is truncated",
    ),
    "objects": ("objects.npy", VECTOR, f"{PLAIN}: it holds Python objects, not numbers"),
    "a name twice": ("twice.json", VECTOR, "E807: `x` appears twice in an object"),
    "flags among numbers": ("mixed.json", VECTOR, "E807: the JSON holds `true` or `false` among numbers"),
    "a number of 5,000 digits": ("digits.json", VECTOR, "E807: 99999999999999999999.. is beyond f64"),
    "beyond 64 bits": (
        "wide.json",
        TOKENS,
        f"E804: the input is i64[n], and {2.0**64} is beyond i64 ({-(2**63)} to {2**63 - 1})",
    ),
    "rows of two lengths": (
        "ragged.json",
        VECTOR,
        "E807: the JSON holds lists of different lengths: a list of 2, and beside it a list of 1",
    ),
    "a row beside a number": (
        "uneven.json",
        VECTOR,
        "E807: the JSON holds lists of different lengths: a number, and beside it a list of 1",
    ),
    "more axes than arrays have": (
        "deep.json",
        VECTOR,
        "E807: the JSON is nested too deeply: an array has at most 64 axes",
    ),
    "null": ("null.json", VECTOR, "E807: the JSON holds something other than (nested) lists of numbers"),
    "JSON that is cut off": ("cut.json", VECTOR, "E807: this is not JSON: it ends too early"),
    "a comma too many": ("comma.json", VECTOR, "E807: this is not JSON: at column 3, `]`"),
    "two values": ("more.json", VECTOR, "E807: this is not JSON: there is more after its end, at column 5, `[`"),
    "nothing": ("empty.json", VECTOR, "E823: empty.json is empty"),
    "no rows of JSON": ("none.json", VECTOR, "E823: none.json has no rows"),
    "no bytes of an array": ("empty.npy", VECTOR, "E823: empty.npy is empty"),
    "no bytes of an archive": ("empty.npz", VECTOR, "E823: empty.npz is empty"),
    "no bytes of an image": ("empty.png", TensorType(DType.F32, (N, 1, 8, 8)), "E823: empty.png is empty"),
    "no bytes of Parquet": ("empty.parquet", VECTOR, "E823: empty.parquet is empty"),
    "no lines": ("empty.jsonl", VECTOR, "E823: empty.jsonl has no rows"),
    "a header alone": ("header.csv", VECTOR, "E823: header.csv has no rows"),
    "JSON in another encoding": ("latin.json", VECTOR, "E807: this is not UTF-8 text: byte 2"),
    "an image called an array": ("image.npy", VECTOR, "E807: this is an image; expected a .npy file"),
    "an archive called a table": ("array.npz.csv", VECTOR, "E821: this is an NPZ archive; expected a CSV file"),
    "an array called an image": (
        "array.png",
        TensorType(DType.F32, (N, 1, 8, 8)),
        "E821: this is a NumPy array; expected an image",
    ),
    "JSON beyond f64": ("huge.json", VECTOR, "E807: 1e400 is beyond f64"),
    "dates": ("dates.npy", VECTOR, "E804: the input is f32[n], and the array holds dates (datetime64[D])"),
    "beyond f32": ("beyond.npy", VECTOR, "E804: the input is f32[n], and 1e+300 is beyond f32"),
    "fractions for tokens": ("fractions.npy", TOKENS, "E804: the input is i64[n], and 0.5 is not a whole number"),
    "numbers beyond i64": (
        "large.npy",
        TOKENS,
        (f"E804: the input is i64[n], and {2**63 + 1} is beyond i64 ({-(2**63)} to {2**63 - 1})"),
    ),
    "numbers for flags": (
        "one.npy",
        FLAGS,
        ("E804: the input is bool[n], and 2 is neither 0 nor 1, and `bool` is one of the two"),
    ),
}


@pytest.mark.parametrize("label", REFUSED)
def test_a_file_that_does_not_serve_is_told_why(folder: Path, label: str) -> None:
    argument, wanted, expected = REFUSED[label]
    with pytest.raises(NablacError) as caught:
        read_inputs([argument], {"x": wanted})
    (diagnostic,) = caught.value.diagnostics
    assert f"{diagnostic.code}: {diagnostic.message}" == expected
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "nothing.txt", "nothing.npy", "nothing.csv:x"])
def test_a_missing_file_is_told_as_one_whatever_its_kind(tmp_path: Path, name: str) -> None:
    with pytest.raises(NablacError) as caught:
        read_inputs([str(tmp_path / name)], {"x": VECTOR})
    (diagnostic,) = caught.value.diagnostics
    file = tmp_path / name.partition(":")[0]
    assert (diagnostic.code, diagnostic.message) == ("E901", f"there is no file {file}")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv", "x.json", "x.png", "x"])
def test_a_folder_is_told_as_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(NablacError) as caught:
        read_inputs([str(tmp_path / name)], {"x": VECTOR})
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E902", "this is a folder; expected a file")


@pytest.mark.parametrize("name", ["one.npy", "held.npz", "some.json", "table.csv"])
def test_stdin_is_of_the_kind_that_it_begins_like(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    class Piped:
        buffer = io.BytesIO(FILES[name])

    monkeypatch.setattr(sys, "stdin", Piped)
    argument = "x=-:x" if name.endswith(".csv") else "-"
    assert read_inputs([argument], {"x": VECTOR})["x"].tolist() == [1, 2]


def test_an_image_of_another_size_is_said_to_be_made_smaller(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("L", (32, 30)).save(tmp_path / "large.png")
    image.new("L", (28, 28)).save(tmp_path / "right.png")
    said: list[str] = []
    wanted = TensorType(DType.F32, (N, 1, 28, 28))
    for name in ("right.png", "large.png"):
        found = read_inputs([str(tmp_path / name)], {"image": wanted}, Reading(said.append))["image"]
        assert found.shape == (1, 1, 28, 28)
    assert [line.partition("is ")[2] for line in said] == ["32 x 30, and resized to 28 x 28, as the model requires"]


def test_json_that_we_write_is_read_again(tmp_path: Path) -> None:
    from nablac.commands.output import json_text

    text = json_text({"x": [1.0, float("nan"), float("inf")]})
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))  # it is JSON
    (tmp_path / "x.json").write_text(text)
    found = read_inputs([str(tmp_path / "x.json")], {"x": VECTOR})["x"]
    np.testing.assert_array_equal(found, [1, np.nan, np.inf])


@pytest.mark.parametrize(
    ("types", "hint"),
    [
        ({"x": VECTOR}, "its one input is x, given before"),
        ({"x": VECTOR, "seed": TensorType(DType.I64)}, "its one input is x, given before"),
        ({}, "it has no inputs"),
    ],
)
def test_a_file_more_than_inputs_is_told(types: dict[str, InputType], hint: str, folder: Path) -> None:
    with pytest.raises(NablacError) as caught:
        read_inputs(["one.npy", "one.npy"], types, Reading(optional=random_keys(types)))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.hint) == (
        "E802",
        "the model has no input for this file",
        hint,
    )
