"""The context of data sources and stages: where files are, the fractions held out, and what is skipped."""

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
    from compiler.model_spec import DataStage
    from runtime.data.fitted import Fitted

_EXAMPLES = "`pip install 'nablac[data]'` installs the packages that the examples need"


@dataclass(frozen=True)
class Context:
    """Settings and reports that all sources and stages share."""

    folder: Path  # of the model's file: relative paths begin there
    validation: float = 0.0
    test: float = 0.0
    seed: int = 0
    skip_broken: bool = False
    skipped: list[str] = field(default_factory=list)  # a line for each row or file left out
    fixed: frozenset[str] = frozenset()  # fractions that the command sets, which no `split` changes
    notes: dict[str, list[str]] = field(default_factory=dict)  # what was changed or skipped in reading, and where
    order: str = ""  # of the split: "time" or "random"; "" for the data's default
    fitted: Fitted | None = None  # scalings, classes and tokenizer of an earlier run, or of the training part
    weights: DataStage | None = None  # the stage that gives examples weights
    masks: bool = False  # whether missing entries of targets can be left out of the loss and the metrics
    keeps_raw: bool = False  # for an evaluation: examples keep their numbers before scaling too, and rows of windows

    def path(self, name: str, span: Span | None) -> Path:
        """The path of a file or folder in a data description; NablacError if it does not exist."""
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
        """The path of a file; NablacError if it is a folder, or does not exist."""
        file = self.path(name, span)
        if os.path.isdir(file):
            raise NablacError(Diagnostic(codes.E820, f"{file} is a folder; expected a file", span))
        return file

    def paths(self, names: str | Sequence[str], span: Span | None) -> list[Path]:
        """The files of one or several names, each of which may be a pattern with `*`."""
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
        """Report a row or file that cannot be used: an error, or an entry of `skipped` with `--skip-broken`."""
        if not self.skip_broken:
            hint = hint or "`--skip-broken` skips such rows and files, and reports how many"
            raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))
        self.skipped.append(f"{location}: {message}")

    def leave_out(self, error: NablacError, file: str) -> None:
        """Report a file of several that cannot be read, like `report_broken`, with the error of its reader."""
        (diagnostic,) = error.diagnostics
        self.report_broken(diagnostic.place or file, diagnostic.message, diagnostic.hint)

    def note(self, location: str, message: str) -> None:
        """Note a change to the data that the user should know of."""
        self.notes.setdefault(message, []).append(location)


def _in_package(name: PackagePath, folder: Path, span: Span | None) -> Path:
    """The path of a file in an installed package, without importing it; NablacError if it does not exist."""
    _check_within(name, span)
    folders = package_folders(name.package, folder)
    path = next((base / name.path for base in folders if os.path.isfile(base / name.path)), None)
    if path is None:
        if folders:
            message = f"the package `{name.package}` has no file {name.path}"
            raise NablacError(Diagnostic(codes.E820, message, span))
        hint = _imported_as(name) or _EXAMPLES
        raise NablacError(Diagnostic(codes.E820, f"there is no package `{name.package}`", span, hint=hint))
    return path


def _imported_as(name: PackagePath) -> str | None:
    """A hint to the name that Python imports, of a package by the name that it is installed by."""
    from importlib.metadata import packages_distributions

    def normal(text: str) -> str:
        return text.lower().replace("_", "-")

    own = (module for module, owners in packages_distributions().items() if normal(name.package) in map(normal, owners))
    module = next(
        (candidate for candidate in sorted(own) if candidate.isidentifier() and not candidate.startswith("_")), None
    )
    return f"Python imports it as `{module}`: `package:{module}/{name.path}`" if module is not None else None


def _check_within(name: PackagePath, span: Span | None) -> None:
    """NablacError for a path that leads out of its package."""
    if ".." in PurePath(name.path).parts or PurePath(name.path).is_absolute():
        hint = "a path in a package cannot contain `..`; use the file's own path instead"
        message = f"{name.path} leads out of the package `{name.package}`"
        raise NablacError(Diagnostic(codes.E820, message, span, hint=hint))
