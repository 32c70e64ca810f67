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


def resume_study(
    folder: Path, say: Callable[[str], object] = lambda text: None, address: str | None = None
) -> OpenStudy:
    """The study in a folder; NablacError if its model or its data has changed.

    `address` is the name of its storage with the password, which the folder does not have.
    """
    record = read_study(folder)
    setup, epochs = study_setup(folder, record, say)
    return open_study(folder, record, setup, epochs, address)


def study_setup(
    folder: Path, record: StudyRecord, say: Callable[[str], object] = lambda text: None
) -> tuple[TrialSetup, int]:
    """The setup of a study's trials and their epochs; NablacError if its model or its data has changed."""
    file = record.model_file(folder)
    if not file.is_file():
        hint = f"put {folder / TEXTS / SPEC} there, the program that the study began with"
        raise cannot_resume(folder, f"{file}, the model of {folder}, is missing", hint)
    data_folder = Path(record.folder) if record.folder is not None else None
    setup = TrialSetup(file, record.options, data_folder, say=say)
    check_same(record, replace(record, text=fingerprint(setup.source.program)), folder)
    training = setup.training(setup.source)
    check_same(record, replace(record, examples=digest(training.data)), folder)
    return setup, training.settings().epochs


def new_record(
    setup: TrialSetup, search: Search, version: str, storage: str | None, trials: int | None, threads: int | None
) -> tuple[StudyRecord, int]:
    """The record of a new study, whose folder is not known yet, and the epochs of a trial.

    `version` is that of nablac, and `storage` a name without a password. NablacError if the monitored quantity is not
    measured.
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
        storage=storage,
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
