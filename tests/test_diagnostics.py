"""Every page of `specs/diagnostics` is true: its model gets exactly the text that the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grammar.diagnostics import NablacError, render_all
from grammar.parser import parse
from grammar.source import Source

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "specs" / "diagnostics").glob("*.md"))
CHECKED = "1"  # the subjects of codes that `check` finds


def check(source: Source) -> None:
    """What `nablac check` does with a text; raises NablacError."""
    parse(source)


def block(page: str, kind: str) -> str | None:
    found = re.search(rf"^```{kind}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return found.group(1) if found else None


# Pages of files that are too large or no text have no model to show.
SHOWN = [path for path in PAGES if path.stem[1] in CHECKED and block(path.read_text(encoding="utf-8"), "model")]


@pytest.mark.parametrize("path", SHOWN, ids=[path.stem for path in SHOWN])
def test_a_page_shows_what_its_model_gets(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    code = path.stem.split("-")[0]
    assert page.startswith(f"# {code}: ")
    model, expected = block(page, "model"), block(page, "diagnostic")
    assert model is not None
    with pytest.raises(NablacError) as caught:
        check(Source(f"{path.stem}.model", model))
    assert code in [each.code for each in caught.value.diagnostics]
    assert render_all(caught.value.diagnostics) + "\n" == expected


def test_every_code_of_the_grammar_has_one_page() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "grammar").glob("*.py")]
    emitted = sorted({code for text in texts for code in re.findall(r'"(E\d{3})"', text)})
    assert emitted == sorted({path.stem.split("-")[0] for path in PAGES} & set(emitted))
    assert len({path.stem.split("-")[0] for path in PAGES}) == len(PAGES)
