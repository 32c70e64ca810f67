"""The texts of a program, as a run's folder keeps them: complete, and known again."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from compiler.elaborate.program import Program
from grammar.source import Span

SPEC, IMPORTED = "spec.model", "imported"


def fingerprint(program: Program) -> str:
    """A hash of a model's text and of all that it imports, wherever these files lie."""
    digest = blake2b(digest_size=8)
    for each in _files(program):
        digest.update(_with_paths(each, {}).encode() + b"\0")
    return digest.hexdigest()


def written_out(program: Program) -> dict[str, str]:
    """The texts of a program by paths below one folder; each imports the others from there."""
    names: dict[Program, str] = {}
    for each in _files(program):
        stem = Path(each.source.name).stem
        taken = sum(1 for other in names if Path(other.source.name).stem == stem)
        names[each] = f"{stem}-{taken + 1}.model" if taken else f"{stem}.model"
    texts = {}
    for each in names:
        places = {span: names[other] for span, other in each.imports.items()}
        if each is program:
            texts[SPEC] = _with_paths(each, {span: f"{IMPORTED}/{name}" for span, name in places.items()})
        else:
            texts[f"{IMPORTED}/{names[each]}"] = _with_paths(each, places)
    return texts


def _files(program: Program) -> Iterator[Program]:
    """A program and what it imports, each once, in the order of the texts."""
    found: dict[Program, None] = {}
    waiting = [program]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = None
            waiting.extend(reversed(each.imports.values()))
    return iter(found)


def _with_paths(program: Program, places: dict[Span, str]) -> str:
    """A text that imports from other places; from none where none are given."""
    text, end, parts = program.source.text, 0, []
    for span in sorted(program.imports, key=lambda span: span.start):
        parts += [text[end : span.start], f'"{places.get(span, "")}"']
        end = span.end
    return "".join([*parts, text[end:]])
