"""Runs on data that stays on disk: the weights of those on the same data in memory, in memory that does not grow."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from runtime.data import large_tables, stored_rows, table_blocks
from runtime.data.context import Context
from runtime.data.csv_file import PLAIN
from runtime.data.file_rows import VARIABLE, FileRows, Scratch, most_in_memory
from runtime.data.large_tables import LargeRows, large_rows
from runtime.data.table_blocks import blocks_of_columns
from tests.command_line import invoke
from tests.nablac.line_model import MODEL, write_line

COLUMNS = 'csv("line.csv") -> standardize() -> columns(inputs: ["a", "b", "c"], targets: ["t"])'
DATA = {
    "a table": COLUMNS,
    "arrays": 'npz("line.npz") -> standardize()',
    "another file": COLUMNS,
}


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model, its import and its data."""
    monkeypatch.chdir(tmp_path)
    write_line(tmp_path)
    rows = np.genfromtxt(tmp_path / "line.csv", delimiter=",", names=True)
    np.savez(tmp_path / "line.npz", x=np.stack([rows[name] for name in "abc"], axis=1), t=rows["t"])
    return tmp_path


@pytest.mark.parametrize("data", DATA)
def test_weights_are_those_of_data_in_memory(line: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a run that stops and goes on, here in memory and there on disk."""
    text = MODEL.replace(COLUMNS, DATA[data])
    if data == "another file":
        (line / "other.csv").write_bytes((line / "line.csv").read_bytes())
        text = text.replace("validation 0.25", 'validation "other.csv"')
    (line / "m.model").write_text(text)
    assert invoke("train", "m.model", "-q", "-o", "whole").exit_code == 0
    assert invoke("train", "m.model", "-q", "-o", "later-on-disk", "--epochs", "1").exit_code == 0
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(stored_rows, "_AT_ONCE", 100)
    assert invoke("train", "m.model", "-q", "-o", "on-disk").exit_code == 0
    assert invoke("train", "m.model", "-q", "-o", "later-in-memory", "--epochs", "1").exit_code == 0
    assert invoke("train", "m.model", "--resume", "later-on-disk", "-q", "--epochs", "3").exit_code == 0
    judged = [invoke("eval", run, "--json") for run in ("whole", "on-disk")]
    assert [ended.exit_code for ended in judged] == [0, 0]
    monkeypatch.delenv(VARIABLE)
    assert invoke("train", "m.model", "--resume", "later-in-memory", "-q", "--epochs", "3").exit_code == 0
    weights = (line / "whole" / "weights.safetensors").read_bytes()
    for run in ("on-disk", "later-on-disk", "later-in-memory"):
        assert (line / run / "weights.safetensors").read_bytes() == weights, run
    assert judged[0].stdout == judged[1].stdout.replace("on-disk", "whole")


def test_an_empty_size_is_none_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    usual = most_in_memory()
    for text in ("", " "):
        monkeypatch.setenv(VARIABLE, text)
        assert most_in_memory() == usual


def test_a_size_that_is_none(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "much")
    ended = invoke("train", "m.model", "-q", "-o", "run")
    assert ended.exit_code == 1
    assert ended.stderr == (
        "error[E605]: `much` is not a size\n --> NABLAC_IN_MEMORY\nhelp: write a number with a unit: 500MB, or 2GiB\n"
    )


def test_scratch_files_have_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So none is left when a process is killed."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scratch = Scratch((2,), np.dtype(np.float64), "t.csv")
    scratch.add(np.ones((3, 2)))
    assert scratch.rows()[:].tolist() == [[1.0, 1.0]] * 3
    assert os.listdir(tmp_path) == ["nablac"]
    assert os.listdir(tmp_path / "nablac") == []


WIDTH, AT_ONCE = 20, 64


def peak_of_reading(path: Path, rows: int) -> tuple[int, int]:
    """The most bytes that reading a table of so many rows takes, and the most rows of it that are in memory."""
    names = [f"c{number}" for number in range(WIDTH)]
    line = ",".join("0.12345678901234567" for _ in names) + "\n"
    path.write_text(",".join(names) + "\n" + line * rows)
    most = [0]

    class Counting(large_tables._Writer):
        def add(self, rows: object, numbers: object, kept: object) -> None:
            most[0] = max(most[0], len(rows.lines))  # type: ignore[attr-defined]
            super().add(rows, numbers, kept)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_blocks, "_AT_ONCE", AT_ONCE)
        patch.setattr(large_tables, "_Writer", Counting)
        tracemalloc.start()
        table = large_rows(str(path), lambda names, report: blocks_of_columns(str(path), PLAIN, "csv", names, report))
        assert isinstance(table, LargeRows)
        read = table.read(names, Context(path.parent), None, {})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(read.table, FileRows) and read.table.shape == (rows, WIDTH)
    return peak, most[0]


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    """But for the number of each row, where its numbers alone are 160 bytes, and its text is 400."""
    few, many = (peak_of_reading(tmp_path / "t.csv", rows) for rows in (5_000, 20_000))
    assert many[1] == few[1] == AT_ONCE
    assert many[0] - few[0] < 15_000 * 40
