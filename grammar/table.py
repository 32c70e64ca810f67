"""The LALR table of `model.lark`: generated once, then read from the user's cache.

The cache is JSON, so that reading one, whoever wrote it, can never run code; a cache that cannot be read
or written costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef
from lark.parsers.lalr_parser_state import ParserState

from grammar.builder import Builder

GRAMMAR = Path(__file__).with_name("model.lark")


@dataclass(frozen=True)
class Table:
    """What the grammar says: its terminals, and a parser ready to start."""

    lark: lark.Lark

    @property
    def terminals(self) -> list[TerminalDef]:
        return list(self.lark.terminals)

    @property
    def ignored(self) -> frozenset[str]:
        return frozenset(self.lark.lexer_conf.ignore)

    def start(self) -> ParserState[Any]:
        return self.lark.parse_interactive().parser_state


@cache
def table() -> Table:
    text = GRAMMAR.read_text(encoding="utf-8")
    place = _cache_place(text)
    found = _read(place) if place is not None else None
    if found is None:
        found = lark.Lark(text, parser="lalr", lexer="basic", start="file", keep_all_tokens=True, transformer=Builder())
        if place is not None:
            _write(place, found)
    return Table(found)


def cache_folder() -> Path | None:
    """The user's own folder for caches, or None where there is none."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    if os.path.isabs(base):
        return Path(base) / "nablac"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "nablac" if os.path.isabs(home) else None


def _cache_place(text: str) -> Path | None:
    folder = cache_folder()
    version = hashlib.sha256(f"{lark.__version__}\n{text}".encode()).hexdigest()[:24]
    return folder / f"grammar-{version}.json" if folder is not None else None


def _read(place: Path) -> lark.Lark | None:
    try:
        if not _is_ours(place):
            return None
        stored = json.loads(place.read_text(encoding="utf-8"), object_pairs_hook=_with_integer_keys)
        loaded: lark.Lark = lark.Lark._load_from_dict(  # type: ignore[no-untyped-call]
            stored["data"], stored["memo"], transformer=Builder()
        )
        loaded.parse_interactive()
        return loaded
    except Exception:  # a corrupt cache may fail anywhere in lark; the grammar itself is always at hand
        return None


def _is_ours(place: Path) -> bool:
    """Whether nobody else can have written the file: a foreign table would parse to a foreign tree."""
    if not hasattr(os, "getuid"):
        return True
    found = place.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _write(place: Path, made: lark.Lark) -> None:
    data, memo = made.memo_serialize([TerminalDef, Rule])
    kept = {"parser", "lexer", "start", "keep_all_tokens", "maybe_placeholders", "propagate_positions"}
    data["options"] = {name: value for name, value in data["options"].items() if name in kept}
    scratch = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, scratch = tempfile.mkstemp(dir=place.parent, prefix=".grammar-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"data": data, "memo": memo}, file)
        os.replace(scratch, place)
    except (OSError, TypeError, ValueError):
        if scratch is not None and os.path.exists(scratch):
            os.unlink(scratch)


def _with_integer_keys(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    """JSON has only text as keys; the states of the table are numbers."""
    return {int(key) if key.isdigit() else key: value for key, value in pairs}
