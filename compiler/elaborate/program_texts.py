"""The texts of a program: a hash to recognise it by, and a complete copy for a run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from compiler.elaborate.program import Program
from grammar.source import Span

SPEC, IMPORTED = "spec.model", "imported"


def fingerprint(program: Program) -> str:
    """A hash of a model's text and of all that it imports, independent of their paths."""
    from hashlib import blake2b  # here: `check` needs none

    digest = blake2b(digest_size=8)
    for file in files_of(program):
        digest.update(replace_spans(whole_text(file), dict.fromkeys(file.imports, '""')).encode() + b"\0")
    return digest.hexdigest()


def collect_texts(program: Program, replacements: Mapping[Span, str] = MappingProxyType({})) -> dict[str, str]:
    """The texts of a program by paths below one folder, with imports changed to these paths.

    `replacements` are new texts for parts of them.
    """
    names: dict[Program, str] = {}
    for file in files_of(program):
        stem = Path(file.source.name).stem
        same_name = sum(1 for other in names if Path(other.source.name).stem == stem)
        names[file] = f"{stem}-{same_name + 1}.model" if same_name else f"{stem}.model"
    texts = {}
    for file in names:
        paths = {span: names[other] for span, other in file.imports.items()}
        if file is program:
            quoted = {span: f'"{IMPORTED}/{name}"' for span, name in paths.items()}
            texts[SPEC] = replace_spans(whole_text(file), {**replacements, **quoted})
        else:
            quoted = {span: f'"{name}"' for span, name in paths.items()}
            texts[f"{IMPORTED}/{names[file]}"] = replace_spans(whole_text(file), {**replacements, **quoted})
    return texts


def files_of(program: Program) -> Iterator[Program]:
    """A program and all its imports, each once, in the order of the texts."""
    files: dict[Program, None] = {}
    waiting = [program]
    while waiting:
        file = waiting.pop()
        if file not in files:
            files[file] = None
            waiting.extend(reversed(file.imports.values()))
    return iter(files)


def whole_text(program: Program) -> Span:
    """The span of a file's text."""
    return Span(program.source, 0, len(program.source.text))


def replace_spans(part: Span, replacements: Mapping[Span, str]) -> str:
    """The text of a span with parts of it replaced, and the rest unchanged.

    Of two spans one inside the other, the outer one is replaced.
    """
    text, end, parts = part.source.text, part.start, []
    inside = [span for span in replacements if span.source is part.source and span.start >= part.start]
    for span in sorted(inside, key=lambda span: (span.start, -span.end)):
        if end <= span.start and span.end <= part.end:
            parts += [text[end : span.start], replacements[span]]
            end = span.end
    return "".join([*parts, text[end : part.end]])
