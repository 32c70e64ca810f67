"""Tables that are read in blocks give, bit for bit, what the same tables give in memory."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler.model_spec import EXAMPLE_WEIGHT
from runtime.data import filling, large_tables, scaling, stored_rows, stored_texts, table_blocks, windows
from runtime.data.file_rows import VARIABLE
from tests.runtime.data.descriptions import load, refused
from tests.runtime.data.test_stored_rows import assert_same

COUNT = 400
WORDS = ("the", "sea", "is", "l\u00e4rger", "today", "\U0001f30a", "than", "usual")


def table(gaps: bool = False, ahead: int = 0) -> dict[str, list[object]]:
    """Hourly rows of two stations in turns; of the last ones, `ahead`, only `c` and the time are known."""
    generator = np.random.default_rng(2)
    values = np.concatenate([generator.normal(20, 5, (3, COUNT)), generator.uniform(0, 2, (1, COUNT))])
    rows: dict[str, list[object]] = {
        "time": [f"2024-01-{1 + row // 48:02d} {row // 2 % 24:02d}:00" for row in range(COUNT)],
        "station": [("north", "south")[row % 2] for row in range(COUNT)],
        **{name: [float(number) for number in column] for name, column in zip("abcw", values, strict=True)},
        "kind": [("oak", "elm", "ash")[number] for number in generator.integers(0, 3, COUNT)],
        "shop": [int(number) for number in generator.geometric(0.2, COUNT)],
        "said": [" ".join(WORDS[: number % 5 + 1]) for number in generator.permutation(COUNT)],
        "note": [" ".join(reversed(WORDS[number:])) for number in generator.integers(0, len(WORDS) + 1, COUNT)],
    }
    if gaps:
        for name in "ab":
            for row in generator.integers(10, COUNT - 10, 30):
                rows[name][row] = None
    for name in ("a", "b", "w"):
        rows[name][COUNT - ahead :] = [None] * ahead
    return rows


def write_csv(path: Path, rows: dict[str, list[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows)
        writer.writerows(zip(*rows.values(), strict=True))


def write_lines(path: Path, rows: dict[str, list[object]]) -> None:
    objects = (dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in objects))


def write_gzipped(path: Path, rows: dict[str, list[object]]) -> None:
    write_csv(path, rows)
    path.write_bytes(gzip.compress(path.read_bytes()))


def write_parquet(path: Path, rows: dict[str, list[object]]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(rows), path, row_group_size=130)


FORMATS: dict[str, tuple[str, Callable[[Path, dict[str, list[object]]], None]]] = {
    "csv": ('csv("t.csv")', write_csv),
    "gzipped": ('csv("t.csv.gz")', write_gzipped),
    "lines": ('json("t.jsonl")', write_lines),
    "parquet": ('parquet("t.parquet")', write_parquet),
}
WINDOW = "x: f32[batch, 6, 2]", "t: f32[batch, 2, 1]"
WITH_KNOWN = "x: f32[batch, 6, 2]; input k: f32[batch, 2, 2]", "t: f32[batch, 2, 1]"
PIPES: dict[str, tuple[str, str, str]] = {
    "columns": ('standardize() -> columns(inputs: ["a", "b"], targets: "c")', "x: f32[batch, 2]", "t: f32[batch, 1]"),
    "classes": ('columns(inputs: ["a", "b"], targets: "kind")', "x: f32[batch, 2]", "t: i64[batch]"),
    "one-hot classes": ('columns(inputs: "kind", targets: "kind")', "x: i64[batch]", "t: f32[batch, 3]"),
    "filled": (
        'fill("mean", flag: true) -> min_max() -> columns(inputs: ["a", "missing_a"], targets: "b")',
        "x: f32[batch, 2]",
        "t: f32[batch, 1]",
    ),
    "dates and lags": (
        'by("station") -> fill("mean") -> calendar("time", features: ["hour", "weekday"])'
        ' -> lag("a", steps: [1, 3])'
        ' -> columns(inputs: ["a", "hour_sin", "weekday", "a_lag1", "a_lag3"], targets: "c")',
        "x: f32[batch, 5]",
        "t: f32[batch, 1]",
    ),
    "windows": ('standardize() -> window(["a", "c"], target: "b", length: 6, horizon: 2)', *WINDOW),
    "windows with steps": ('window(["a", "c"], target: "b", length: 6, horizon: 2, stride: 3)', *WINDOW),
    "windows of series": (
        'by("station") -> standardize() -> window(["a", "c"], target: "b", length: 6, horizon: 2)',
        *WINDOW,
    ),
    "windows of dates": (
        'by("station") -> calendar("time", features: "hour") -> standardize()'
        ' -> window(["a", "hour_cos"], target: "b", length: 6, horizon: 2)',
        *WINDOW,
    ),
    "windows filled forwards": (
        'by("station") -> fill("forward") -> standardize() -> window(["a", "c"], target: "b", length: 6, horizon: 2)',
        *WINDOW,
    ),
    "windows interpolated": (
        'fill("interpolate") -> standardize() -> window(["a", "b"], target: "c", length: 6, horizon: 2)',
        *WINDOW,
    ),
    "windows with known columns": (
        'by("station") -> calendar("time", features: "hour") -> fill("forward") -> standardize()'
        ' -> window(["a", "b"], target: "b", length: 6, horizon: 2, known: ["c", "hour_cos"])',
        *WITH_KNOWN,
    ),
    "known columns of one series": (
        'calendar("time", features: "hour") -> fill("interpolate") -> weights(column: "w") -> min_max()'
        ' -> window(["a", "b"], target: ["b"], length: 6, horizon: 2, known: ["c", "hour_cos"], stride: 2)',
        *WITH_KNOWN,
    ),
    "categories": (
        'by("station") -> categories(["shop", "kind"], rare: 9) -> columns(inputs: ["shop", "kind"], targets: "b")',
        "shop: i64[batch]; input kind: i64[batch]",
        "t: f32[batch, 1]",
    ),
    "texts": (
        'by("station") -> tokens(columns: "said", length: 4, most: 9)'
        ' -> tokens(columns: "note", length: 8, empty: true, kind: "characters")'
        ' -> fill("mean") -> categories("kind") -> weights(column: "w") -> standardize()'
        ' -> columns(inputs: ["a", "said", "note", "kind"], targets: "b")',
        "a: f32[batch, 1]; input said: i64[batch, n]; input note: i64[batch, 9]; input kind: i64[batch]",
        "t: f32[batch, 1]",
    ),
    "one text": (
        'tokens(columns: ["note", "said"], length: 20, kind: "bpe", most: 30, empty: true)'
        ' -> columns(inputs: ["said", "note"], targets: "c")',
        "said: i64[batch, n]; input note: i64[batch, m]",
        "t: f32[batch, 1]",
    ),
    "weighed rows": (
        'fill("mean", columns: ["a", "b"]) -> weights(column: "w") -> standardize(["a", "b"])'
        ' -> columns(inputs: ["a", "c"], targets: "b")',
        "x: f32[batch, 2]",
        "t: f32[batch, 1]",
    ),
}
WAYS = [(pipe, False) for pipe in PIPES]
WAYS += [(pipe, True) for pipe, (stages, *_) in PIPES.items() if "fill(" in stages]  # which leaves targets missing


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on a table is read 37 rows at a time, and its numbers from a scratch file, a few at a time."""
    monkeypatch.setattr(scaling, "_AT_ONCE", 64)  # always as many numbers are added up at a time
    monkeypatch.setattr(filling, "_AT_ONCE", 16)

    def limit() -> None:
        monkeypatch.setenv(VARIABLE, "1")
        monkeypatch.setattr(stored_rows, "_AT_ONCE", 1000)
        monkeypatch.setattr(stored_texts, "_AT_ONCE", 50)
        monkeypatch.setattr(table_blocks, "_AT_ONCE", 37)

    return limit


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("pipe", "masks"), WAYS)
def test_tables(tmp_path: Path, form: str, pipe: str, masks: bool, on_disk: Callable[[], None]) -> None:
    source, write = FORMATS[form]
    stages, inputs, target = PIPES[pipe]
    write(tmp_path / source.split('"')[1], table("fill(" in stages, ahead=50 if "known:" in stages else 0))
    notes: tuple[dict[str, list[str]], ...] = ({}, {})
    settings = {"validation": 0.2, "test": 0.1, "masks": masks}
    in_memory = load(tmp_path, f"{source} -> {stages}", inputs, target, notes=notes[0], **settings)
    on_disk()
    stored = load(tmp_path, f"{source} -> {stages}", inputs, target, notes=notes[1], **settings)
    assert_same(in_memory, stored)
    told, of_stored = ({message: sorted(places) for message, places in each.items()} for each in notes)
    assert told == of_stored
    assert in_memory.lines is not None and stored.lines is not None
    assert in_memory.lines[:].tolist() == stored.lines[:].tolist()
    assert {name: one.to_json() for name, one in in_memory.tokenizers.items()} == {
        name: one.to_json() for name, one in stored.tokenizers.items()
    }
    assert (in_memory.starts is None) == (stored.starts is None)
    if in_memory.starts is not None and stored.starts is not None:
        assert in_memory.starts.tolist() == stored.starts.tolist()


def test_windows_that_are_larger_than_their_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is in memory, and its windows are cut when they are read."""
    write_csv(tmp_path / "t.csv", table(gaps=True))
    stages, inputs, target = PIPES["windows interpolated"]
    in_memory = load(tmp_path, f'csv("t.csv") -> {stages}', inputs, target, validation=0.2)
    monkeypatch.setattr(windows, "most_in_memory", lambda: 1)
    assert_same(in_memory, load(tmp_path, f'csv("t.csv") -> {stages}', inputs, target, validation=0.2))


AHEAD = """s,v,p,w
a,1,10,1
a,2,20,2
b,,60,3
a,3,30,4
b,,70,5
a,,40,
b,,80,
"""


@pytest.mark.parametrize("stored", [False, True])
def test_rows_to_predict_are_left_out_of_each_series(tmp_path: Path, stored: bool, on_disk: Callable[[], None]) -> None:
    """One at the end of `a`, whose weight is not there either, and all of `b`."""
    (tmp_path / "t.csv").write_text(AHEAD)
    if stored:
        on_disk()
    data = 'csv("t.csv") -> by("s") -> weights(column: "w") -> window("v", length: 1, horizon: 1, known: "p")'
    notes: dict[str, list[str]] = {}
    examples = load(
        tmp_path, data, "x: f32[batch, 1, 1]; input k: f32[batch, 1, 1]", "t: f32[batch, 1, 1]", notes=notes
    )
    arrays = {name: array[:].ravel().tolist() for name, array in examples.arrays.items()}
    assert arrays == {"x": [1, 2], "k": [20, 30], "t": [2, 3], EXAMPLE_WEIGHT: [2, 4]}
    assert list(notes) == ["4 rows at the ends of series are to be predicted, and left out, since nothing is in `v`"]


@pytest.mark.parametrize("stored", [False, True])
def test_a_table_of_rows_to_predict_alone(tmp_path: Path, stored: bool, on_disk: Callable[[], None]) -> None:
    (tmp_path / "t.csv").write_text("v,p\n" + ",1\n" * 9)
    if stored:
        on_disk()
    data = 'csv("t.csv") -> window("v", length: 1, horizon: 1, known: "p")'
    message = refused(tmp_path, data, inputs="x: f32[batch, 1, 1]; input k: f32[batch, 1, 1]")
    assert message == "E823 : 0 rows are too few for windows of 1 and a horizon of 1"


MISTAKES: dict[str, tuple[str, str, str]] = {
    "a cell that is no number": (
        "a,b\n" + "1,2\n" * 300 + "1,x\n" + "1,2\n" * 9,
        'csv("t.csv") -> columns(inputs: "a", targets: "b")',
        "E821 HERE/t.csv:302: column `b`: `x` is not a number",
    ),
    "a row that is too short": (
        "a,b\n" + "1,2\n" * 300 + "1\n" + "1,2\n" * 9,
        'csv("t.csv") -> columns(inputs: "a", targets: "b")',
        "E821 HERE/t.csv:302: 1 cell, where the header names 2",
    ),
    "no such column": (
        "a,b\n" + "1,2\n" * 300,
        'csv("t.csv") -> columns(inputs: "a", targets: "c")',
        "E822 : HERE/t.csv has no column `c`",
    ),
    "no such column of series": (
        "a,b\n" + "1,2\n" * 300,
        'csv("t.csv") -> by("c") -> columns(inputs: "a", targets: "b")',
        "E822 : HERE/t.csv has no column `c`",
    ),
    "dates that go back": (
        "a,b\n" + "".join(f"2024-01-{1 + row % 30:02d},{row}\n" for row in range(60)),
        'csv("t.csv") -> calendar("a", features: "hour") -> window("b", length: 1, horizon: 1)',
        "E821 HERE/t.csv:32: column `a` goes back from `2024-01-30` to `2024-01-01`",
    ),
    "a quote that is never closed": (
        "a,b\n" + "1,2\n" * 300 + '1,"2\n' * 1,
        'csv("t.csv") -> columns(inputs: "a", targets: "b")',
        "E821 HERE/t.csv:302: this cannot be read as CSV: this quote is never closed, in column `b`",
    ),
    "a text that is missing": (
        "a,b\n" + "x,2\n" * 300 + ",2\n" + "x,2\n" * 9,
        'csv("t.csv") -> tokens(columns: "a", length: 4) -> columns(inputs: "a", targets: "b")',
        "E821 HERE/t.csv:302: column `a`: the text is missing",
    ),
    "no text in the training part": (
        "a,b\n" + ",2\n" * 300,
        'csv("t.csv") -> tokens(columns: "a", length: 4, empty: true) -> columns(inputs: "a", targets: "b")',
        "E823 : no row of the training part has a text in `a`",
    ),
    "an empty class": (
        "a,b\n" + "x,2\n" * 300 + ",2\n" + "x,2\n" * 9,
        'csv("t.csv") -> categories("a") -> columns(inputs: "a", targets: "b")',
        "E821 HERE/t.csv:302: column `a`: the cell is empty",
    ),
    "no rows": ("a,b\n", 'csv("t.csv") -> columns(inputs: "a", targets: "b")', "E823 : HERE/t.csv has no rows"),
    "dates that may be read in two ways": (
        "a,b\n" + "".join(f"{1 + row % 12}/{1 + row // 12}/2024,{row}\n" for row in range(120)),
        'csv("t.csv") -> calendar("a", features: "hour") -> columns(inputs: "b", targets: "b")',
        "E823 : the dates in column `a` of HERE/t.csv may be read in two ways: `1/1/2024`",
    ),
    "no target in any row": (
        "a,b\n" + "1,\n" * 300,
        'csv("t.csv") -> fill("mean") -> columns(inputs: "a", targets: "b")',
        "E823 : no row of HERE/t.csv has a value of `b`: there is nothing to learn from, or to judge by",
    ),
    "all rows to be predicted": (
        "s,a,b\n" + "x,1,\n" * 300,
        'csv("t.csv") -> by("s") -> fill("forward") -> window(["a", "b"], length: 2, target: "b", known: "a")',
        "E823 : no row of HERE/t.csv has a value of `b`: there is nothing to learn from, or to judge by",
    ),
}


@pytest.mark.parametrize(("text", "data", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(tmp_path: Path, text: str, data: str, message: str, on_disk: Callable[[], None]) -> None:
    (tmp_path / "t.csv").write_text(text)
    in_memory = refused(tmp_path, data, inputs="x: f32[batch, 1]")
    on_disk()
    assert in_memory == refused(tmp_path, data, inputs="x: f32[batch, 1]") == message


def test_broken_rows_are_left_out_and_told_once(tmp_path: Path, on_disk: Callable[[], None]) -> None:
    rows = [f"{row},{'x' if row % 90 == 7 else row},\n" for row in range(400)]
    (tmp_path / "t.csv").write_text("a,b,\n" + "".join(rows[:200]) + "\n" + "1\n" + "".join(rows[200:]))
    data = 'csv("t.csv") -> window("b", length: 3, horizon: 1)', "x: f32[batch, 3, 1]", "t: f32[batch, 1]"
    told: list[tuple[list[str], dict[str, list[str]]]] = [([], {}), ([], {})]
    in_memory = load(tmp_path, *data, skip_broken=True, skipped=told[0][0], notes=told[0][1])
    on_disk()
    stored = load(tmp_path, *data, skip_broken=True, skipped=told[1][0], notes=told[1][1])
    assert_same(in_memory, stored)
    assert told[0][1] == told[1][1]
    assert sorted(told[0][0]) == sorted(told[1][0])
    assert len(told[0][0]) == 6
    assert in_memory.starts is not None and stored.starts is not None
    assert in_memory.starts.tolist() == stored.starts.tolist()


def test_a_day_past_the_first_rows_says_how_dates_are_written(tmp_path: Path, on_disk: Callable[[], None]) -> None:
    dates = [f"{1 + row // 24:02d}/01/2024 {row % 24:02d}:00" for row in range(24 * 14)]
    (tmp_path / "t.csv").write_text("when,b\n" + "".join(f"{date},{row}\n" for row, date in enumerate(dates)))
    data = 'csv("t.csv") -> calendar("when", features: "day") -> columns(inputs: "day", targets: "b")'
    in_memory = load(tmp_path, data, "x: f32[batch, 1]", "t: f32[batch, 1]")
    on_disk()
    stored = load(tmp_path, data, "x: f32[batch, 1]", "t: f32[batch, 1]")
    assert_same(in_memory, stored)
    assert stored.dates == in_memory.dates == {"when": "%d/%m/%Y %H:%M"}


@pytest.mark.parametrize("stage", ["", 'categories("a") -> '])
def test_more_classes_than_memory_is_to_hold(
    tmp_path: Path, stage: str, on_disk: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"x{row % 70},1\n" for row in range(300)))
    on_disk()
    data = f'csv("t.csv") -> {stage}columns(inputs: "a", targets: "b")'
    for most in (70, 69):
        monkeypatch.setattr(large_tables, "MOST_CLASSES", most)
        if most == 70:
            load(tmp_path, data, "x: i64[batch]", "t: f32[batch, 1]")
    message = refused(tmp_path, data, inputs="x: i64[batch]", target="t: f32[batch, 1]")
    assert message.endswith("column `a` has more than 69 classes, and all of them are kept in memory")
    assert message.startswith("E913 ")
