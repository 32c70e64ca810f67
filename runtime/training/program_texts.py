"""The texts of a program: a hash to recognise it by, and a complete copy for a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from compiler.elaborate.program import Program
from grammar.source import Span

SPEC, IMPORTED = "spec.model", "imported"


def fingerprint(program: Program) -> str:
    """A hash of a model's text and of all that it imports, independent of their paths."""
    digest = blake2b(digest_size=8)
    for file in _files(program):
        digest.update(_with_paths(file, {}).encode() + b"\0")
    return digest.hexdigest()


def collect_texts(program: Program) -> dict[str, str]:
    """The texts of a program by paths below one folder, with imports changed to these paths."""
    names: dict[Program, str] = {}
    for file in _files(program):
        stem = Path(file.source.name).stem
        taken = sum(1 for other in names if Path(other.source.name).stem == stem)
        names[file] = f"{stem}-{taken + 1}.model" if taken else f"{stem}.model"
    texts = {}
    for file in names:
        paths = {span: names[other] for span, other in file.imports.items()}
        if file is program:
            texts[SPEC] = _with_paths(file, {span: f"{IMPORTED}/{name}" for span, name in paths.items()})
        else:
            texts[f"{IMPORTED}/{names[file]}"] = _with_paths(file, paths)
    return texts


def _files(program: Program) -> Iterator[Program]:
    """A program and all its imports, each once, in the order of the texts."""
    files: dict[Program, None] = {}
    waiting = [program]
    while waiting:
        file = waiting.pop()
        if file not in files:
            files[file] = None
            waiting.extend(reversed(file.imports.values()))
    return iter(files)


def _with_paths(program: Program, paths: dict[Span, str]) -> str:
    """The text with the paths of its imports replaced, by empty ones if they are not in `paths`."""
    text, end, parts = program.source.text, 0, []
    for span in sorted(program.imports, key=lambda span: span.start):
        parts += [text[end : span.start], f'"{paths.get(span, "")}"']
        end = span.end
    return "".join([*parts, text[end:]])
