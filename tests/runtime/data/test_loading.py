"""Data descriptions: files to examples, parts that do not leak, and every broken file at its place."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from compiler.elaborate.data import SOURCES as DECLARED_SOURCES
from compiler.elaborate.data import STAGES as DECLARED_STAGES
from grammar.diagnostics import NablacError
from runtime.data.batches import Batches
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.sources import SOURCES
from runtime.data.stages import STAGES
from tests.runtime.data.descriptions import load, refused, series


def test_every_source_and_stage_that_the_language_names_is_there() -> None:
    assert {*SOURCES, "arrays"} == set(DECLARED_SOURCES)
    assert set(STAGES) == set(DECLARED_STAGES)


def test_windows_and_their_horizon(tmp_path: Path) -> None:
    series(tmp_path, list(range(10)))
    examples = load(tmp_path, 'csv("series.csv") -> window("value", length: 3, horizon: 2)', target="t: f32[batch, 2]")
    np.testing.assert_array_equal(examples.arrays["x"][0, :, 0], [0, 1, 2])
    np.testing.assert_array_equal(examples.arrays["t"][0], [3, 4])
    assert len(examples) == 6
    np.testing.assert_array_equal(examples.arrays["t"][-1], [8, 9])


def test_shifted_windows_answer_at_every_step(tmp_path: Path) -> None:
    series(tmp_path, list(range(10)))
    data = 'csv("series.csv") -> window("value", length: 4, horizon: 4, shift: 1)'
    examples = load(tmp_path, data, target="t: f32[batch, time, 1]")
    np.testing.assert_array_equal(examples.arrays["x"][0, :, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(examples.arrays["t"][0, :, 0], [1, 2, 3, 4])
    assert len(examples) == 6


@pytest.mark.parametrize("shift", [0, 1])
def test_no_part_sees_what_another_foretells(tmp_path: Path, shift: int) -> None:
    series(tmp_path, list(range(50)))
    data = f'csv("series.csv") -> window("value", length: 4, horizon: {4 if shift else 2}, shift: {shift})'
    examples = load(tmp_path, data, target=f"t: f32[batch, {'time, 1' if shift else '2'}]", validation=0.2, test=0.2)
    seen = {part: set(examples.arrays["t"][places].ravel().tolist()) for part, places in examples.parts.items()}
    assert seen["training"] and seen["validation"] and seen["test"]
    assert max(seen["training"]) < 30 <= min(seen["validation"])
    assert max(seen["validation"]) < 40 <= min(seen["test"])


@pytest.mark.parametrize(
    ("stage", "low", "high"), [("standardize()", None, None), ("min_max(low: -1, high: 1)", -1, 1)]
)
def test_scaling_sees_the_training_rows_alone(
    tmp_path: Path, stage: str, low: float | None, high: float | None
) -> None:
    series(tmp_path, [*range(8), 1000, 2000])
    examples = load(tmp_path, f'csv("series.csv") -> {stage} -> window("value", length: 2)', validation=0.2)
    scaling = examples.scalings["x"]
    training = np.arange(8.0)
    if low is None:
        np.testing.assert_allclose([scaling.offset[0], scaling.scale[0]], [training.mean(), training.std()])
    else:
        np.testing.assert_allclose(scaling.apply(np.array([0.0, 7.0])), [low, high])
    x = examples.arrays["x"] * scaling.scale + scaling.offset
    np.testing.assert_allclose(x[:3, :, 0], [[0, 1], [1, 2], [2, 3]], atol=1e-5)


def test_columns_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a;b;c\n" + "".join(f"{n};{2 * n};{3 * n}\n" for n in range(20)))
    data = 'csv("table.csv", separator: ";") -> columns(inputs: ["a", "b"], targets: "c") -> standardize()'
    examples = load(tmp_path, data, inputs="x: f32[batch, 2]", validation=0.25, seed=3)
    assert [len(examples.parts[part]) for part in ("training", "validation", "test")] == [15, 5, 0]
    training = examples.arrays["x"][examples.parts["training"]]
    np.testing.assert_allclose(training.mean(axis=0), 0, atol=1e-6)
    again = load(tmp_path, data, inputs="x: f32[batch, 2]", validation=0.25, seed=3)
    np.testing.assert_array_equal(examples.parts["validation"], again.parts["validation"])


def test_a_broken_row_is_an_error_or_counted(tmp_path: Path) -> None:
    series(tmp_path, [1, 2, "oops", 4, "", 6, 7, 8])
    data = 'csv("series.csv") -> window("value", length: 2)'
    assert refused(tmp_path, data) == "E821 HERE/series.csv:4: column `value`: `oops` is not a number"
    examples = load(tmp_path, data, skip_broken=True)
    np.testing.assert_array_equal(examples.arrays["x"][:, :, 0], [[6, 7]])  # no window spans a row that is not there
    np.testing.assert_array_equal(examples.arrays["t"], [[8]])
    context = Context(tmp_path, skip_broken=True)
    context.report_broken("series.csv:4", "column `value`: `oops` is not a number")
    assert context.skipped == ["series.csv:4: column `value`: `oops` is not a number"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_texts_and_pairs_are_read_as_their_marks_say(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "text.txt").write_bytes("aüaüaüaü".encode(encoding))
    examples = load(tmp_path, 'text("text.txt") -> characters(length: 2)', "x: i64[batch, 2]", "t: i64[batch, 2]")
    assert examples.tokenizer is not None and examples.tokenizer.decode(examples.arrays["x"][0].tolist()) == "aü"
    (tmp_path / "pairs.tsv").write_bytes("ü a\tA\nb c\tB\n".encode(encoding))
    data = 'pairs("pairs.tsv") -> tokens(target: "class")'
    examples = load(tmp_path, data, "x: i64[batch, S]", "t: i64[batch]")
    assert examples.classes["label"] == ("A", "B")
    assert examples.tokenizer is not None and examples.tokenizer.decode(examples.arrays["x"][0].tolist()) == "ü a"


REFUSED = {
    'csv("nothing.csv") -> window("value", length: 2)': "E820 : there is no file HERE/nothing.csv",
    'csv("series.csv") -> window("valeu", length: 2)': "E822 : HERE/series.csv has no column `valeu`",
    'csv("series.csv") -> window("value", length: 20)': "E823 : 4 rows are too few for windows of 20",
    'csv("series.csv")': "E824 : this does not produce examples yet",
    'csv("series.csv") -> characters(length: 3)': "E823 : `characters`: expected a text, got rows of a table",
    'csv("series.csv") -> window("value", length: 1, horizon: 3)': (
        "E824 : the model's `t`: expected f32[batch, 1], got examples of float64[3, 1]"
    ),
    'npz("series.csv")': "E821 HERE/series.csv: this cannot be read as an .npz file of plain arrays",
    'digits("series.csv")': "E821 HERE/series.csv:2: column `0`: `m0` is not a number",
    'npz("package:ml-dtypes/x.npz")': "E820 : there is no package `ml-dtypes`",
    'npz("package:no_such_package/x.npz")': "E820 : there is no package `no_such_package`",
    'csv("empty.csv") -> window("value", length: 2)': "E823 : HERE/empty.csv has no rows",
    'csv("ragged.csv") -> window("value", length: 2)': "E821 HERE/ragged.csv:3: 3 cells, where the header names 2",
    'text("latin.txt") -> characters(length: 4)': "E821 HERE/latin.txt:1: this is not UTF-8 text: byte 2",
}


@pytest.mark.parametrize("data", REFUSED)
def test_what_does_not_fit_is_said(tmp_path: Path, data: str) -> None:
    series(tmp_path, [1, 2, 3, 4])
    (tmp_path / "empty.csv").write_text("month,value\n")
    (tmp_path / "ragged.csv").write_text("month,value\na,1\nb,2,3\n")
    (tmp_path / "latin.txt").write_bytes(b"ab\xe9cd")
    assert refused(tmp_path, data).startswith(REFUSED[data])


def idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


@pytest.mark.parametrize("packed", [False, True])
def test_digits_of_idx_files(tmp_path: Path, packed: bool) -> None:
    image = np.arange(5 * 3 * 3).reshape(5, 3, 3)
    change = gzip.compress if packed else bytes
    ending = ".gz" if packed else ""
    (tmp_path / f"train-images-idx3-ubyte{ending}").write_bytes(change(idx(image)))
    (tmp_path / f"train-labels-idx1-ubyte{ending}").write_bytes(change(idx(np.arange(5))))
    data = f'digits("train-images-idx3-ubyte{ending}", scale: 255)'
    examples = load(tmp_path, data, inputs="x: f32[batch, 1, 3, 3]", target="t: i64[batch]")
    np.testing.assert_allclose(examples.arrays["x"][:, 0], image / 255, rtol=1e-6)
    np.testing.assert_array_equal(examples.arrays["t"], np.arange(5))


def test_digits_of_a_table_and_a_cut_file(tmp_path: Path) -> None:
    rows = [",".join(map(str, [*range(4), label])) for label in (3, 1, 2)]
    (tmp_path / "digits.csv").write_text("\n".join(rows))
    examples = load(tmp_path, 'digits("digits.csv", scale: 3)', inputs="x: f32[batch, 1, 2, 2]", target="t: i64[batch]")
    np.testing.assert_allclose(examples.arrays["x"][0, 0], np.arange(4).reshape(2, 2) / 3, rtol=1e-6)
    assert examples.arrays["t"].tolist() == [3, 1, 2]
    (tmp_path / "cut-images").write_bytes(idx(np.zeros((5, 3, 3)))[:-4])
    (tmp_path / "cut-labels").write_bytes(idx(np.zeros(5)))
    message = refused(tmp_path, 'digits("cut-images")', inputs="x: f32[batch, 1, 3, 3]", target="t: i64[batch]")
    assert message == "E821 HERE/cut-images: 41 bytes do not make an array of [5, 3, 3]: the file is truncated"
    (tmp_path / "one-images").write_bytes(idx(np.zeros((1, 3, 3))))
    (tmp_path / "one-labels").write_bytes(b"\0\0\x08\0\1")  # a number without axes
    message = refused(tmp_path, 'digits("one-images")', inputs="x: f32[batch, 1, 3, 3]", target="t: i64[batch]")
    assert message == "E821 HERE/one-labels: this IDX file has 0 axes; expected one, of labels"
    (tmp_path / "flat-images").write_bytes(idx(np.zeros(9)))
    (tmp_path / "flat-labels").write_bytes(idx(np.zeros(9)))
    message = refused(tmp_path, 'digits("flat-images")', inputs="x: f32[batch, 1, 3, 3]", target="t: i64[batch]")
    assert message == "E821 HERE/flat-images: this IDX file has 1 axes; expected three, of images"


def test_folders_of_images(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    for name, value in (("cats", 0), ("dogs", 255)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            image_module.new("RGB", (4, 5), (value, 0, 0)).save(tmp_path / "images" / name / f"{number}.png")
    arguments = {"inputs": "x: f32[batch, 3, 4, 4]", "target": "t: i64[batch]"}
    examples = load(tmp_path, 'images("images", size: 4)', **arguments)  # type: ignore[arg-type]
    assert examples.arrays["t"].tolist() == [0, 0, 0, 1, 1, 1]
    assert examples.files[:4] == ("cats/0.png", "cats/1.png", "cats/2.png", "dogs/0.png")
    assert examples.arrays["x"][:, 0].mean(axis=(1, 2)).tolist() == [0, 0, 0, 1, 1, 1]
    (tmp_path / "images" / "dogs" / "bad.png").write_bytes(b"no image")
    assert refused(tmp_path, 'images("images", size: 4)', **arguments).startswith(
        "E821 HERE/images/dogs/bad.png: this cannot be read as an image"
    )
    assert len(load(tmp_path, 'images("images", size: 4)', skip_broken=True, **arguments).files) == 6  # type: ignore[arg-type]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"value": [float(n) for n in range(6)]}), tmp_path / "series.parquet")
    examples = load(tmp_path, 'parquet("series.parquet") -> window("value", length: 2)')
    np.testing.assert_array_equal(examples.arrays["t"][:, 0], [2, 3, 4, 5])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    assert refused(tmp_path, 'parquet("bad.parquet") -> window("value", length: 2)').startswith("E821 HERE/bad.parquet")


def test_characters_are_those_of_the_training_part(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcabcabcabcabcabcwxyz")
    arguments = {"inputs": "x: i64[batch, time]", "target": "t: i64[batch, time]"}
    examples = load(tmp_path, 'text("text.txt") -> characters(length: 3)', validation=0.2, **arguments)  # type: ignore[arg-type]
    assert examples.tokenizer is not None and examples.tokenizer.known == ("a", "b", "c")
    np.testing.assert_array_equal(examples.arrays["x"][0], [1, 2, 3])
    np.testing.assert_array_equal(examples.arrays["t"][0], [2, 3, 1])
    assert examples.arrays["t"].max() == 3 and examples.arrays["t"][-1].tolist()[-1] == 0  # w, x, y, z are unknown


@pytest.mark.parametrize("data", ['window("value", length: 2)', 'columns(inputs: "value", targets: "value")'])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_share_that_holds_nothing_is_refused(tmp_path: Path, data: str, part: str) -> None:
    series(tmp_path, list(range(20)))
    inputs = "x: f32[batch, time, 1]" if data.startswith("window") else "x: f32[batch, 1]"
    with pytest.raises(NablacError, match=rf"E823.*{part} 0\.02 of \d+ examples is less than one example"):
        load(tmp_path, f'csv("series.csv") -> {data}', inputs, **{part: 0.02})  # type: ignore[arg-type]
    assert len(load(tmp_path, f'csv("series.csv") -> {data}', inputs, **{part: 0.2}).parts[part])  # type: ignore[arg-type]
    assert not len(load(tmp_path, f'csv("series.csv") -> {data}', inputs).parts[part])


def test_batches_are_the_seeds_and_the_epochs_alone() -> None:
    arrays = {"x": np.arange(23, dtype=np.float32)}
    examples = Examples(arrays, ("x",), (), parts={"training": np.arange(23)})
    batches = Batches(examples, "training", 5, shuffle=True, seed=4)
    first = [batch["x"].tolist() for batch in batches.epoch(2)]
    assert [len(batch) for batch in first] == [5, 5, 5, 5, 3] and len(batches) == 5
    assert sorted(place for batch in first for place in batch) == list(range(23))
    assert [batch["x"].tolist() for batch in batches.epoch(2, 3)] == first[3:]  # as a resumed run begins
    assert [batch["x"].tolist() for batch in batches.epoch(1)] != first


def test_an_error_on_the_way_is_raised_where_the_batch_is_asked_for() -> None:
    examples = Examples({"x": np.arange(4)}, ("x",), (), parts={"training": np.array([0, 9])})
    with pytest.raises(IndexError):
        list(Batches(examples, "training", 1).epoch(0))


def test_a_package_by_the_name_that_it_is_installed_by_gets_the_name_that_it_is_imported_by(tmp_path: Path) -> None:
    with pytest.raises(NablacError) as caught:
        Context(tmp_path).path("package:ML-dtypes/x.npz", None)
    assert caught.value.diagnostics[0].hint == "Python imports it as `ml_dtypes`: `package:ml_dtypes/x.npz`"
