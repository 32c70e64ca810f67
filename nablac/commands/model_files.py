"""The `.model` files that a command line names: files, folders of files, standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Source
from nablac.commands.options import is_run_folder

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
    """The text of a model from standard input."""
    return Source("<stdin>", sys.stdin.read())
