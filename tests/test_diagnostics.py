"""Every page of `specs/diagnostics` is correct: its models get exactly the diagnostics that it shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from compiler.elaborate import checking
from compiler.elaborate.program import program_of
from compiler.lints.linting import warnings_of
from grammar.codes import declared
from grammar.diagnostics import NablacError, render_all
from grammar.source import Source

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "specs" / "diagnostics").glob("*.md"))
CHECKED = "123456"  # the subjects of codes that `check` finds


def check(source: Source) -> None:
    """What `nablac check` does with a text; raises NablacError, with the warnings if there are no errors."""
    program = program_of(source)
    if warnings := warnings_of(program, checking.check(program)):
        raise NablacError(*warnings)


def blocks(path: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


SHOWN = [path for path in PAGES if path.stem[1] in CHECKED and blocks(path, "model")]


@pytest.mark.parametrize("path", SHOWN, ids=[path.stem for path in SHOWN])
def test_the_models_of_a_page_get_its_diagnostics(path: Path) -> None:
    code = path.stem.split("-")[0]
    assert path.read_text(encoding="utf-8").startswith(f"# {code}: ")
    for model, expected in zip(blocks(path, "model"), blocks(path, "diagnostic"), strict=True):
        with pytest.raises(NablacError) as caught:
            check(Source(f"{path.stem}.model", model))
        assert code in [diagnostic.code for diagnostic in caught.value.diagnostics]
        assert render_all(caught.value.diagnostics) + "\n" == expected


def test_every_code_is_declared_under_its_name_and_has_a_page_with_its_title() -> None:
    codes = declared()
    assert all(name == code for name, code in codes.items())
    assert [path.stem.split("-")[0] for path in PAGES] == sorted(codes)
    headings = [path.read_text(encoding="utf-8").splitlines()[0] for path in PAGES]
    assert headings == [f"# {code}: {code.heading}" for _, code in sorted(codes.items())]


PACKAGES = ("grammar", "compiler", "runtime", "nablac")
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name != "codes.py"]


def test_every_code_is_used() -> None:
    used = {code for path in SOURCES for code in re.findall(r"\bcodes\.([EW]\d{3})\b", path.read_text("utf-8"))}
    assert used == set(declared())


def test_no_code_is_written_as_a_string() -> None:
    written = [
        f"{path.relative_to(ROOT)}, line {node.lineno}: {node.value}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[EW]\d{3}", node.value)
    ]
    assert not written


def test_pages_of_what_check_reports_have_a_model() -> None:
    """Except where the mistake is not in one text: it is in the file, its imports, the options, or a training step."""
    without = {path.stem.split("-")[0] for path in PAGES if path.stem[1] in CHECKED and path not in SHOWN}
    files = {"E127", "E128", "E140", "E141", "E142", "E143", "E144", "E204", "E205"}
    assert without == files | {"E419", "E420", "E511", "E610", "E612", "E613", "E614", "E624"}
