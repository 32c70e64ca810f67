"""Folders that a command creates: under a given name, or under the next number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grammar.codes import Code
from grammar.diagnostics import Diagnostic, NablacError
from grammar.visible import shell_word
from runtime.atomic_files import refused_for


@dataclass(frozen=True)
class FolderKind:
    """What a folder is of, such as a run: its name in messages, the file by which it is told, and its error code.

    `resume` is the call or option that resumes a folder, and `another` the one that names another.
    """

    name: str
    record: str
    code: Code
    resume: Callable[[Path], str] = lambda folder: f"--resume {shell_word(folder)}"
    another: str = "-o"


def new_folder(path: Path | None, base: Path, kind: FolderKind) -> Path:
    """`path`, or the next number under `base`; NablacError for anything but an empty folder that is there already."""
    target = path or _next(base)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        message, hint = (
            f"{target} already exists and is not empty",
            f"use another `{kind.another}` for a new {kind.name}",
        )
        if (target / kind.record).is_file():
            hint = f"`{kind.resume(target)}` resumes this {kind.name}; {hint}"
        raise NablacError(Diagnostic(kind.code, message, place=str(target), hint=hint))
    return target


def make_parent(target: Path) -> None:
    """Create the folder of a folder; Unwritable if that fails."""
    with refused_for(target):
        if not target.parent.exists():  # a file in its place is told better where the folder is written
            target.parent.mkdir(parents=True, exist_ok=True)


def _next(base: Path) -> Path:
    """The folder with the next number."""
    taken = [int(folder.name) for folder in base.glob("*") if folder.name.isdigit()] if base.is_dir() else []
    return base / str(max(taken, default=0) + 1)
