"""The documentation is true: its examples check, its mistakes get the text shown, its tables name everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler.build import check, program_of
from compiler.elaborate.builtins import builtin_names
from compiler.elaborate.data import SOURCES, STAGES
from compiler.elaborate.program import library
from compiler.elaborate.training import SETTINGS
from compiler.operators import OPERATORS
from grammar.diagnostics import NablacError, render_all
from grammar.source import Source

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```model\n(.*?)^```$(?:\n+^```diagnostic\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
EXAMPLES = [
    pytest.param(page, found[1], found[2], id=f"{page.stem}-{number}")
    for page in PAGES
    for number, found in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")))
]
_PLACES = {"float", "f16", "bf16", "f32", "f64", "i8", "u8", "i32", "i64", "bool", "none", "scan", "random"}  # in prose


@pytest.mark.parametrize(("page", "model", "diagnostic"), EXAMPLES)
def test_an_example_is_true(page: Path, model: str, diagnostic: str | None) -> None:
    source = Source(f"{page.stem}.model", model)
    if diagnostic is None:
        check(program_of(source))
        return
    with pytest.raises(NablacError) as caught:
        check(program_of(source))
    assert render_all(caught.value.diagnostics) + "\n" == diagnostic


def named(page: str, names: set[str]) -> set[str]:
    """Those of the names that a page has in a code span."""
    text = re.sub(
        r"^```.*?^```", "", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    words = {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", span)}
    return names & words


def test_every_built_in_is_in_the_reference() -> None:
    names = {name for name, operator in OPERATORS.items() if operator.public} | set(builtin_names()) - _PLACES
    assert named("language.md", names) == names


def test_every_setting_source_and_stage_is_in_the_reference() -> None:
    names = set(SETTINGS) | set(SOURCES) | set(STAGES)
    assert named("language.md", names) == names


def test_every_name_of_the_library_is_in_its_page() -> None:
    names = set(library().places)
    assert named("library.md", names) == names
