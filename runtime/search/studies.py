"""A study's folder and its storage: creating, joining and opening them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from compiler.elaborate.program_texts import collect_texts
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.visible import shell_word
from runtime.atomic_files import move_folder, scratch, write_bytes
from runtime.new_folders import FolderKind, make_parent, new_folder
from runtime.search.journal import refusal
from runtime.search.locks import Locks, hold_claims
from runtime.search.storages import open_storage, storage_errors
from runtime.search.study_record import STUDY, TEXTS, TRIALS, StudyRecord, write_study
from runtime.search.study_sampler import SeededSampler, pruner
from runtime.search.suggestions import Values, combinations, default_values
from runtime.search.trial_queue import fill, total
from runtime.search.trial_setup import TrialSetup

MOST_COMBINATIONS = 1000  # of a grid without `--trials`
DEFAULT_TRIALS = 20  # of a random or TPE search
_KIND = FolderKind("study", STUDY, codes.E872)
_NAME, _ABOUT = "nablac", "nablac"  # the name of the study in its storage, and of an attribute of it


@dataclass(frozen=True)
class OpenStudy:
    """A study that a process works on."""

    folder: Path
    record: StudyRecord
    setup: TrialSetup
    study: optuna.Study
    locks: Locks  # of its workers
    address: str = field(repr=False)  # of its storage, with the password if it has one
    grid: list[Values] | None = None  # its wanted combinations, if they are known already

    @property
    def resume_command(self) -> str:
        """The command that resumes it; a password has to be written again."""
        storage = self.record.storage_name(self.folder)
        option = f" --storage {shell_word(storage)}" if self.address != storage else ""
        return f"nablac tune --resume {shell_word(self.folder)}{option}"

    def trial_folder(self, number: int) -> Path:
        """The folder of a trial's run."""
        return self.folder / TRIALS / str(number)


def begin_study(
    path: Path | None, record: StudyRecord, setup: TrialSetup, epochs: int, address: str | None = None
) -> OpenStudy:
    """Create a study in a folder, by default the next number under `studies/<model>`; this is atomic.

    If the record names a storage that has this study already, the folder joins it. `address` is the name of the
    storage with its password.
    """
    target = new_folder(path, Path("studies") / setup.name.lower(), _KIND)
    # Enumerated before anything is written: it may be too large.
    grid = _grid(setup, record.search.points, record.trials) if record.search.kind == "grid" else None
    record = replace(record, file=os.path.relpath(record.path, os.path.realpath(target)))
    if record.storage is not None:
        # Refuses the storage of another study before creating the folder.
        open_study(target, record, setup, epochs, address)
    make_parent(target)
    with scratch(target) as draft:
        (draft / TRIALS).mkdir()
        for file, text in collect_texts(setup.source.program).items():
            (draft / TEXTS / file).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(draft / TEXTS / file, text.encode())
        write_study(draft, record)
        move_folder(draft, target)
    return replace(open_study(target, record, setup, epochs, address), grid=grid)


def open_study(
    folder: Path, record: StudyRecord, setup: TrialSetup, epochs: int, address: str | None = None
) -> OpenStudy:
    """The study of a folder with its storage; NablacError if that holds another one.

    `epochs` is for pruning, and `address` the name of the storage with its password.
    """
    address = address or record.storage_name(folder)
    storage, locks = open_storage(address)
    with storage_errors(address), hold_claims(locks):
        _check_storage(storage, record.storage_name(folder), record)
        study = optuna.load_study(
            study_name=_NAME,
            storage=storage,
            sampler=SeededSampler(record.search),
            pruner=pruner(record.search, epochs),
        )
    return OpenStudy(folder, record, setup, study, locks, address)


def _check_storage(storage: BaseStorage, name: str, record: StudyRecord) -> None:
    """Check that a storage holds this study and no other; create it in an empty storage."""
    about = {"form": record.form, "version": record.nablac, "study": record.identity}
    studies = {stored.study_name: stored for stored in storage.get_all_studies()}
    if not studies:
        direction = StudyDirection.MAXIMIZE if record.higher_is_better else StudyDirection.MINIMIZE
        optuna.create_study(storage=storage, study_name=_NAME, direction=direction)
        studies = {stored.study_name: stored for stored in storage.get_all_studies()}
    if list(studies) != [_NAME]:
        names = ", ".join(f"`{stored}`" for stored in list(studies)[:3])
        raise refusal(name, f"it holds {names}, not a nablac study")
    number = studies[_NAME]._study_id
    known: dict[str, Any] | None = storage.get_study_user_attrs(number).get(_ABOUT)
    if known is None and not storage.get_all_trials(number, deepcopy=False):
        storage.set_study_user_attr(number, _ABOUT, about)  # new, or its process was killed after creating the study
    elif not isinstance(known, dict) or known.get("form") != record.form:
        version = str(known.get("version"))[:40] if isinstance(known, dict) else "another version"
        raise refusal(name, f"nablac {version} wrote it in another format")
    elif known.get("study") != record.identity:
        raise refusal(name, "it holds a study of another model, other data or other options")


def plan(study: OpenStudy, trials: int | None) -> int:
    """Put missing trials of a study into its queue; returns the number of all trials.

    NablacError for a grid with too many combinations.
    """
    with hold_claims(study.locks):
        known, record = total(study.study), study.record
        if known is not None and (trials is None or trials <= known):
            return known
        count = trials or known or record.trials
        if record.search.kind == "grid":
            grid = study.grid or _grid(study.setup, record.search.points, count)
            values: Iterable[Values] = grid
            count = len(grid)
        else:
            count = count or DEFAULT_TRIALS
            # The default values first: the best result is compared with theirs, and never worse.
            values = chain([default_values(study.setup.source)], repeat({}))
        fill(study.study, values, count)
        return count


def _grid(setup: TrialSetup, points: int, count: int | None) -> list[Values]:
    """The first `count` combinations of a grid, by default all."""
    values = list(islice(combinations(setup.source, points), count or MOST_COMBINATIONS + 1))
    if count is None and len(values) > MOST_COMBINATIONS:
        message = f"the grid has more than {MOST_COMBINATIONS:,} combinations"
        hint = (
            "`--trials N` takes the first N; `--points`, or fewer ranges, make it smaller; `--search tpe` needs no grid"
        )
        raise NablacError(Diagnostic(codes.E873, message, place=str(setup.file), hint=hint))
    return values
