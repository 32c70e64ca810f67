"""The standard library is parsed a declaration at a time, to what its whole files say."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import Library, load
from grammar import parser, syntax
from grammar.parser import parse
from grammar.record import Record
from grammar.source import Source, Span
from specs import FOLDER

FILES = sorted((FOLDER / "std").glob("*.model"))


def plain(part: Any) -> Any:
    """A tree as tuples that compare by what they hold."""
    if isinstance(part, Record):
        return (type(part).__name__, *map(plain, vars(part).values()))
    if isinstance(part, tuple):
        return tuple(map(plain, part))
    return (part.start, part.end) if isinstance(part, Span) else part


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_parts_of_a_file_are_all_that_it_declares(path: Any) -> None:
    library, source = Library(), Source(path.name, path.read_text("utf-8"))
    whole = [each for each in parse(source).declarations if isinstance(each, syntax.Definition | syntax.Const)]
    names = [name for name, file in library.files.items() if file.source.name == f"std/{path.name}"]
    assert names == [each.name.text for each in whole]
    parts = [library.files[name].declaration(name) for name in names]
    assert [plain(part) for part in parts] == [plain(each) for each in whole]


def test_no_two_files_of_the_library_declare_one_name() -> None:
    assert sum(len(file.parts) for file in set(Library().files.values())) == len(Library().files)


def test_a_name_of_the_library_is_one_value() -> None:
    library = Library()
    assert library.find("Dense") is library.find("Dense")
    with pytest.raises(KeyError):
        library.find("Densest")


def test_a_model_parses_what_it_uses_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in characters: the whole library is 59,000, the seven files that this model uses 19,000."""
    parsed: list[Span] = []
    parse_part, library = parser.parse_part, Library()
    monkeypatch.setattr("compiler.elaborate.program.parse_part", lambda part: parsed.append(part) or parse_part(part))
    monkeypatch.setattr("compiler.elaborate.program.library", lambda: library)
    check(load(FOLDER / "lstm.model"))
    assert "adam" in {span.text.split("(")[0].split()[1] for span in parsed}
    assert len(parsed) == len(set(parsed)), "something is parsed twice"
    assert sum(span.end - span.start for span in parsed) < 4000
