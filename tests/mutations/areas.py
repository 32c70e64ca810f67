"""The tests that must detect changes of the sources, for each area, those that detect most first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT


@dataclass(frozen=True)
class Area:
    """A part of the compiler, and the tests that cover it; both as patterns relative to the checkout."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self) -> list[Path]:
        """The sources, relative to the checkout."""
        paths = {path.relative_to(ROOT) for pattern in self.sources for path in ROOT.glob(pattern)}
        return sorted(path for path in paths if path.name != "__init__.py")


AREAS = {
    "operators": Area(
        ("compiler/operators/*.py",),
        ("tests/compiler/operators", "tests/compiler", "tests/specs", "tests/runtime", "tests/fuzz"),
    ),
    "gradient": Area(
        ("compiler/gradient.py",),
        ("tests/compiler/test_gradient.py", "tests/compiler/operators", "tests/compiler", "tests/specs"),
    ),
    "passes": Area(
        ("compiler/passes/*.py",), ("tests/compiler/passes", "tests/compiler", "tests/specs", "tests/runtime")
    ),
    "elaborator": Area(
        ("compiler/elaborate/**/*.py",),
        ("tests/test_diagnostics.py", "tests/test_docs.py", "tests/compiler", "tests/specs", "tests/nablac"),
    ),
    "training": Area(
        ("runtime/training/*.py", "compiler/training/*.py"),
        ("tests/runtime/training", "tests/compiler", "tests/nablac", "tests/runtime", "tests/specs"),
    ),
}
