"""The LALR table of `model.lark`: built by lark once, then read from the user's cache.

The cache is JSON, so that reading one can never run code, whoever wrote it. A cache that cannot be read or written only
costs time.
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
_FORMAT = 2  # of the cached file, part of its name


@cache
def table() -> Table:
    """The parser's table: from the user's cache, or built anew if the grammar has changed."""
    text = GRAMMAR.read_text(encoding="utf-8")
    path = _cache_path(text)
    cached = _read(path) if path is not None else None
    if cached is not None:
        return cached
    built = _build(text)
    if path is not None:
        _write(path, built)
    return built


def cache_folder() -> Path | None:
    """The user's own cache folder, or None if there is none."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    if os.path.isabs(base):
        return Path(base) / "nablac"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "nablac" if os.path.isabs(home) else None


def _cache_path(text: str) -> Path | None:
    folder = cache_folder()
    return folder / f"grammar-{_FORMAT}-{crc32(text.encode()):08x}.json" if folder is not None else None


def _build(text: str) -> Table:
    """The table, built by lark."""
    from lark import Lark
    from lark.parsers.lalr_analysis import Shift

    lark = Lark(text, parser="lalr", lexer="basic", start="file", keep_all_tokens=True, maybe_placeholders=False)
    parse_table = lark.parser.parser._parse_table
    rules = {rule: number for number, rule in enumerate(lark.rules)}
    numbers = {state: number for number, state in enumerate(parse_table.states)}
    return Table(
        tuple(_terminal(terminal) for terminal in lark.terminals),
        frozenset(lark.lexer_conf.ignore),
        tuple(_rule(rule) for rule in rules),
        tuple(
            {
                symbol: numbers[argument] if action is Shift else -1 - rules[argument]
                for symbol, (action, argument) in state.items()
            }
            for state in parse_table.states.values()
        ),
        numbers[parse_table.start_states["file"]],
        numbers[parse_table.end_states["file"]],
    )


def _terminal(terminal: Any) -> Terminal:
    """A terminal of lark's."""
    return Terminal(terminal.name, terminal.pattern.value, terminal.pattern.type == "re", terminal.priority)


def _rule(rule: Any) -> Rule:
    """A rule of lark's; a name that starts with `_` is that of a repetition, which has no node in the tree."""
    origin = str(rule.origin.name)
    spliced = tuple(
        index for index, symbol in enumerate(rule.expansion) if not symbol.is_term and symbol.name.startswith("_")
    )
    unwraps = bool(rule.options.expand1 and not rule.alias)
    plain = origin.startswith("_") or (unwraps and len(rule.expansion) == 1)
    return Rule(origin, len(rule.expansion), None if plain else str(rule.alias or origin), unwraps, spliced)


def _read(path: Path) -> Table | None:
    try:
        if not _is_ours(path):
            return None
        terminals, ignored, rules, states, start, end = json.loads(path.read_bytes())
        return Table(
            tuple(Terminal(*terminal) for terminal in terminals),
            frozenset(ignored),
            tuple(Rule(origin, size, call, unwraps, tuple(spliced)) for origin, size, call, unwraps, spliced in rules),
            tuple(states),
            start,
            end,
        )
    except (OSError, ValueError, TypeError, RecursionError):  # there is none, or it is broken: the table is built
        return None


def _is_ours(path: Path) -> bool:
    """Whether only this user can have written the file: with another table, models would be parsed in another way."""
    if not hasattr(os, "getuid"):
        return True
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _write(path: Path, table: Table) -> None:
    import tempfile

    scratch = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".grammar-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(table._replace(ignored=sorted(table.ignored)), file)  # type: ignore[arg-type]
        os.replace(scratch, path)
    except OSError:
        if scratch is not None and os.path.exists(scratch):
            os.unlink(scratch)
