"""The results of a study: a table of its trials, a page, and the best program."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.distributions import FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from compiler.elaborate.program import Program
from compiler.elaborate.program_texts import SPEC
from compiler.search import choose_values
from grammar import syntax
from runtime.atomic_files import replace, scratch, write_bytes
from runtime.data.matching import PackagePath
from runtime.search.study_page import study_page
from runtime.search.suggestions import default_values, replay
from runtime.search.trial_results import TrialResult, ranked, table
from runtime.search.trial_rows import StudyFacts

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy

BEST, TABLE, PAGE = "best.model", "trials.csv", "study.html"
_FEWEST = 4  # trials, for importances


def write_results(study: OpenStudy, trials: list[TrialResult], total: int) -> TrialResult | None:
    """Write the results so far, of `total` trials; returns the best trial, None if none is done."""
    record = study.record
    write_bytes(study.folder / TABLE, table(trials, record.monitor).encode())
    text = study_page(_facts(study, trials, total), trials, _importances(study), f"nablac {record.nablac}")
    write_bytes(study.folder / PAGE, text.encode())
    best = next(iter(ranked(trials, record.higher_is_better)), None)
    if best is not None:
        _write_best(study, best.number)
    return best


def as_written(study: OpenStudy, trials: Iterable[TrialResult]) -> TrialResult | None:
    """The trial with the default values, if it is done."""
    own = default_values(study.setup.source)
    numbers = {trial.number for trial in study.study.get_trials(deepcopy=False) if trial.params == own}
    return next((trial for trial in trials if trial.number in numbers and trial.state == "done"), None)


def _facts(study: OpenStudy, trials: Iterable[TrialResult], total: int) -> StudyFacts:
    record = study.record
    own = as_written(study, trials)
    return StudyFacts(
        model=study.setup.name,
        search=record.search.kind,
        objective=record.monitor,
        higher_is_better=record.higher_is_better,
        trials=total,
        logarithmic=frozenset(
            name
            for trial in study.study.get_trials(deepcopy=False)
            for name, distribution in trial.distributions.items()
            if isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log
        ),
        baseline=own.objective if own is not None else None,
        seed=record.search.seed if record.search.kind != "grid" else None,
    )


def _importances(study: OpenStudy) -> dict[str, float]:
    """The importances of variables as shares of 1; empty if they cannot be computed."""
    done = [trial for trial in study.study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    if len(done) < _FEWEST:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of variables that few trials have: their options are rare
        try:
            return get_param_importances(study.study, evaluator=PedAnovaImportanceEvaluator())
        except (ValueError, RuntimeError):  # if all trials are equal
            return {}


def _write_best(study: OpenStudy, number: int) -> None:
    """Write the program with the values of the best trial, and with paths of data relative to the study's folder."""
    params = study.study.get_trials(deepcopy=False)[number].params
    texts = dict(choose_values(study.setup.source, replay(params)).texts)
    program = study.setup.of_texts(texts).program
    texts[SPEC] = _with_data_paths(program, texts[SPEC], study.setup.data_folder, study.folder)
    with scratch(study.folder / "best") as draft:
        for path, text in texts.items():
            name = BEST if path == SPEC else path
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_text(text, "utf-8", newline="")
        for path in texts:
            name = BEST if path == SPEC else path
            (study.folder / name).parent.mkdir(exist_ok=True)
            replace(draft / name, study.folder / name)  # `nablac tune` wrote it, and may overwrite it


def _with_data_paths(program: Program, text: str, folder: Path, target: Path) -> str:
    """The text with paths of data relative to `target` instead of `folder`."""
    here = os.path.realpath(target)
    parts, end = [], 0
    for literal in sorted(_data_paths(program), key=lambda literal: literal.span.start):
        path = literal.value
        if os.path.isabs(path) or PackagePath.parse(path) is not None or not _is_there(folder, path):
            continue
        moved = Path(os.path.relpath(folder / path, here)).as_posix().replace("\\", "\\\\").replace('"', '\\"')
        parts += [text[end : literal.span.start], f'"{moved}"']
        end = literal.span.end
    return "".join([*parts, text[end:]])


def _is_there(folder: Path, path: str) -> bool:
    return (folder / path.split("*")[0]).parent.is_dir() if "*" in path else (folder / path).exists()


def _data_paths(program: Program) -> list[syntax.Text]:
    """The texts in a program's train blocks that may be paths of data."""
    texts: list[syntax.Text] = []
    for block in program.trains:
        for statement in block.body:
            if not isinstance(statement, syntax.Setting):
                continue
            name, value = statement.name.text, statement.value
            if name in ("validation", "test"):
                texts += _texts(value)
            elif name == "data":
                while isinstance(value, syntax.Pipe):
                    value = value.value
                if isinstance(value, syntax.Call):
                    for argument in value.arguments:
                        if argument.name is None or argument.name.text in ("path", "labels"):
                            texts += _texts(argument.value)
    return texts


def _texts(value: syntax.Expression) -> list[syntax.Text]:
    match value:
        case syntax.Text():
            return [value]
        case syntax.ListOf(items=items):
            return [text for item in items for text in _texts(item)]
    return []
