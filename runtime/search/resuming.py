"""Resuming a study: opening it from its folder, and checking that nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from compiler.elaborate.program_texts import SPEC, fingerprint
from runtime.data.examples import digest
from runtime.search.studies import OpenStudy, open_study
from runtime.search.study_record import TEXTS, StudyRecord, cannot_resume, check_same, read_study
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


def complete_record(setup: TrialSetup, unfinished: StudyRecord) -> tuple[StudyRecord, int]:
    """The record of a new study, completed with facts of its program and data, and the epochs of a trial."""
    training = setup.training(setup.source)
    examples = digest(training.data)
    loop = training.loop()  # NablacError if the monitored quantity is not measured
    record = replace(
        unfinished,
        folder=str(setup.folder) if setup.folder is not None else None,
        monitor=loop.monitor,
        higher_is_better=loop.settings.higher_is_better,
        text=fingerprint(setup.source.program),
        examples=examples,
    )
    return record, loop.settings.epochs
