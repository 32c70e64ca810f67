"""The page of files names every file that commands leave, every key in them with its type, and what may be deleted."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from safetensors import safe_open

from runtime.search.study_record import StudyRecord
from runtime.training.checkpoints import Position
from runtime.training.folder import is_own
from runtime.training.run_record import Record
from tests.command_line import invoke, succeed
from tests.json_page import shown
from tests.nablac import tuned
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0].strip("# "): part for part in re.split(r"^(?=#+ )", PAGE, flags=re.MULTILINE)}


def rows(section: str) -> list[list[str]]:
    """The rows of the tables of a section, without their headers."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def described(section: str, prefix: str = "") -> dict[str, str]:
    """The types of the keys of a section that begin with a prefix."""
    return {
        name.removeprefix(prefix): row[1] for row in rows(section) for name in names(row[0]) if name.startswith(prefix)
    }


def declared(record: type, prefix: str = "") -> dict[str, str]:
    """The types of the fields of a dataclass, with those of dataclasses in it."""
    types = {}
    for name, kind in get_type_hints(record).items():
        inner = declared(kind, f"{prefix}{name}.") if is_dataclass(kind) and isinstance(kind, type) else None
        types |= inner if inner is not None else {prefix + name: shown(kind)}
    return types


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a table with a broken row and of a text, a resumed one, and a study."""
    pytest.importorskip("optuna", reason="nablac tune needs the extra `tune`")
    path = tmp_path_factory.mktemp("files")
    tuned.write_model(path)
    with (path / "rows.csv").open("a") as file:
        file.write("1,x,2\n")
    for line in (
        ("init", "text"),
        ("train", "text.model", "--epochs", "1", "--limit-batches", "1", "-o", "text"),
        ("train", "net.model", "--skip-broken", "-o", "run"),
        ("train", "--resume", "run", "--epochs", "4"),
        ("tune", "net.model", "--skip-broken", "--search", "random", "--trials", "1", "--epochs", "1", "-o", "study"),
        ("eval", "run", "--report", "report"),
    ):
        succeed(*line, folder=path)
    return path


def left(run: Path) -> set[str]:
    """The files of a run by the names of the page."""
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    stars = {r"(events\.out\.tfevents)\..*": r"\1.*", r"(checkpoints/step)-\d+(\.\w+)": r"\1-*\2"}
    for pattern, name in stars.items():
        files = {re.sub(pattern, name, file) for file in files}
    return files


def test_every_file_of_a_run_is_on_the_page_and_its_own(folder: Path) -> None:
    listed = {name for row in rows("A run") for name in names(row[0])}
    assert left(folder / "run") | left(folder / "text") == listed - {"imported/"}
    assert all(is_own(Path(name)) for name in listed)


def test_every_file_of_a_study_is_on_the_page(folder: Path) -> None:
    listed = {name.strip("/") for row in rows("A study") for name in names(row[0])}
    assert {path.name for path in (folder / "study").iterdir()} == {name.split("/")[0] for name in listed}


def test_the_keys_of_records_have_their_types() -> None:
    run = {name: kind for name, kind in described("run.json").items() if not name.startswith("facts.")}
    assert run == declared(Record)
    study = {name: kind for name, kind in declared(StudyRecord).items() if not name.startswith("options.")}
    assert described("study.json") == {**study, "options": "object"}
    assert described("Checkpoints", "position.") == declared(Position)


def flat(values: Mapping[str, Any], prefix: str = "") -> set[str]:
    return {prefix + name for name in values}


def test_the_facts_of_a_run_are_on_the_page(folder: Path) -> None:
    facts = json.loads((folder / "run" / "run.json").read_text())["facts"]
    assert len(facts["sessions"]) == 2
    assert set(described("run.json", "facts.")) == set(facts) | flat(facts["sessions"][0], "sessions.")
    machine = next(row for row in rows("run.json") if "facts.sessions.machine" in row[0])
    assert set(names(machine[2])) == set(facts["sessions"][0]["machine"])


def test_the_keys_of_metadata_are_on_the_page(folder: Path) -> None:
    recipe = json.loads((folder / "text" / "data.json").read_text())
    assert set(described("data.json")) == set(recipe)
    with safe_open(str(folder / "text" / "weights.safetensors"), framework="numpy") as file:
        assert set(json.loads(file.metadata()["nablac.trained"])) == set(recipe) - {"outputs"} | {"tokenizer", "step"}
    with safe_open(str(folder / "run" / "checkpoints" / "best.safetensors"), framework="numpy") as file:
        keys = {name for name in described("Checkpoints") if not name.startswith("position.")}
        assert set(file.metadata()) == keys
        assert set(json.loads(file.metadata()["position"])) == set(asdict(Position()))


def test_a_run_works_without_what_may_be_deleted(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    shutil.copy(folder / "rows.csv", tmp_path)
    shutil.copy(folder / "net.model", tmp_path)
    needed = {"checkpoints/step-*.safetensors", "checkpoints/best.safetensors"}  # to resume
    predicted = invoke("predict", "run", "rows.csv", "--skip-broken", folder=tmp_path).stdout
    deleted = [row for row in rows("A run") if row[3].startswith("yes") and names(row[0])[0] not in needed]
    for pattern in (name for row in deleted for name in names(row[0])):
        for file in run.glob(pattern):
            file.unlink()
    assert invoke("predict", "run", "rows.csv", "--skip-broken", folder=tmp_path).stdout == predicted
    for line in (
        ("eval", "run"),
        ("compile", "run", "-o", "net.onnx"),
        ("compare", "run", folder / "run"),
        ("train", "--resume", "run", "--epochs", "5"),
    ):
        succeed(*line, folder=tmp_path)
    shutil.rmtree(run / "checkpoints")
    assert invoke("eval", "run", folder=tmp_path).exit_code == 0
    assert invoke("compare", "run", folder / "run", folder=tmp_path).exit_code == 0


@pytest.mark.parametrize("file", ["run.json", "spec.model", "weights.safetensors"])
def test_a_run_does_not_work_without_the_others(file: str, folder: Path, tmp_path: Path) -> None:
    assert next(row for row in rows("A run") if file in row[0])[3] == "no"
    shutil.copytree(folder / "run", tmp_path / "run")
    shutil.copy(folder / "rows.csv", tmp_path)
    shutil.copy(folder / "net.model", tmp_path)
    assert invoke("eval", "run", folder=tmp_path).exit_code == 0
    (tmp_path / "run" / file).unlink()
    assert invoke("eval", "run", folder=tmp_path).exit_code == 2


def test_a_text_model_generates_without_its_tokenizers_file(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "text", tmp_path / "text")
    line = ("generate", "text", "The", "--tokens", "3")
    generated = invoke(*line, folder=tmp_path).stdout
    (tmp_path / "text" / "tokenizer.json").unlink()
    (tmp_path / "text" / "data.json").unlink()
    assert invoke(*line, folder=tmp_path).stdout == generated != ""


def test_a_report_has_its_files(folder: Path) -> None:
    listed = {name.removeprefix("DIR/") for name in names(rows("Reports and results")[0][1])}
    assert {path.name for path in (folder / "report").iterdir()} == listed
