"""The LALR table of `model.lark`: made by lark once, then read from the user's cache.

The cache is JSON, so that reading one, whoever wrote it, can never run code; a cache that cannot be read
or written costs time and nothing else.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from grammar.automaton import Rule, Table
from grammar.lexer import Terminal

GRAMMAR = Path(__file__).with_name("model.lark")
_FORM = 2  # of the cached file; another form is another file


@cache
def table() -> Table:
    """The parser's table: cached in the user's folder, made anew where the grammar has changed."""
    text = GRAMMAR.read_text(encoding="utf-8")
    place = _cache_place(text)
    found = _read(place) if place is not None else None
    if found is None:
        found = _made(text)
        if place is not None:
            _write(place, found)
    return found


def cache_folder() -> Path | None:
    """The user's own folder for caches, or None where there is none."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    if os.path.isabs(base):
        return Path(base) / "nablac"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "nablac" if os.path.isabs(home) else None


def _cache_place(text: str) -> Path | None:
    folder = cache_folder()
    return folder / f"grammar-{_FORM}-{crc32(text.encode()):08x}.json" if folder is not None else None


def _made(text: str) -> Table:
    """Have lark make the table."""
    from lark import Lark
    from lark.parsers.lalr_analysis import Shift

    made = Lark(text, parser="lalr", lexer="basic", start="file", keep_all_tokens=True, maybe_placeholders=False)
    known = made.parser.parser._parse_table
    rules = {rule: number for number, rule in enumerate(made.rules)}
    numbers = {state: number for number, state in enumerate(known.states)}
    return Table(
        tuple(
            Terminal(each.name, each.pattern.value, each.pattern.type == "re", each.priority) for each in made.terminals
        ),
        frozenset(made.lexer_conf.ignore),
        tuple(_rule(rule) for rule in rules),
        tuple(
            {
                symbol: numbers[argument] if action is Shift else -1 - rules[argument]
                for symbol, (action, argument) in state.items()
            }
            for state in known.states.values()
        ),
        numbers[known.start_states["file"]],
        numbers[known.end_states["file"]],
    )


def _rule(rule: Any) -> Rule:
    """A rule as lark has it; a name that starts with `_` is of a repetition, which leaves no trace in the tree."""
    origin = str(rule.origin.name)
    spliced = tuple(
        place for place, each in enumerate(rule.expansion) if not each.is_term and each.name.startswith("_")
    )
    unwraps = bool(rule.options.expand1 and not rule.alias)
    plain = origin.startswith("_") or (unwraps and len(rule.expansion) == 1)
    return Rule(origin, len(rule.expansion), None if plain else str(rule.alias or origin), unwraps, spliced)


def _read(place: Path) -> Table | None:
    try:
        if not _is_ours(place):
            return None
        terminals, ignored, rules, states, start, end = json.loads(place.read_bytes())
        return Table(
            tuple(Terminal(*each) for each in terminals),
            frozenset(ignored),
            tuple(Rule(origin, size, call, unwraps, tuple(spliced)) for origin, size, call, unwraps, spliced in rules),
            tuple(states),
            start,
            end,
        )
    except (OSError, ValueError, TypeError, RecursionError):  # none yet, or a broken one; the grammar is at hand
        return None


def _is_ours(place: Path) -> bool:
    """Whether nobody else can have written the file: a foreign table would parse to a foreign tree."""
    if not hasattr(os, "getuid"):
        return True
    found = place.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _write(place: Path, made: Table) -> None:
    import tempfile

    scratch = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, scratch = tempfile.mkstemp(dir=place.parent, prefix=".grammar-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(made._replace(ignored=sorted(made.ignored)), file)  # type: ignore[arg-type]
        os.replace(scratch, place)
    except OSError:
        if scratch is not None and os.path.exists(scratch):
            os.unlink(scratch)
