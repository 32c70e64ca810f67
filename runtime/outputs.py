"""Protection of existing files: results never overwrite inputs, files of a run, or files of another kind."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import ONNX, SAFETENSORS, kind_of
from runtime.atomic_files import is_stream, refused_for, resolve_link
from runtime.boundary import BEGINNING

_SUFFIXES = {ONNX: ".onnx", SAFETENSORS: ".safetensors"}


def check_output(
    path: str | Path, kind: str | None = None, reads: Iterable[str | Path] = (), creates_folder: bool = False
) -> None:
    """NablacError where writing `path` would destroy a file that is still needed, or cannot succeed.

    `kind` is the kind of the result (see `grammar.file_kinds`), which does not overwrite files of other kinds; None is
    for results that may replace any file. `reads` are the files that the result is made from. Texts of models are
    protected where files are written (`runtime.atomic_files`). The folder of `path` has to exist unless the command
    `creates_folder`.
    """
    with refused_for(path):
        _check_output(Path(path), kind, reads, creates_folder)


def _check_output(path: Path, kind: str | None, reads: Iterable[str | Path], creates_folder: bool) -> None:
    if "\0" in str(path) or is_stream(path):
        return
    if os.path.isdir(path):
        raise _refusal(path, f"{path} is a folder; expected a file", "name a file in it")
    if not creates_folder:
        os.stat(f"{resolve_link(path).parent}{os.sep}")  # it exists, and is a folder
    _check_run(path)
    if not os.path.isfile(path):
        return
    if any(_is_same(path, read) for read in reads):
        message = f"{path} is read by this command, and would be lost"
        raise _refusal(path, message, "name another file")
    if kind is not None:
        _check_kind(path, kind)


def _check_run(target: Path) -> None:
    """NablacError for a file that belongs to a run."""
    from runtime.training.trained import RECORD

    real = Path(os.path.realpath(target))
    for folder in real.parents:
        if (folder / RECORD).is_file():
            from runtime.training.folder import is_own

            if is_own(real.relative_to(folder)):
                message = f"{target} belongs to the run in {folder}, which would lose it"
                raise _refusal(target, message, "name a file outside of the run's folder")


def _check_kind(target: Path, kind: str) -> None:
    """NablacError for a file of another kind, recognised by its first bytes, or failing that by its suffix."""
    try:
        with target.open("rb") as file:
            content = file.read(BEGINNING)
    except OSError:
        return  # writing will report it
    before = kind_of(content)
    if not content or before == kind or (before is None and target.suffix.lower() == _SUFFIXES[kind]):
        return
    what = f"is {before}" if before is not None else f"is there already, and not {kind}"
    hint = f"name another file, as {target.with_suffix(_SUFFIXES[kind]).name}, or remove this one first"
    if target.suffix.lower() == _SUFFIXES[kind]:
        hint = "name another file, or remove this one first"
    raise _refusal(target, f"{target} {what}: it would be lost", hint)


def _is_same(target: Path, read: str | Path) -> bool:
    try:
        return os.path.samefile(target, read)
    except (OSError, ValueError):  # there is none: an input may be a text
        return False


def _refusal(path: str | Path, message: str, hint: str) -> NablacError:
    return NablacError(Diagnostic(codes.E904, message, place=str(path), hint=hint))
