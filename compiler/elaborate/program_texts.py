"""The texts of a program, as a run's folder keeps them: complete, and known again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType

from compiler.elaborate.program import Program
from grammar.source import Span

SPEC, IMPORTED = "spec.model", "imported"


def fingerprint(program: Program) -> str:
    """A hash of a model's text and of all that it imports, wherever these files lie."""
    digest = blake2b(digest_size=8)
    for file in files_of(program):
        digest.update(replaced(whole_text(file), dict.fromkeys(file.imports, '""')).encode() + b"\0")
    return digest.hexdigest()


def written_out(program: Program, replacements: Mapping[Span, str] = MappingProxyType({})) -> dict[str, str]:
    """The texts of a program by paths below one folder; each imports the others from there.

    `replacements` are what stands there in the place of stretches of the texts.
    """
    names: dict[Program, str] = {}
    for file in files_of(program):
        stem = Path(file.source.name).stem
        taken = sum(1 for other in names if Path(other.source.name).stem == stem)
        names[file] = f"{stem}-{taken + 1}.model" if taken else f"{stem}.model"
    texts = {}
    for file in names:
        paths = {span: names[other] for span, other in file.imports.items()}
        if file is program:
            quoted = {span: f'"{IMPORTED}/{name}"' for span, name in paths.items()}
            texts[SPEC] = replaced(whole_text(file), {**replacements, **quoted})
        else:
            quoted = {span: f'"{name}"' for span, name in paths.items()}
            texts[f"{IMPORTED}/{names[file]}"] = replaced(whole_text(file), {**replacements, **quoted})
    return texts


def files_of(program: Program) -> Iterator[Program]:
    """A program and what it imports, each once, in the order of the texts."""
    files: dict[Program, None] = {}
    waiting = [program]
    while waiting:
        file = waiting.pop()
        if file not in files:
            files[file] = None
            waiting.extend(reversed(file.imports.values()))
    return iter(files)


def whole_text(program: Program) -> Span:
    """All of a file's text, without what it imports."""
    return Span(program.source, 0, len(program.source.text))


def replaced(part: Span, replacements: Mapping[Span, str]) -> str:
    """A stretch of a text, with others in the place of stretches inside of it, and all else as it was written.

    Of two stretches of which one is inside the other, the outer one is replaced.
    """
    text, end, parts = part.source.text, part.start, []
    inside = [span for span in replacements if span.source is part.source and span.start >= part.start]
    for span in sorted(inside, key=lambda span: (span.start, -span.end)):
        if end <= span.start and span.end <= part.end:
            parts += [text[end : span.start], replacements[span]]
            end = span.end
    return "".join([*parts, text[end : part.end]])
