"""The settings of a study, stored as `study.json` in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from compiler.elaborate.program_texts import SPEC
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.visible import shell_word
from runtime.atomic_files import write_bytes
from runtime.boundary import LARGEST_JSON, read_file
from runtime.search.search_kinds import PRUNERS, SEARCHES
from runtime.typed import read_as

STUDY, JOURNAL, TRIALS = "study.json", "journal.log", "trials"
TEXTS = "spec"  # the folder of the texts that the study began with
FORM = 1  # the format version of study.json and of the storage
_LOCAL = ("file", "path", "folder", "storage", "trials", "threads", "nablac")  # which may differ between processes


@dataclass(frozen=True)
class Search:
    """How the values of trials are chosen, and how trials are pruned."""

    kind: str
    points: int  # of a numeric range in a grid
    seed: int
    pruner: str | None


@dataclass(frozen=True)
class TrialOptions:
    """Options of the command for every trial; None for the value in the train block."""

    model: str | None
    preset: str | None
    set: list[str]
    dtype: str
    weights: str | None
    epochs: int | None
    patience: int | None
    validation: float | None
    data: str | None
    backend: str
    device: str
    skip_broken: bool
    threads: int | None = None  # of each trial


@dataclass(frozen=True)
class StudyRecord:
    """The settings of a study. `text` and `examples` are hashes of the model with its imports, and of all its data."""

    form: int
    nablac: str
    file: str  # of the model, relative to the study's folder: both may have been moved
    path: str  # of the model's file when the study began
    folder: str | None  # where relative paths of data begin; by default the file's folder
    storage: str | None  # its name without a password; None for the journal in the study's folder
    trials: int | None  # as requested at first; None for a whole grid
    threads: int | None  # of a worker, if several share the processors; None for the default
    search: Search
    options: TrialOptions
    monitor: str
    higher_is_better: bool
    text: str
    examples: str

    @property
    def identity(self) -> str:
        """A hash of the study, independent of its location."""
        facts = {name: value for name, value in asdict(self).items() if name not in _LOCAL}
        return blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()

    def model_file(self, study: Path) -> Path:
        """The model's file: relative to the study's folder, or else where it was when the study began."""
        beside = Path(os.path.normpath(study / self.file))
        return beside if beside.is_file() else Path(self.path)

    def storage_name(self, study: Path) -> str:
        """The storage of the study: the path of a journal, or the URL of a database without its password."""
        return self.storage if self.storage is not None else str(study / JOURNAL)


def write_study(folder: Path, record: StudyRecord) -> None:
    """Write a record to the study's folder."""
    write_bytes(folder / STUDY, (json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n").encode())


def read_study(folder: Path) -> StudyRecord:
    """The record of the study in a folder; NablacError for other folders, and for another format version."""
    if not os.path.isfile(folder / STUDY):
        hint = "name the folder that `nablac tune` printed"
        if os.path.isfile(folder / "run.json"):
            hint = f"it is the folder of a run: `nablac train --resume {shell_word(folder)}` resumes it"
        raise cannot_resume(folder, f"{folder} is not the folder of a study", hint)
    content = read_file(folder / STUDY, LARGEST_JSON)
    try:
        stored = json.loads(content)
        _check_form(folder, stored)
        record: StudyRecord = read_as(StudyRecord, stored)
        if record.search.kind not in SEARCHES or record.search.pruner not in (None, *PRUNERS):
            raise ValueError("its search is unknown")
        return record
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        message = f"{folder / STUDY} was not written by `nablac tune`"
        raise cannot_resume(folder, message, "start a new study") from error


def _check_form(folder: Path, stored: Mapping[str, Any]) -> None:
    if stored.get("form") != FORM:
        version = str(stored.get("nablac", ""))[:40]
        by, hint = f"nablac {version}", f"resume it with `nablac=={version}`, or start a new study"
        if not version:
            by, hint = "another version of nablac", "start a new study"
        raise cannot_resume(folder, f"the study in {folder} was written by {by}, in another format", hint)


def check_same(before: StudyRecord, now: StudyRecord, study: Path) -> None:
    """NablacError if `now` differs from the study in the folder."""
    for group in ("search", "options"):
        was, would = asdict(getattr(before, group)), asdict(getattr(now, group))
        for name, value in was.items():
            if value != would[name]:
                option = {"kind": "--search"}.get(name, f"--{name.replace('_', '-')}")
                message = (
                    f"{study} was started with {_option_text(option, value)}, not {_option_text(option, would[name])}"
                )
                hint = "only --trials, --jobs and --time may change; start a new study for the rest"
                raise cannot_resume(study, message, hint)
    if before.text != now.text:
        hint = f"{study / TEXTS / SPEC} is the program that the study began with; a changed model needs a new study"
        raise cannot_resume(study, f"the model has changed since {study} began", hint)
    if before.examples != now.examples:
        raise cannot_resume(study, f"the data has changed since {study} began", "other data needs a new study")


def cannot_resume(study: Path, message: str, hint: str) -> NablacError:
    """The error for a study that cannot be resumed."""
    return NablacError(Diagnostic(codes.E870, message, place=str(study), hint=hint))


def _option_text(option: str, value: object) -> str:
    """An option as it is written on the command line."""
    match value:
        case None | False | []:
            return f"no {option}"
        case True:
            return option
        case list():
            return " ".join(f"{option} {item}" for item in value)
    return f"{option} {value}"
