"""Pairs of texts: lines with a separator, and the translated messages of gettext catalogues."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import Text
from runtime.data.files import content_of

_TEXT = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
_ENTRY = re.compile(
    rf"^((?:#.*\n)*)msgid {_TEXT}(?:msgid_plural {_TEXT.replace('(', '(?:', 1)})?msgstr(?:\[0\])? {_TEXT}", re.MULTILINE
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MARKUP = re.compile(r"<[^>]*>|&\w+;|\\n|\n")


def pairs(stage: Stage, context: Context) -> Text:
    """Lines of two texts with a separator between them; of a catalogue (.po) the messages and their translations.

    `path` may be a pattern with `*`, or a list of paths; a pair that comes twice counts once, and lines keep the order
    of the files.
    """
    found: dict[tuple[str, ...], str] = {}
    files = context.paths(stage.arguments["path"], stage.span)
    for path in files:
        try:
            content = content_of(path).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            place = f"{path}: byte {error.start}"
            raise NablacError(Diagnostic("E821", "this is no UTF-8 text", place=place)) from None
        lines = _messages(content) if path.suffix == ".po" else _lines(content, stage, path, context)
        for number, sides in lines:
            found.setdefault(sides, f"{path}:{number}")
    if not found:
        raise NablacError(Diagnostic("E823", f"{files[0]} holds no pairs", stage.span))
    return Text(str(files[0]), list(found), places=list(found.values()))


def _lines(content: str, stage: Stage, path: Path, context: Context) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The two `columns` of each line; where none are named a line has two texts, and no more."""
    named = stage.arguments["columns"]
    columns = named or [0, 1]
    separator = stage.arguments["separator"]
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip() and separator not in line:
            continue
        cells = [cell.strip() for cell in line.split(separator)]
        sides = tuple(cells[place] for place in columns if place < len(cells))
        if len(sides) != 2 or not all(sides) or (not named and len(cells) != 2):
            count = len([cell for cell in cells if cell])
            context.broken(f"{path}:{number}", f"{count} text{'' if count == 1 else 's'}, and a pair has 2")
            continue
        yield number, sides


def _messages(content: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The messages of a catalogue without markup that are translated, of those with a plural the singular."""
    number, counted = 1, 0
    for entry in _ENTRY.finditer(content):
        comments, *parts = entry.groups()
        number, counted = number + content.count("\n", counted, entry.start()), entry.start()
        sides = tuple("".join(_QUOTED.findall(part)).replace('\\"', '"').strip() for part in parts)
        if all(side and not _MARKUP.search(side) for side in sides) and "fuzzy" not in comments:
            yield number, sides
