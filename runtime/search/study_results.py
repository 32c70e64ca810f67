"""What a study leaves in its folder: a table of its trials, a page that shows them, and the best as a text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.elaborate.program import Program
from compiler.elaborate.program_texts import SPEC
from compiler.search import choose_values
from grammar import syntax
from runtime.atomic_files import replace, scratch, write_bytes
from runtime.data.matching import PackagePath
from runtime.search.suggestions import replayed
from runtime.search.trial_results import TrialResult, ranked, table

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy

BEST, TABLE, PAGE = "best.model", "trials.csv", "study.html"


def write_results(study: OpenStudy, trials: list[TrialResult]) -> TrialResult | None:
    """Write them; the best trial, if one is done."""
    record = study.record
    write_bytes(study.folder / TABLE, table(trials, record.monitor).encode())
    best = next(iter(ranked(trials, record.higher_is_better)), None)
    if best is not None:
        _write_best(study, best)
    return best


def _write_best(study: OpenStudy, best: TrialResult) -> None:
    """The text with the best values written in, which finds its data from the study's folder."""
    texts = dict(choose_values(study.setup.source, replayed(best.values)).texts)
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
            replace(draft / name, study.folder / name)  # a text that `nablac tune` wrote itself, and may write again


def _with_data_paths(program: Program, text: str, folder: Path, target: Path) -> str:
    """A text whose relative paths of data, which begin in `folder`, begin in `target`."""
    here = os.path.realpath(target)
    parts, end = [], 0
    for literal in sorted(_data_paths(program), key=lambda each: each.span.start):
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
    """The texts of a program's train blocks that stand where paths of data may."""
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
