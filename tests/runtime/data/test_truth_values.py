"""True and false, which Parquet and JSON hold as such and CSV as texts: a model of one kind reads the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from grammar.diagnostics import NablacError
from runtime.data.csv_file import Format
from runtime.data.examples import fitted_to
from runtime.data.numeric_classes import class_names
from tests.command_line import invoke, succeed
from tests.runtime.data.descriptions import load

TRUTHS = [True, False, False, True, True, False]  # of six rows
WRITINGS = {
    "pandas": ("True", "False"),
    "lower": ("true", "false"),
    "spreadsheet": ("TRUE", "FALSE"),
    "numbers": ("1", "0"),
    "floats": ("1.0", "0.0"),
}
FILES = (*WRITINGS, "json", "parquet")


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["True", "False"], ("False", "True")),
        (["true", "TRUE", "False"], ("False", "TRUE")),  # in the order of 0 and 1, not of the letters
        (["TRUE", "false"], ("false", "TRUE")),
        (["true"], ("true",)),
        (["true", "false", "none"], ("false", "none", "true")),
        (["true", "maybe"], ("maybe", "true")),
    ],
)
def test_the_names_of_classes(cells: list[str], names: tuple[str, ...]) -> None:
    assert class_names(cells, Format()) == names


def write(folder: Path, kind: str) -> str:
    """Write the rows as a file of a kind: its source in a data description."""
    if kind in WRITINGS:
        rows = "".join(f"{WRITINGS[kind][not truth]},{row}\n" for row, truth in enumerate(TRUTHS))
        (folder / f"{kind}.csv").write_text(f"flag,x\n{rows}")
        return f'csv("{kind}.csv")'
    if kind == "json":
        lines = [json.dumps({"flag": truth, "x": row}) for row, truth in enumerate(TRUTHS)]
        (folder / "json.jsonl").write_text("\n".join(lines))
        return 'json("json.jsonl")'
    parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    parquet.write_table(pyarrow.table({"flag": TRUTHS, "x": list(range(len(TRUTHS)))}), folder / "parquet.parquet")
    return 'parquet("parquet.parquet")'


COLUMNS = ' -> columns(inputs: "x", targets: "flag")'
CATEGORIES = ' -> categories("flag", rare: 1) -> columns(inputs: "flag", targets: "x")'


@pytest.mark.parametrize("later", FILES)
@pytest.mark.parametrize("first", FILES)
def test_a_model_of_one_kind_of_file_reads_the_others(first: str, later: str, tmp_path: Path) -> None:
    sources = [write(tmp_path, kind) for kind in (first, later)]
    for data, inputs, target, array, others in (
        (COLUMNS, "x: f32[batch, 1]", "flag: i64[batch]", "flag", 0),
        (CATEGORIES, "flag: i64[batch]", "x: f32[batch, 1]", "flag", 1),
    ):
        trained = load(tmp_path, sources[0] + data, inputs, target)
        read = load(tmp_path, sources[1] + data, inputs, target, fitted=fitted_to(trained), keeps_raw=True)
        assert np.asarray(read.arrays[array][:]).tolist() == [truth + others for truth in TRUTHS]
        assert read.classes == trained.classes


@pytest.mark.parametrize("in_memory", ["1GiB", "8B"])
def test_columns_of_numbers_stay_so(in_memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NABLAC_IN_MEMORY", in_memory)
    fitted = fitted_to(load(tmp_path, write(tmp_path, "json") + COLUMNS, "x: f32[batch, 1]", "flag: i64[batch]"))
    (tmp_path / "l.csv").write_text("flag,x\nTrue,1\nTrue,2\n")
    read = load(tmp_path, 'csv("l.csv")' + COLUMNS, "x: f32[batch, 1]", "flag: i64[batch]", fitted=fitted)
    assert np.asarray(read.arrays["flag"][:]).tolist() == [1, 1]  # not 0, the first class of this file
    (tmp_path / "l.csv").write_text("flag,x\nyes,1\nno,2\n")
    with pytest.raises(NablacError, match="column `flag`: `yes` is not a number"):
        load(tmp_path, 'csv("l.csv")' + COLUMNS, "x: f32[batch, 1]", "flag: i64[batch]", fitted=fitted)


def test_windows_read_them_as_numbers(tmp_path: Path) -> None:
    values = ["True", "0", "TRUE", "false"]
    (tmp_path / "w.csv").write_text("open\n" + "".join(f"{value}\n" for value in values))
    examples = load(tmp_path, 'csv("w.csv") -> window("open", length: 2, horizon: 1)')
    assert examples.arrays["x"][:, :, 0].tolist() == [[1, 0], [0, 1]]
    assert examples.arrays["t"].ravel().tolist() == [1, 0]


SPEC = """
model M {
    input flag: i64[batch], x: f32[batch, 1]
    output y = concat([Embedding(2, 4)(flag), x], axis: -1) -> Dense(2)
}
train M {
    target t: i64[batch]
    loss cross_entropy(y, t)
    optimizer adam(lr: 1e-2)
    epochs 1
    data csv("a.csv") -> columns(inputs: ["flag", "x"], targets: "y")
}
"""


def test_commands_read_all_and_print_the_classes_of_the_training(tmp_path: Path) -> None:
    rows = [(row % 3 == 0, row, row % 2 == 0) for row in range(12)]
    (tmp_path / "a.csv").write_text("flag,x,y\n" + "".join(f"{flag},{x},{y}\n" for flag, x, y in rows))
    lines = [json.dumps(dict(zip(("flag", "x", "y"), row, strict=True))) + "\n" for row in rows]
    (tmp_path / "b.jsonl").write_text("".join(lines))
    (tmp_path / "c.csv").write_text("flag,x,y\n" + "".join(f"{flag:d},{x},{y:d}\n" for flag, x, y in rows))
    (tmp_path / "m.model").write_text(SPEC)
    succeed("train", "m.model", "-q", "-o", "run", folder=tmp_path)
    files = ("a.csv", "b.jsonl", "c.csv")
    for command in (("eval", "run", "--data"), ("predict", "run", "--keep", "none")):
        done = [invoke(*command, file, folder=tmp_path) for file in files]
        assert {(result.exit_code, result.stderr) for result in done} == {(0, "")}
        printed = {result.stdout.replace(file, "") for result, file in zip(done, files, strict=True)}
        assert len(printed) == 1 and "True" in printed.pop()
