"""`nablac tune`: what is refused, before a study begins and when it is resumed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.command_line import invoke
from tests.nablac.tuned import TEXT, tune, write_model

pytest.importorskip("optuna")


FLAT = TEXT
for _range, _value in {
    "2..8": "4",
    "choice(relu, tanh)": "relu",
    "log(1e-3..1e-1)": "0.01",
    "0.01..0.1": "0.1",
}.items():
    FLAT = FLAT.replace(_range, _value)
FLAT = FLAT.replace("choice(adam(lr: 0.01), sgd(lr: 0.1))", "adam(lr: 0.01)")


@pytest.mark.parametrize(
    ("text", "arguments", "status", "message"),
    [
        (FLAT, (), 1, "error[E511]: there is nothing to search: no range, no choice"),
        (TEXT, ("--trials", "0"), 2, "Invalid value for '--trials': 0 is not in the range"),
        (TEXT, ("--jobs", "0"), 2, "Invalid value for '--jobs'"),
        (TEXT, ("-o", "taken"), 2, "error[E872]: taken already exists and is not empty"),
        (TEXT, ("--storage", "rows.csv"), 2, "error[E871]: "),
        (TEXT, ("--storage", "/nowhere/shared.log"), 2, "error[E904]: "),
        (TEXT, ("--data", "missing.csv"), 2, "error[E820]: "),
        (TEXT, ("--model", "Other"), 1, "error[E420]: "),
    ],
)
def test_refused(tmp_path: Path, text: str, arguments: tuple[str, ...], status: int, message: str) -> None:
    write_model(tmp_path, text)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    before = (tmp_path / "rows.csv").read_bytes()
    ended = invoke("tune", "net.model", *arguments, folder=tmp_path)
    assert (ended.exit_code, message in ended.stderr) == (status, True), ended.output
    assert (tmp_path / "rows.csv").read_bytes() == before


def test_a_grid_without_end_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    with patch("runtime.search.studies.MOST_COMBINATIONS", 10):
        ended = invoke("tune", "net.model", "--search", "grid", "-o", "study", folder=tmp_path)
        assert ended.exit_code == 2
        assert "error[E873]: the grid has more than 10 combinations" in ended.stderr
        assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        (PackageNotFoundError("optuna"), "a search needs the `tune` extra"),
        ("3.6.1", "a search needs Optuna 4.0 or newer, but 3.6.1 is installed"),
    ],
)
def test_without_optuna_the_extra_is_named(tmp_path: Path, installed: object, message: str) -> None:
    effect = [installed]
    with patch("runtime.search.extra.version", side_effect=effect):
        ended = invoke("tune", "net.model", folder=tmp_path)
    assert ended.exit_code == 2
    assert f"error[E809]: {message}" in ended.stderr and "pip install 'nablac[tune]'" in ended.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "net.model").write_text(TEXT + "\n# more"),
            "the model has changed since study began",
        ),
        (lambda folder: (folder / "rows.csv").open("a").write("1,2,3\n"), "the data has changed since study began"),
        (lambda folder: (folder / "net.model").unlink(), "is missing"),
        (lambda folder: (folder / "study" / "study.json").write_text("{}"), "was written by another version of nablac"),
        (lambda folder: (folder / "study" / "study.json").write_text("?"), "was not written by `nablac tune`"),
        (lambda folder: (folder / "study" / "study.json").unlink(), "study is not the folder of a study"),
    ],
)
def test_a_changed_study_is_refused(tmp_path: Path, change: object, message: str) -> None:
    write_model(tmp_path)
    tune(tmp_path, "--search", "random", "--trials", "1", "--epochs", "1", "-q", "-o", "study")
    assert callable(change)
    change(tmp_path)
    ended = invoke("tune", "--resume", "study", folder=tmp_path)
    assert ended.exit_code == 2
    assert "error[E870]" in ended.stderr and message in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--epochs", "9"), "--epochs 1, not --epochs 9"),
        (("--search", "tpe"), "--search random, not --search tpe"),
        (("--prune",), "no --pruner, not --pruner median"),
        (("--set", "units=3"), "no --set, not --set units=3"),
    ],
)
def test_other_options_would_be_another_study(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    write_model(tmp_path)
    tune(tmp_path, "--search", "random", "--trials", "1", "--epochs", "1", "-q", "-o", "study")
    ended = invoke("tune", "--resume", "study", *arguments, folder=tmp_path)
    assert ended.exit_code == 2 and f"study was started with {said}" in ended.stderr, ended.output


def test_a_storage_of_another_version_or_study_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    options = ("--search", "random", "--trials", "1", "--epochs", "1", "--storage", "shared.log")
    tune(tmp_path, *options, "-q", "-o", "one")
    other = invoke("tune", "net.model", *options, "--seed", "7", "-o", "two", folder=tmp_path)
    assert other.exit_code == 2 and "it holds a study of another model" in other.stderr
    journal = tmp_path / "shared.log"
    journal.write_text(journal.read_text().replace('"form":1', '"form":0'))
    older = invoke("tune", "net.model", *options, "-o", "three", folder=tmp_path)
    assert older.exit_code == 2 and "wrote it in another format" in older.stderr
    journal.write_text(journal.read_text().replace('"study_name":"nablac"', '"study_name":"mine"'))
    foreign = invoke("tune", "net.model", *options, "-o", "four", folder=tmp_path)
    assert foreign.exit_code == 2 and "it holds `mine`, not a nablac study" in foreign.stderr
    journal.write_text('{"op_code":99}\n{"op_code":98}\n')
    broken = invoke("tune", "net.model", *options, "-o", "five", folder=tmp_path)
    assert broken.exit_code == 2 and "it cannot be read" in broken.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name in ("two", "three", "four", "five")] == []
