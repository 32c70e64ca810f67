"""`nablac predict`: from a table, a series, images and texts to a file, by a run, its `.onnx` and Python alike."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from tests.command_line import Ended, invoke, shell, surroundings
from tests.nablac.predicting_models import MODELS, write_data, write_pictures

Array = Any


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run of every model, each trained when it is first asked for, which is the current one."""
    folder = tmp_path_factory.mktemp("predict")
    write_data(folder)
    with chdir(folder):
        yield folder


def run(folder: Path, name: str) -> str:
    """The name of the run of a model in the folder."""
    if not (folder / name).exists():
        if name == "images":
            write_pictures(folder)
        (folder / f"{name}.model").write_text(MODELS[name])
        done = invoke("train", f"{name}.model", "-o", name, "-q", folder=folder)
        assert done.exit_code == 0, done.stderr
    return name


def rows_of(ended: Ended) -> list[dict[str, str]]:
    """The rows that were printed."""
    assert ended.exit_code == 0, ended.stderr
    return list(csv.DictReader(io.StringIO(ended.stdout)))


# The input that each model predicts for, and the columns of its results
INPUTS: dict[str, tuple[list[str], list[str]]] = {
    "table": (
        ["table.csv"],
        ["id", "day", "kind", "price", "predicted_kind", "probability_ash", "probability_elm", "probability_oak"],
    ),
    "price": (["table.csv"], ["id", "day", "colour", "kind", "price", "predicted_price"]),
    "series": (["series.csv", "--steps", "5"], ["time", "station", "step", "predicted_temp", "predicted_load"]),
    "images": (["pictures"], ["file", "predicted_label", "probability_cross", "probability_disc", "probability_line"]),
    "texts": (["reviews.tsv"], ["text", "predicted_label", "probability_neg", "probability_pos"]),
    "digits": (["digits.csv"], ["label", "predicted_label", "probability_0", "probability_1", "probability_2"]),
}


def values(rows: list[dict[str, str]]) -> dict[str, list[Any]]:
    """Columns of numbers where all cells are some, else of texts."""
    columns: dict[str, list[Any]] = {}
    for name in rows[0]:
        cells = [row[name] for row in rows]
        try:
            columns[name] = [float(cell) for cell in cells]
        except ValueError:
            columns[name] = cells
    return columns


@pytest.mark.parametrize("model", INPUTS)
def test_a_run_its_onnx_and_python_give_the_same(runs: Path, model: str) -> None:
    arguments, names = INPUTS[model]
    by_run = values(rows_of(invoke("predict", run(runs, model), *arguments)))
    assert list(by_run) == names
    by_ort = values(rows_of(invoke("predict", model, *arguments, "--backend", "ort")))
    by_file = values(rows_of(invoke("predict", f"{model}/model.onnx", *arguments)))
    assert by_file == by_ort  # one runtime, bit for bit
    again = f"{model}.again.onnx"
    assert invoke("compile", model, "-o", again, "-q").exit_code == 0
    assert values(rows_of(invoke("predict", again, *arguments))) == by_file
    options: dict[str, Any] = {"steps": 5} if model == "series" else {}
    loaded = nablac.load(model)
    in_python = loaded.predict(arguments[0], **options)
    loaded.save(f"{model}.again.safetensors")
    kept = nablac.load(f"{model}.model", f"{model}.again.safetensors").predict(arguments[0], **options)
    assert list(in_python) == list(kept) == names
    for name in names:
        if isinstance(by_run[name][0], str):
            assert list(in_python[name]) == list(kept[name]) == by_run[name] == by_file[name]
        else:
            np.testing.assert_array_equal(in_python[name].astype(np.float32), np.float32(by_run[name]))
            np.testing.assert_array_equal(kept[name], in_python[name])
            np.testing.assert_allclose(by_file[name], by_run[name], rtol=1e-5, atol=1e-6)


def test_the_numbers_are_those_of_run(runs: Path) -> None:
    """Raw in, raw out: what `run` says of the same table."""
    run(runs, "price")
    invoke("run", "price", "table.csv", "-o", "by_run.csv", "-q")
    by_run = [float(row["y"]) for row in csv.DictReader(Path("by_run.csv").read_text().splitlines())]
    predictions = values(rows_of(invoke("predict", "price", "table.csv")))
    np.testing.assert_array_equal(np.float32(predictions["predicted_price"]), np.float32(by_run))
    assert 90 < np.mean(predictions["predicted_price"]) < 130  # in the units of the column


def test_columns_in_another_order_are_the_same_columns(runs: Path) -> None:
    run(runs, "table")
    rows = list(csv.DictReader(Path("table.csv").read_text().splitlines()))
    names = ["price", "colour", "b", "id", "a"]
    with Path("turned.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    plain, turned = (invoke("predict", "table", name, "--keep", "none") for name in ("table.csv", "turned.csv"))
    assert plain.exit_code == 0 and plain.stdout == turned.stdout


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_results_are_written_to_a_file(runs: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    run(runs, "table")
    done = invoke("predict", "table", "table.csv", "-o", f"out.{ending}")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"out.{ending}: 30 rows\n")
    again = invoke("predict", "table", "table.csv", "-o", f"all.{ending}", "--keep", "all", "--json")
    facts = json.loads(again.stdout)
    assert (facts["output"], facts["rows"], facts["skipped"]) == (f"all.{ending}", 30, 0)
    assert facts["columns"][:3] == ["id", "day", "a"]
    # what was written is a table that the model predicts for
    assert (
        invoke("predict", "table", f"all.{ending}", "--keep", "none").stdout
        == invoke("predict", "table", "table.csv", "--keep", "none").stdout
    )


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal of POSIX")
@pytest.mark.parametrize(("arguments", "is_shown"), [(["-o", "seen.csv"], True), ([], False), (["-o", "-"], False)])
def test_rows_are_counted_on_a_terminal_that_has_no_results(
    runs: Path, arguments: list[str], is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(runs, "price")
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "nablac", "predict", "price", "table.csv", *arguments]
    done = subprocess.run(command, stdout=theirs, stderr=theirs, env=surroundings(), timeout=60)
    with open(ours, "rb", buffering=0) as screen:
        shown = screen.read(65536)
    os.close(theirs)
    assert (done.returncode, b"0:00:0" in shown) == (0, is_shown), shown


def test_json_is_a_list_of_rows(runs: Path) -> None:
    done = invoke("predict", run(runs, "price"), "table.csv", "--json")
    rows = json.loads(done.stdout)
    assert len(rows) == 30 and rows[0]["id"] == "n00" and isinstance(rows[0]["predicted_price"], float)


def test_tables_come_from_standard_input(runs: Path) -> None:
    run(runs, "price")
    whole = invoke("predict", "price", "table.csv").stdout
    assert invoke("predict", "price", "-", stdin=Path("table.csv").read_text()).stdout == whole
    gzipped = shell(f"cd '{runs}'; gzip -c table.csv | nablac predict price -")
    assert (gzipped.returncode, gzipped.stdout) == (0, whole)
    assert shell(f"cd '{runs}'; nablac predict price table.csv | head -1").stdout == whole.splitlines()[0] + "\n"


def test_a_series_goes_on_with_its_dates(runs: Path) -> None:
    rows = rows_of(invoke("predict", run(runs, "series"), "series.csv", "--steps", "26"))
    assert rows[0]["time"] == "2024-03-01 00:00" and rows[-1]["time"] == "2024-03-02 01:00"
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 27)]
    assert {row["station"] for row in rows} == {"north"}
    assert rows_of(invoke("predict", "series", "series.csv")) == rows[:2]
    past = rows_of(invoke("predict", "series", "series.csv", "--all"))
    assert len(past) == 2 * (48 - 6 + 1) and past[0]["time"] == "2024-02-28 06:00"
    assert past[-1]["predicted_temp"] == rows[1]["predicted_temp"] and past[-1]["temp"] == ""


def test_images_are_files_folders_and_lists(runs: Path) -> None:
    run(runs, "images")
    Path("broken.png").write_bytes(b"no image")
    Path("list.txt").write_text("pictures/disc/1.png\nbroken.png\n\nlost.png\n")
    whole = {row["file"]: row for row in rows_of(invoke("predict", "images", "pictures"))}
    assert len(whole) == 9
    assert rows_of(invoke("predict", "images", "pictures/disc/1.png")) == [whole["pictures/disc/1.png"]]
    done = invoke("predict", "images", "@list.txt", "--skip-broken")
    assert rows_of(done) == [whole["pictures/disc/1.png"]]
    assert done.stderr.splitlines()[:3] == [
        "2 broken rows or files skipped:",
        "  list.txt:4: there is no file lost.png",
        "  broken.png: this cannot be read as an image: cannot identify image file",
    ]
    refused = invoke("predict", "images", "pictures", "broken.png", "-o", "x.csv")
    assert refused.exit_code == 2 and "broken.png" in refused.stderr and "--skip-broken" in refused.stderr
    assert not Path("x.csv").exists()


def test_texts_are_lines_and_columns(runs: Path) -> None:
    run(runs, "texts")
    Path("new.txt").write_text("a nice film\n\nbad\n")
    Path("new.csv").write_text('id,review\n1,"a nice film"\n2,bad\n')
    Path("three.csv").write_text("id,review,title\n1,a nice film,no no\n2,bad,so so\n")
    predictions = invoke("predict", "texts", "new.txt")
    assert predictions.stderr == "note: a blank line is skipped: new.txt:2\n"
    lines = rows_of(predictions)
    assert [row["text"] for row in lines] == ["a nice film", "bad"]
    predictions = invoke("predict", "texts", "new.csv")
    assert predictions.stderr == "note: the texts are those of column `review`: new.csv\n"
    table = rows_of(predictions)
    assert [row["id"] for row in table] == ["1", "2"]
    assert [row["probability_pos"] for row in table] == [row["probability_pos"] for row in lines]
    assert invoke("predict", "texts", "three.csv").exit_code == 2
    named = rows_of(invoke("predict", "texts", "three.csv", "--column", "review"))
    Path("empty.txt").write_text("")
    assert "error[E823]: empty.txt has no rows\n" in invoke("predict", "texts", "empty.txt").stderr
    assert [row["probability_pos"] for row in named] == [row["probability_pos"] for row in lines]
    assert rows_of(invoke("predict", "texts/model.onnx", "-", stdin="a nice film\n"))[0]["text"] == "a nice film"
    in_python = nablac.load("texts").predict({"text": ["bad"]})
    assert in_python["probability_pos"].tolist() == [np.float32(lines[1]["probability_pos"])]


def test_an_output_is_given_as_it_is_where_that_is_asked(runs: Path) -> None:
    rows = rows_of(invoke("predict", run(runs, "table"), "table.csv", "--output-of", "hidden"))
    assert [name for name in rows[0] if name.startswith("hidden_")] == [f"hidden_{index}" for index in range(8)]
    refused = invoke("predict", "table", "table.csv", "--output-of", "hiden")
    assert (refused.exit_code, "did you mean `hidden`?" in refused.stderr) == (2, True)


def test_texts_and_labels_are_columns_of_a_table(runs: Path) -> None:
    run(runs, "labelled")
    predictions = invoke("predict", "labelled", "labelled.csv")
    rows = rows_of(predictions)
    assert (len(rows), rows[0]["id"], rows[0]["mark"], predictions.stderr) == (40, "0", "neg", "")
    assert {"predicted_label", "probability_neg", "probability_pos"} < rows[0].keys()
    assert invoke("predict", "labelled/model.onnx", "labelled.csv").exit_code == 0
    Path("titled.csv").write_text('title,review\n"a, b","good, nice film 3"\n')
    assert rows_of(invoke("predict", "labelled", "titled.csv"))[0]["probability_pos"] == rows[3]["probability_pos"]
    Path("films.txt").write_text("good, nice film 3\n")
    assert rows_of(invoke("predict", "labelled", "films.txt"))[0]["probability_pos"] == rows[3]["probability_pos"]
    Path("films.tsv").write_text("n\treview\n1\tgood, nice film 3\n")
    assert rows_of(invoke("predict", "labelled", "films.tsv"))[0]["probability_pos"] == rows[3]["probability_pos"]
    Path("other.csv").write_text("reviews,mark\ngood,pos\n")
    refused = invoke("train", "labelled.model", "--data", "other.csv")
    assert (refused.exit_code, "E822" in refused.stderr, "did you mean `reviews`?" in refused.stderr) == (2, True, True)
    Path("gap.csv").write_text("review,mark\ngood,pos\n ,neg\n")
    refused = invoke("train", "labelled.model", "--data", "gap.csv")
    assert refused.exit_code == 2 and "column `review`: the cell is empty" in refused.stderr


def test_the_column_of_texts_is_the_same_in_all_blocks(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(runs, "texts")
    monkeypatch.setattr("runtime.prediction.prediction._ROWS_AT_ONCE", 2)
    Path("blocks.csv").write_text("tag,review\na,a nice film\nb,bad\nso so,bad\nno no,nice\n")
    predictions = invoke("predict", "texts", "blocks.csv")
    assert predictions.stderr == "note: the texts are those of column `review`: blocks.csv\n"
    probabilities = [row["probability_pos"] for row in rows_of(predictions)]
    assert probabilities[1] == probabilities[2] and len(set(probabilities)) == 3


# The model, the arguments after it, and what is said
REFUSED: dict[str, tuple[str, list[str], str]] = {
    "a missing column": ("price", ["no_b.csv"], "error[E822]: no_b.csv has no column `b`"),
    "a text for a number": ("price", ["tall.csv"], "error[E821]: column `a`: `tall` is not a number\n --> tall.csv:3"),
    "no rows": ("price", ["empty.csv"], "error[E823]: empty.csv has no rows"),
    "no file": (
        "price",
        ["tabel.csv"],
        "error[E901]: there is no file tabel.csv\n --> tabel.csv\nhelp: did you mean `table.csv`?",
    ),
    "a short series": ("series", ["short.csv"], "error[E883]: the series has 2 rows, and the model reads the last 6"),
    "an image for a table": ("price", ["broken.png"], "error[E881]: the model was trained on `csv(...)`"),
    "a table for texts": ("letters", ["table.csv"], "error[E881]: the model tells the tokens of texts"),
    "a folder that is none of a run": (".", ["table.csv"], "error[E841]: . is not the folder of a nablac run"),
    "an output that cannot be written": (
        "price",
        ["table.csv", "-o", "nowhere/x.csv"],
        "error[E904]: nowhere/x.csv cannot be written",
    ),
    "an output that is an input": (
        "price",
        ["table.csv", "-o", "table.csv"],
        "error[E904]: table.csv is read by this command",
    ),
    "a form of no name": ("price", ["table.csv", "-o", "x.xlsx"], "`.xlsx` is not a format of predictions"),
    "steps and the past": ("series", ["series.csv", "--steps", "2", "--all"], "choose one"),
    "steps of a table": ("price", ["table.csv", "--steps", "2"], "error[E881]: `--steps` is about series"),
    "untrained weights": ("price.model", ["table.csv"], "error[E880]: Price does not say what data it was trained on"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_predicted_is_said_and_nothing_is_written(runs: Path, case: str) -> None:
    model, arguments, message = REFUSED[case]
    run(runs, model.removesuffix(".model") if model != "." else "price")
    Path("no_b.csv").write_text("a,c\n1,2\n")
    Path("tall.csv").write_text("a,b\n1,2\ntall,3\n")
    Path("empty.csv").write_text("a,b\n")
    Path("short.csv").write_text("temp,load\n1,2\n2,3\n")
    Path("broken.png").write_bytes(b"no image")
    before = sorted(Path().iterdir())
    done = invoke("predict", model, *arguments)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert sorted(Path().iterdir()) == before


def test_an_onnx_file_without_a_recipe_says_what_to_do(runs: Path) -> None:
    run(runs, "price")
    import onnx

    model = onnx.load("price/model.onnx")
    kept = [entry for entry in model.metadata_props if entry.key != "nablac.recipe"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, "bare.onnx")
    done = invoke("predict", "bare.onnx", "table.csv")
    assert done.exit_code == 2 and done.stderr.startswith(
        "error[E880]: bare.onnx does not say what data it was trained on"
    )
    assert "compile the run again with this version of nablac, or feed arrays with `nablac run`" in done.stderr
    del model.metadata_props[:]
    onnx.save(model, "foreign.onnx")
    foreign = invoke("predict", "foreign.onnx", "table.csv")
    assert foreign.exit_code == 2 and "nablac has not compiled it: feed arrays with `nablac run`" in foreign.stderr
    assert invoke("compile", "price", "--train", "-o", "step.onnx").exit_code == 0
    step = invoke("predict", "step.onnx", "table.csv")
    assert step.exit_code == 2 and "it is one step of a training: name the run" in step.stderr


def test_a_run_of_an_earlier_version_predicts(runs: Path) -> None:
    """Its record has neither stages nor targets: its train block has them."""
    shutil.copytree(run(runs, "table"), "old")
    content = json.loads(Path("old/data.json").read_text())
    for key in ("stages", "targets", "outputs"):
        del content[key]
    Path("old/data.json").write_text(json.dumps(content))
    from safetensors.numpy import load_file, save_file

    save_file(load_file("old/weights.safetensors"), "old/weights.safetensors")
    old, new = (invoke("predict", name, "table.csv") for name in ("old", "table"))
    assert old.exit_code == 0 and old.stdout == new.stdout


def test_python_says_what_it_was_given(runs: Path) -> None:
    model = nablac.load(run(runs, "price"))
    with pytest.raises(nablac.NablacError, match="did you mean `steps`"):
        model.predict("table.csv", step=2)
    with pytest.raises(nablac.NablacError, match="a dict of columns, or a data frame"):
        model.predict(3)
    with pytest.raises(nablac.NablacError, match="does not say what data"):
        nablac.compile("price.model").predict("table.csv")
    predictions = model.predict({"a": [1.0, "x"], "b": [2.0, 3.0]}, skip_broken=True)
    assert predictions.rows == 1 and predictions.notes[0] == "1 broken row or file skipped:"


class Frame:
    """What a data frame of any library has."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.held, self.columns = columns, list(columns)

    def __getitem__(self, name: str) -> Any:
        return self.held[name]


def test_a_data_frame_is_a_table(runs: Path) -> None:
    model = nablac.load(run(runs, "price"))
    columns = {"b": np.array([0.5, 1.0]), "id": ["x", "y"], "a": np.array([1, 2])}
    predictions = model.predict(Frame(columns))
    np.testing.assert_array_equal(predictions["predicted_price"], model.predict(columns)["predicted_price"])
    assert predictions["id"].tolist() == ["x", "y"]
