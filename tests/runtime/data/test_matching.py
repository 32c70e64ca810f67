"""Patterns of files, and packages that are found without being imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from grammar.diagnostics import NablacError
from runtime.data import matching
from runtime.data.matching import matches, matching_files, package_folders
from tests.work import at_most

NAMES = {
    ("abc", "abc"): True, ("abc", "ab"): False, ("abc", "*"): True, ("", "*"): True, ("abc", "a*c"): True,
    ("ab", "ab*b"): False, ("aba", "ab*ba"): False, ("xaby", "x*a*b*y"): True, ("abc", "a**c"): True,
    ("abc", "*b*b*"): False,
    ("a.txt", "*.txt"): True, ("a.txt.gz", "*.txt"): False, ("a[b]", "a[*]"): True,
}  # fmt: skip


@pytest.mark.parametrize(("name", "pattern"), NAMES)
def test_a_star_is_any_text(name: str, pattern: str) -> None:
    assert matches(name, pattern) == NAMES[name, pattern]


def test_many_stars_take_a_step_each() -> None:
    with at_most(calls=20_000):
        assert not matches("a" * 10_000, "*a" * 5000 + "!*")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "c.csv", "one/a.txt", "one/two/a.txt", "one/two/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "pattern", ["*.txt", "*", "**/a.txt", "one/*/a.txt", "one/**/*.txt", "*/two/*", "no/*", "**/*.csv"]
)
def test_files_are_those_of_a_glob(folder: Path, pattern: str) -> None:
    expected = sorted(path for path in folder.glob(pattern) if path.is_file())
    assert sorted(matching_files(folder, pattern)) == expected


def test_a_loop_of_links_is_no_loop(folder: Path) -> None:
    os.symlink(folder, folder / "one" / "again")
    assert len(matching_files(folder, "**/a.txt")) == 3


def test_a_pattern_that_looks_at_too_much_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MOST_VISITED", 5)
    with pytest.raises(NablacError, match="E820"):
        matching_files(folder, "**/*.txt")


def test_a_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "held" / "inner").mkdir(parents=True)
    for name in ("held/__init__.py", "held/inner/__init__.py"):
        (tmp_path / name).write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    elsewhere = tmp_path / "held"
    assert package_folders("held", elsewhere) == [tmp_path / "held"]
    assert package_folders("held.inner", elsewhere) == [tmp_path / "held" / "inner"]
    assert package_folders("held", tmp_path) == []  # of the model's own folder
    monkeypatch.chdir(tmp_path)
    assert package_folders("held", elsewhere) == []
    assert "held" not in sys.modules
    for name in ("", "..", "held..inner", "../held", "a" * 300):
        assert package_folders(name, elsewhere) == []
