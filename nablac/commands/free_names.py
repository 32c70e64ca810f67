"""Names that a first spec may give: none that its columns have, or that mean something already."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from compiler.elaborate.builtins.language_names import builtin_names
from compiler.elaborate.program import Library
from compiler.elaborate.reserved import reserved_names
from compiler.elaborate.train_blocks import STEP_INPUTS
from grammar.diagnostics import NablacError
from grammar.parser import parse
from grammar.source import Source

_MEANT = {"batch", "time", "_"}  # dims of the spec, and the value that is piped


@cache
def _defined() -> frozenset[str]:
    """The names of the language and of the library, which a declaration would hide."""
    return frozenset(builtin_names()) | frozenset(Library().files) | _MEANT


def may_be_input(name: str) -> bool:
    """Whether an input may have the name of a column, which it then takes."""
    is_name = re.fullmatch(r"[^\W\d]\w*", name) is not None and unicodedata.normalize("NFKC", name) == name
    if not is_name or name in _defined() or name in STEP_INPUTS:
        return False
    try:
        tree = parse(Source("", f"model M {{ input {name}: i64[batch]; output {name} }}"))
    except NablacError:  # a keyword
        return False
    return not reserved_names(tree)


class FreeNames:
    """Names for what a spec declares, each of them once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def take(self, name: str, but: Iterable[str] = ()) -> str:
        """This name, or the first of it with a number that is free, and not in `but`."""
        others, free, number = {*self._taken, *but, *_defined()}, name, 1
        while free in others:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free
