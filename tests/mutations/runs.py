"""Random changes, each in a copy of the checkout in which the related tests run."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutations.areas import AREAS
from tests.mutations.changes import Change, changes
from tests.paths import ROOT

COPIED = (
    *("grammar", "compiler", "runtime", "nablac", "specs", "tests", "docs", "examples", "benchmarks", ".ci"),
    *("pyproject.toml", "setup.py", ".pre-commit-config.yaml"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"),
)
SECONDS = 1800  # after which a run of tests counts as endless
ENDLESS = "tests that do not end"


@dataclass(frozen=True)
class Mutation:
    """A change of one file, of one area."""

    area: str
    file: Path
    change: Change

    def __str__(self) -> str:
        return f"{self.area}: {self.file}, {self.change}"


@dataclass(frozen=True)
class Outcome:
    """The first test that detected a mutation, and passes without it; None if all tests passed."""

    mutation: Mutation
    detected_by: str | None


def choose(count: int, seed: int, areas: tuple[str, ...] = tuple(AREAS)) -> list[Mutation]:
    """Mutations spread evenly over the areas; within an area all changes of its sources are equally likely."""
    generator = random.Random(seed)
    every = {
        area: [(file, change) for file in AREAS[area].files() for change in changes((ROOT / file).read_text("utf-8"))]
        for area in areas
    }
    chosen: dict[tuple[str, Path, Change], None] = {}
    for number in range(count):
        area = areas[number % len(areas)]
        left = [candidate for candidate in every[area] if (area, *candidate) not in chosen]
        chosen[(area, *generator.choice(left))] = None
    return [Mutation(*key) for key in chosen]


def run(mutations: list[Mutation], folder: Path) -> Iterator[Outcome]:
    """The outcome of each, from a copy of the checkout in `folder`."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    for mutation in mutations:
        path = folder / mutation.file
        text = path.read_text("utf-8")
        path.write_text(mutation.change.apply(text), "utf-8")
        try:
            failed = _first_failure(AREAS[mutation.area].tests, folder)
        finally:
            path.write_text(text, "utf-8")
        if failed is not None and failed != ENDLESS:
            assert _first_failure((failed,), folder) is None, f"{failed} fails without a mutation too"
        yield Outcome(mutation, failed)


def _first_failure(tests: tuple[str, ...], folder: Path) -> str | None:
    """The first test that fails, or the file of tests that cannot be imported.

    Each argument is a separate run that ignores the earlier ones: pytest would merge nested paths.
    """
    for number, path in enumerate(tests):
        failed = _failure(path, tests[:number], folder)
        if failed is not None:
            return failed
    return None


def _failure(tests: str, without: tuple[str, ...], folder: Path) -> str | None:
    options = [
        "-x",
        "-q",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        *(f"--ignore={path}" for path in without),
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, tests]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return ENDLESS
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return failed[1] if failed else tests  # pytest itself crashed
