"""Pairs of texts: lines with a separator, and the translated messages of gettext catalogues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.boundary import decode
from runtime.data.context import Context
from runtime.data.csv_file import Format, read_table
from runtime.data.examples import Text
from runtime.data.source_files import content_of

_FIELD = re.compile(r'\s*(?:(msgctxt|msgid|msgid_plural|msgstr(?:\[\d+\])?)\s+)?"((?:[^"\\]|\\.)*)"\s*')
_FUZZY = re.compile(r"^#,.*\bfuzzy\b")  # a flag, and not a word of a comment
_MARKUP = re.compile(r"<[^<>]*>|&\w+;|\\n|\n")


def pairs(stage: DataStage, context: Context) -> Text:
    """Lines of two texts with a separator between them, or the messages of a catalogue (.po) and their translations.

    `columns` that are names are those of a CSV file with a header, whose cells may be quoted.

    `path` may be a pattern with `*`, or a list of paths; lines keep the order of the files. A repeated pair is skipped,
    so that no pair is in both training and validation. What is skipped is noted.
    """
    locations: dict[tuple[str, ...], str] = {}
    files = context.paths(stage.arguments["path"], stage.span)
    for path in files:
        raw = content_of(path)
        if path.suffix == ".po":
            lines = _messages(_decoded(raw, path), path, context)
        elif has_names(stage.arguments):
            lines = _rows(raw, stage, path, context)
        else:
            lines = _lines(_decoded(raw, path), stage, path, context)
        for number, sides in lines:
            location = f"{path}:{number}"
            if sides in locations:
                context.note(location, "a repeated pair is skipped")
            else:
                locations[sides] = location
    if not locations:
        raise NablacError(Diagnostic(codes.E823, f"{files[0]} holds no pairs", stage.span))
    return Text(str(files[0]), list(locations), locations=list(locations.values()))


def has_names(arguments: Mapping[str, Any]) -> bool:
    """Whether pairs are two named columns of a table, and not the sides of lines."""
    return any(isinstance(column, str) for column in arguments.get("columns") or ())


def _decoded(content: bytes, path: Path) -> str:
    return decode(content, str(path)).replace("\r\n", "\n")


def _rows(content: bytes, stage: DataStage, path: Path, context: Context) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The two named columns of each row."""
    format = Format(stage.arguments["separator"], header=True)
    table = read_table(content, str(path), format, context)
    names = stage.arguments["columns"]
    missing = next((name for name in names if name not in table.names), None)
    if missing is not None:
        listed = ", ".join(table.names)
        near = did_you_mean(missing, table.names) or format.hint_of_header(table.names) or f"the columns are {listed}"
        raise NablacError(Diagnostic(codes.E822, f"{path} has no column `{missing}`", stage.span, hint=near))
    columns = [table.cells[table.names.index(name)] for name in names]
    for number, *cells in zip(table.lines, *columns, strict=True):
        sides = tuple(str(cell).strip() for cell in cells)
        if all(sides):
            yield number, sides
        else:
            context.report_broken(f"{path}:{number}", f"column `{names[sides.index('')]}`: the cell is empty")


def _lines(content: str, stage: DataStage, path: Path, context: Context) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The two `columns` of each line; without `columns` a line has to have exactly two texts."""
    named = stage.arguments["columns"]
    columns = named or [0, 1]
    separator = stage.arguments["separator"]
    lines = content.rstrip("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip() and separator not in line:
            context.note(f"{path}:{number}", "a blank line is skipped")
            continue
        cells = [cell.strip() for cell in line.split(separator)]
        sides = tuple(cells[index] for index in columns if index < len(cells))
        if len(sides) != 2 or not all(sides) or (not named and len(cells) != 2):
            count = len([cell for cell in cells if cell])
            context.report_broken(f"{path}:{number}", f"expected 2 texts, got {count}")
            continue
        yield number, sides


def _messages(content: str, path: Path, context: Context) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The translated messages of a catalogue that have no markup; of plural forms only the singular."""
    for number, fuzzy, fields in _entries(content):
        sides = tuple("".join(fields.get(name, ())).replace('\\"', '"').strip() for name in ("msgid", "msgstr"))
        reason = _skip_reason(sides, fuzzy)
        if reason is None:
            yield number, sides
        elif sides[0]:  # an empty message is the catalogue's header
            context.note(f"{path}:{number}", f"{reason} is skipped")


def _skip_reason(sides: tuple[str, ...], fuzzy: bool) -> str | None:
    """Why a message is skipped, or None."""
    if not all(sides):
        return "a message without a translation"
    if fuzzy:
        return "a message whose translation is marked fuzzy"
    return "a message with markup" if any(_MARKUP.search(side) for side in sides) else None


def _entries(content: str) -> Iterator[tuple[int, bool, dict[str, list[str]]]]:
    """The entries of a catalogue, line by line: where each begins, whether it is marked as fuzzy, its fields."""
    start, fuzzy = 0, False
    fields: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, line in enumerate([*content.split("\n"), ""], 1):
        field = _FIELD.fullmatch(line)
        name = "msgstr" if field is not None and field[1] == "msgstr[0]" else field and field[1]
        if "msgstr" in fields and (line.startswith("#") or not line.strip() or name in ("msgctxt", "msgid")):
            yield start, fuzzy, fields
            start, fuzzy, fields, current = 0, False, {}, None
        if line.startswith("#"):
            fuzzy = fuzzy or _FUZZY.match(line) is not None
        elif field is None:  # an empty line, or an invalid one
            if not fields:
                start, fuzzy = 0, False
            current = None
            continue
        elif name:
            current = fields.setdefault(name, [])
            current.append(field[2])
        elif current is not None:
            current.append(field[2])
        start = start or number
