"""Broken data: named at its place, or left out and counted; arguments that mean nothing are found by `check`."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from compiler.elaborate import checking
from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.data.arrays import from_arrays
from runtime.data.context import Context
from tests.runtime.data.descriptions import load, refused, series

ARGUMENTS = {
    'csv("")': '`path` of `csv` must be a non-empty text, got the text ""',
    "csv(5)": "`path` of `csv` must be a non-empty text, got the number 5",
    'csv("a", separator: ";;")': '`separator` of `csv` must be one character, got the text ";;"',
    'csv("a", separator: "")': '`separator` of `csv` must be one character, got the text ""',
    'csv("a", decimal: "x")': '`decimal` of `csv` must be "." or ",", got the text "x"',
    'csv("a", thousands: ";")': '`thousands` of `csv` must be "," or "." or "_" or "\'" or a space, got the text ";"',
    'csv("a", decimal: ",")': "`csv`: `separator` must differ from a quote, a line break and `decimal`",
    'csv("a", separator: "\\n")': "`csv`: `separator` must differ from a quote, a line break and `decimal`",
    'csv("a", header: 1)': "`header` of `csv` must be true or false, got the number 1",
    'images("a", size: -3)': "`size` of `images` must be a whole number of at least 0, got the number -3",
    'images("a", size: 1.5)': "`size` of `images` must be a whole number of at least 0, got the number 1.5",
    'images("a", channels: 2)': "`channels` of `images` must be 1, 3 or 4, got the number 2",
    'csv("a") -> window("v", length: 3.5)': (
        "`length` of `window` must be a whole number of at least 1, got the number 3.5"
    ),
    'csv("a") -> window("v", length: "x")': (
        '`length` of `window` must be a whole number of at least 1, got the text "x"'
    ),
    'csv("a") -> window([], length: 3)': (
        "`columns` of `window` must be a text or a non-empty list of texts, got an empty list"
    ),
    'text("a") -> characters(length: 0)': (
        "`length` of `characters` must be a whole number of at least 1, got the number 0"
    ),
    'text("a") -> tokens(length: 0)': ("`length` of `tokens` must be a whole number of at least 1, got the number 0"),
    'text("a") -> tokens(target: "clas")': (
        '`target` of `tokens` must be "text" or "class" or "number", got the text "clas"'
    ),
    'pairs("a", columns: ["a"])': (
        "`columns` of `pairs` must be a list of two whole numbers from 0, or of two names, got a list of 1 item"
    ),
    'pairs("a", columns: ["a", "b"], separator: "||")': (
        "`pairs`: `separator` must be one character if `columns` are names"
    ),
    'pairs("a", separator: "")': '`separator` of `pairs` must be a non-empty text, got the text ""',
    'npz("a") -> split(validation: "a")': ('`validation` of `split` must be a fraction in [0, 1), got the text "a"'),
    'npz("a") -> split(test: -0.5)': "`test` of `split` must be a fraction in [0, 1), got the number -0.5",
    'npz("a") -> split(test: 0.5, validation: 0.5)': "`split`: the fractions must add up to less than 1",
    'npz("a") -> augment(mixup: -1)': "`mixup` of `augment` must be a number of at least 0, got the number -1",
    'npz("a") -> augment(noise: "a")': '`noise` of `augment` must be a number of at least 0, got the text "a"',
    'npz("a") -> min_max(low: 1, high: 1)': "`min_max`: `low` must be below `high`",
}


@pytest.mark.parametrize("data", ARGUMENTS)
def test_check_finds_arguments_that_mean_nothing(data: str) -> None:
    text = "model M { input x: [batch, 1]; output x -> Dense(1) }\n"
    text += f"train M {{ target t: [batch, 1]; loss mean(t); data {data} }}"
    with pytest.raises(NablacError) as caught:
        checking.check(program_of(Source("m.model", text)))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E605", ARGUMENTS[data])
    assert diagnostic.span is not None and diagnostic.span.line == 2


FILES = {
    'csv("folder") -> window("v", length: 2)': "E820 : HERE/folder is a folder; expected a file",
    'digits("folder")': "E820 : HERE/folder is a folder; expected a file",
    'csv("double.csv") -> window("a", length: 2)': "E821 HERE/double.csv:1: two columns are called `a`",
    'csv("value.csv") -> columns(inputs: "a", targets: "b")': "E821 HERE/value.csv:3: column `b`: `x` is not a number",
    'text("bad.py") -> characters(length: 2)': "E821 HERE/bad.py:1: this is not valid Python",
    'digits("none")': "E823 : HERE/none holds no images",
    'digits("nan.csv", label: "last")': "E821 HERE/nan.csv:2: column `1`: `nan` is not a number",
    'npz("nan.npz")': "E821 HERE/nan.npz: `x` is not finite at example 2: [nan]",
}


@pytest.mark.parametrize("data", FILES)
def test_a_broken_file_is_named_at_its_place(tmp_path: Path, data: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "double.csv").write_text("a,a,b\n1,2,3\n")
    (tmp_path / "value.csv").write_text("a,b\n1,2\n3,x\n")
    (tmp_path / "bad.py").write_text("a = (\n")
    (tmp_path / "none").write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 3, 3))
    (tmp_path / "none-labels").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 0))
    (tmp_path / "nan.csv").write_text("1,2,3,4,0\n1,nan,3,4,1\n")
    np.savez(tmp_path / "nan.npz", x=np.array([[1.0], [2], [np.nan]]), t=np.zeros((3, 1)))
    data = data.replace('digits("none")', 'digits("none", labels: "none-labels")')
    message = refused(tmp_path, data, inputs="x: f32[batch, 1]")
    assert message == FILES[data.replace(', labels: "none-labels"', "")]


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("a,t,,\n1,2,,\n3,4,,\n")
    examples = load(tmp_path, 'csv("sheet.csv") -> columns(inputs: "a", targets: "t")', "x: f32[batch, 1]")
    assert examples.arrays["x"].tolist() == [[1], [3]]


def test_a_table_may_be_gzipped(tmp_path: Path) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"a,t\n1,2\n3,4\n"))
    examples = load(tmp_path, 'csv("rows.csv.gz") -> columns(inputs: "a", targets: "t")', "x: f32[batch, 1]")
    assert examples.arrays["t"].tolist() == [[2], [4]]


def test_broken_examples_of_arrays_can_be_left_out(tmp_path: Path) -> None:
    arrays = {"x": np.array([1.0, np.nan, 3, 4]), "t": np.array([1, 2, np.inf, 4])}
    context = Context(tmp_path, skip_broken=True)
    assert from_arrays(arrays, "rows.npz", context).arrays["x"].tolist() == [1, 4]
    assert context.skipped == [
        "rows.npz: `x` is not finite at example 1: [nan]",
        "rows.npz: `t` is not finite at example 2: [inf]",
    ]


def test_no_window_spans_a_row_that_was_left_out(tmp_path: Path) -> None:
    series(tmp_path, [0, 1, 2, "oops", 4, 5, 6, 7])
    examples = load(tmp_path, 'csv("series.csv") -> window("value", length: 2)', skip_broken=True)
    assert examples.arrays["t"].ravel().tolist() == [2, 6, 7]
    text = (tmp_path / "series.csv").read_text().replace("oops", "3,3")
    (tmp_path / "series.csv").write_text(text)
    ragged = load(tmp_path, 'csv("series.csv") -> window("value", length: 2)', skip_broken=True)
    assert ragged.arrays["t"].ravel().tolist() == [2, 6, 7]


DIGITS = {
    "first by its name": ("label,p,q,r,s\n1,0,9,9,3\n0,0,9,9,2\n", "", [1, 0]),
    "last by what an image has at its corner": ("0,9,9,3,1\n0,9,9,2,0\n", "", [1, 0]),
    "first as it is said": ("1,0,9,9,3\n0,5,9,9,2\n", ', label: "first"', [1, 0]),
    "last as it is said": ("1,0,9,9,3\n0,5,9,9,2\n", ', label: "last"', [3, 2]),
}


@pytest.mark.parametrize("name", DIGITS)
def test_the_labels_of_a_table_of_digits(tmp_path: Path, name: str) -> None:
    text, said, labels = DIGITS[name]
    (tmp_path / "digits.csv").write_text(text)
    examples = load(tmp_path, f'digits("digits.csv"{said})', "x: f32[batch, 1, 2, 2]", "t: i64[batch]")
    assert examples.arrays["t"].tolist() == labels


def test_labels_that_either_end_could_hold_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "digits.csv").write_text("1,0,9,9,3\n0,5,9,9,2\n")
    message = refused(tmp_path, 'digits("digits.csv")', inputs="x: f32[batch, 1, 2, 2]", target="t: i64[batch]")
    assert message == "E823 : either end of the rows of HERE/digits.csv can be their labels"


def test_images_in_grey(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    (tmp_path / "images" / "cats").mkdir(parents=True)
    image_module.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "images" / "cats" / "1.png")
    examples = load(tmp_path, 'images("images", channels: 1)', "x: f32[batch, 1, 4, 4]", "t: i64[batch]")
    assert examples.arrays["x"].shape == (1, 1, 4, 4) and examples.arrays["x"].min() == 1


def test_an_image_too_large_to_open_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_module = pytest.importorskip("PIL.Image")
    (tmp_path / "images" / "cats").mkdir(parents=True)
    image_module.new("L", (64, 64)).save(tmp_path / "images" / "cats" / "1.png")
    monkeypatch.setattr(image_module, "MAX_IMAGE_PIXELS", 100)
    message = refused(tmp_path, 'images("images")', inputs="x: f32[batch, 3, 64, 64]", target="t: i64[batch]")
    assert message.startswith("E821 HERE/images/cats/1.png: this cannot be read as an image")


ARRAYS = {
    "dates": (np.full((2, 1), np.datetime64("2020-01-01")), "the array holds dates (datetime64[D])"),
    "complex numbers": (np.ones((2, 1), np.complex64), "the array holds complex numbers"),
    "records": (np.zeros((2, 1), [("a", "f4")]), "the array holds records ([('a', '<f4')])"),
    "bytes": (np.full((2, 1), b"1"), "the array holds bytes of text"),
    "texts": (np.full((2, 1), "1"), "the array holds texts"),
    "beyond f32": (np.array([[0], [1e39]]), "1e+39 is beyond f32: example 1"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_an_input_cannot_be_are_refused(tmp_path: Path, case: str) -> None:
    array, reason = ARRAYS[case]
    np.savez(tmp_path / "x.npz", x=array, t=np.zeros((2, 1)))
    message = refused(tmp_path, 'npz("x.npz")', inputs="x: f32[batch, 1]")
    assert message == f"E824 : the model's `x` is f32[batch, 1], and {reason}"


def test_arrays_whose_names_do_not_tell_are_refused(tmp_path: Path) -> None:
    one, two = np.ones((2, 1)), np.full((2, 1), 2.0)
    np.savez(tmp_path / "x.npz", b=one, a=two)
    message = refused(tmp_path, 'npz("x.npz")', inputs="x: f32[batch, 1]")
    assert message == "E824 : the model needs `x`, `t`, and the data has `b`, `a`"
    np.savez(tmp_path / "x.npz", b=one, x=two)
    assert load(tmp_path, 'npz("x.npz")', "x: f32[batch, 1]").arrays["t"].tolist() == [[1], [1]]
    np.savez(tmp_path / "x.npz", b=one, x=two, c=one)
    message = refused(tmp_path, 'npz("x.npz")', inputs="x: f32[batch, 1]")
    assert message == "E824 : the model needs `t`, and the data has `b`, `c`"


def test_dates_of_parquet_are_neither_numbers_nor_classes(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"x": pyarrow.array([0, 1], pyarrow.timestamp("us")), "h": np.array([0.1, 0.2], np.float16)}
    parquet.write_table(pyarrow.table({**columns, "t": [1, 2]}), tmp_path / "rows.parquet")
    data = 'parquet("rows.parquet") -> columns(inputs: "{}", targets: "t")'
    message = refused(tmp_path, data.format("x"), inputs="x: i64[batch, 1]")
    reason = "column `x`: expected numbers or texts, got dates or times (timestamp[us])"
    assert message == f"E821 HERE/rows.parquet: {reason}"
    examples = load(tmp_path, data.format("h"), "x: f32[batch, 1]").arrays["x"]
    np.testing.assert_array_equal(examples, columns["h"].astype(np.float32)[:, None])


def test_labels_of_digits_are_whole(tmp_path: Path) -> None:
    (tmp_path / "digits.csv").write_text("1.5,0,9,9,3\n0,5,9,9,2\n")
    data = 'digits("digits.csv", label: "first")'
    message = refused(tmp_path, data, inputs="x: f32[batch, 1, 2, 2]", target="t: i64[batch]")
    assert message == "E824 : the model's `t` is i64[batch], and 1.5 is not a whole number: example 0"


def test_what_pairs_leaves_out_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\n\na\tb\na\tc\n")
    catalogue = 'msgid ""\nmsgstr "head"\n\nmsgid "a"\nmsgstr ""\n\n#, fuzzy\nmsgid "b"\nmsgstr "c"\n\n'
    (tmp_path / "b.po").write_text(catalogue + '# fuzzy logic\nmsgid "d"\nmsgstr "e"\n\nmsgid "<b>"\nmsgstr "f"\n')
    notes: dict[str, list[str]] = {}
    inputs, target = "source: i64[batch, S], target_in: i64[batch, T]", "target_out: i64[batch, T]"
    for name, texts in (("a.tsv", [("a", "b"), ("a", "c")]), ("b.po", [("d", "e")])):
        examples = load(tmp_path, f'pairs("{name}") -> tokens()', inputs, target, notes=notes)
        assert examples.texts == texts
    assert {message: [place.partition(f"{tmp_path}/")[2] for place in places] for message, places in notes.items()} == {
        "a blank line is skipped": ["a.tsv:2"],
        "a repeated pair is skipped": ["a.tsv:3"],
        "a message without a translation is skipped": ["b.po:4"],
        "a message whose translation is marked fuzzy is skipped": ["b.po:7"],
        "a message with markup is skipped": ["b.po:15"],
    }


@pytest.mark.parametrize("cell", ["", "NA"])
def test_a_missing_cell_has_the_hint_that_fills_it(tmp_path: Path, cell: str) -> None:
    (tmp_path / "t.csv").write_text(f"a,t\n1,2\n{cell},4\n")
    with pytest.raises(NablacError) as caught:
        load(tmp_path, 'csv("t.csv") -> columns(inputs: "a", targets: "t")', "x: f32[batch, 1]")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.place == f"{tmp_path}/t.csv:3"
    assert diagnostic.hint is not None and "`-> fill(...)`" in diagnostic.hint and "`--skip-broken`" in diagnostic.hint
