"""The record of a new study, and resuming one: opening it from its folder, and checking that nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from compiler.elaborate.program_texts import SPEC, fingerprint
from runtime.data.examples import digest
from runtime.search.studies import OpenStudy, open_study
from runtime.search.study_record import FORM, TEXTS, Search, StudyRecord, cannot_resume, check_same, read_study
from runtime.search.trial_setup import TrialSetup


def resume_study(folder: Path, say: Callable[[str], object] = lambda text: None) -> OpenStudy:
    """The study in a folder; NablacError if its model or its data has changed."""
    record = read_study(folder)
    file = record.model_file(folder)
    if not file.is_file():
        hint = f"put {folder / TEXTS / SPEC} there, the program that the study began with"
        raise cannot_resume(folder, f"{file}, the model of {folder}, is missing", hint)
    data_folder = Path(record.folder) if record.folder is not None else None
    setup = TrialSetup(file, record.options, data_folder, say=say)
    check_same(record, replace(record, text=fingerprint(setup.source.program)), folder)
    training = setup.training(setup.source)
    check_same(record, replace(record, examples=digest(training.data)), folder)
    return open_study(folder, record, setup, training.settings().epochs)


def new_record(
    setup: TrialSetup, search: Search, version: str, storage: Path | None, trials: int | None, threads: int | None
) -> tuple[StudyRecord, int]:
    """The record of a new study, whose folder is not known yet, and the epochs of a trial.

    `version` is that of nablac. NablacError if the monitored quantity is not measured.
    """
    training = setup.training(setup.source)
    examples = digest(training.data)
    loop = training.loop()
    record = StudyRecord(
        form=FORM,
        nablac=version,
        file="",
        path=os.path.realpath(setup.file),
        folder=str(setup.folder) if setup.folder is not None else None,
        storage=str(storage.resolve()) if storage is not None else None,
        trials=trials,
        threads=threads,
        search=search,
        options=setup.options,
        monitor=loop.monitor,
        higher_is_better=loop.settings.higher_is_better,
        text=fingerprint(setup.source.program),
        examples=examples,
    )
    return record, loop.settings.epochs
