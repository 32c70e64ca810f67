"""What every source and stage of data may ask for: where files lie, which shares are held back, what is skipped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.source import Span
from runtime.boundary import names_in
from runtime.data.matching import PackagePath, matching_files, package_folders

if TYPE_CHECKING:
    from runtime.data.fitted import Fitted

_EXAMPLES = "`pip install 'nablac[data]'` installs the packages that the examples need"


@dataclass(frozen=True)
class Context:
    """What every source and stage may ask for."""

    folder: Path  # of the model's file, where relative paths begin
    validation: float = 0.0
    test: float = 0.0
    seed: int = 0
    skip_broken: bool = False
    skipped: list[str] = field(default_factory=list)  # a line for each row or file left out
    fixed: frozenset[str] = frozenset()  # shares that the command states, and no `split` changes
    notes: dict[str, list[str]] = field(default_factory=dict)  # what was changed or left out in reading, and where
    order: str = ""  # of the parts: "time", "random", or as the data is by itself
    fitted: Fitted | None = None  # what an earlier run, or the training part, has shown of the data

    def path(self, name: str, span: Span | None) -> Path:
        """A file or folder that a data description names; NablacError where there is none."""
        packaged = PackagePath.parse(name)
        if packaged is not None:
            return _in_package(packaged, self.folder, span)
        path = Path(name)
        file = path if path.is_absolute() else self.folder / path
        if not os.path.exists(file):
            hint = did_you_mean(file.name, names_in(file.parent))
            raise NablacError(Diagnostic(codes.E820, f"there is no file {file}", span, hint=hint))
        return file

    def file(self, name: str, span: Span | None) -> Path:
        """A file; NablacError where it is a folder, or is not there."""
        file = self.path(name, span)
        if os.path.isdir(file):
            raise NablacError(Diagnostic(codes.E820, f"{file} is a folder; expected a file", span))
        return file

    def paths(self, names: str | Sequence[str], span: Span | None) -> list[Path]:
        """The files of one or several names, of which each may be a pattern with `*`."""
        files: list[Path] = []
        for name in [names] if isinstance(names, str) else names:
            if "*" not in name:
                files.append(self.file(name, span))
                continue
            packaged = PackagePath.parse(name)
            if packaged is not None:
                _check_within(packaged, span)
                bases, pattern = package_folders(packaged.package, self.folder), packaged.path
            else:
                path = self.folder / name  # which is `name` where that is absolute
                bases, pattern = [Path(path.anchor)], str(path.relative_to(path.anchor))
            matched = sorted(file for base in bases for file in matching_files(base, pattern))
            if not matched:
                hint = _EXAMPLES if not bases else None
                raise NablacError(Diagnostic(codes.E820, f"no file matches {name}", span, hint=hint))
            files += matched
        return files

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        """A row or a file that cannot be used: an error with its location, or skipped where that was asked."""
        if not self.skip_broken:
            hint = hint or "`--skip-broken` skips such rows and files, and reports how many"
            raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))
        self.skipped.append(f"{location}: {message}")

    def leave_out(self, error: NablacError, file: str) -> None:
        """A file of several that cannot be read, as `report_broken` has it, with the reason that its reader gives."""
        (diagnostic,) = error.diagnostics
        self.report_broken(diagnostic.place or file, diagnostic.message, diagnostic.hint)

    def note(self, location: str, message: str) -> None:
        """Something of a file that the examples do not have, which a person has to hear of."""
        self.notes.setdefault(message, []).append(location)


def _in_package(name: PackagePath, folder: Path, span: Span | None) -> Path:
    """A file of an installed package, which is not imported; NablacError where there is none."""
    _check_within(name, span)
    folders = package_folders(name.package, folder)
    path = next((base / name.path for base in folders if os.path.isfile(base / name.path)), None)
    if path is None:
        if folders:
            message = f"the package `{name.package}` has no file {name.path}"
            raise NablacError(Diagnostic(codes.E820, message, span))
        raise NablacError(Diagnostic(codes.E820, f"there is no package `{name.package}`", span, hint=_EXAMPLES))
    return path


def _check_within(name: PackagePath, span: Span | None) -> None:
    """NablacError for a path that leads out of its package."""
    if ".." in PurePath(name.path).parts or PurePath(name.path).is_absolute():
        hint = "a path in a package cannot contain `..`; use the file's own path instead"
        message = f"{name.path} leads out of the package `{name.package}`"
        raise NablacError(Diagnostic(codes.E820, message, span, hint=hint))
