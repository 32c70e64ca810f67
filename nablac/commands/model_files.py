"""The `.model` files that a command line names: files, folders of files, standard input."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from grammar import codes, mistakes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.limits import MOST_BYTES
from grammar.reading import source_of
from grammar.source import Source
from nablac.commands.model_options import is_run_folder
from runtime.boundary import STANDARD_INPUT, read_at_most, reason_of, standard_input

STDIN = Path("-")


def models_in(folder: Path) -> list[Path]:
    """The .model files in a folder and the folders in it, by name; NablacError if there is none."""
    inside = sorted(path for path in folder.rglob("*.model") if not path.is_dir())
    if not inside:
        raise NablacError(Diagnostic(codes.E911, "there is no `.model` file in this folder", place=str(folder)))
    return inside


def without_runs(files: Iterable[Path]) -> list[Path]:
    """The files that do not belong to a run."""
    return [file for file in files if not any(is_run_folder(folder) for folder in file.parents)]


def read_standard_input() -> Source:
    """The text of a model from standard input; NablacError if it is not a text."""
    try:
        content = read_at_most(standard_input(), MOST_BYTES)
    except OSError as error:
        raise NablacError(mistakes.unreadable(STANDARD_INPUT, reason_of(error))) from None
    return source_of(STANDARD_INPUT, content)
