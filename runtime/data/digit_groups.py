"""Signs between thousands in the numbers of CSV: `1,234,567.8` as a program reads it.

Digits stand in groups of three, or as in India in groups of two before the last three (Unicode CLDR, "Number
Patterns"), and the first of them is no 0. So a decimal comma that is taken for one between thousands, as in `0,125` or
`1,5`, is no number; `1,250` is one either way, and only the user knows which.
"""

from __future__ import annotations

import re
from functools import cache

from grammar.file_kinds import THOUSANDS


def without_groups(text: str, sign: str) -> str | None:
    """A number without the `sign`, or one that looks alike, between its thousands; None where it is anywhere else."""
    alike = THOUSANDS[sign]
    grouped = _pattern(alike).match(text)
    rest = text[grouped.end() :] if grouped is not None else text
    if not alike.isdisjoint(rest):
        return None
    if grouped is None:
        return text
    return "".join(character for character in grouped[0] if character not in alike) + rest


@cache
def _pattern(alike: frozenset[str]) -> re.Pattern[str]:
    """Matches a sign and grouped digits at the beginning of a number."""
    sign = f"[{''.join(map(re.escape, sorted(alike)))}]"
    return re.compile(rf"[+-]?[1-9](?:\d{{0,2}}(?:{sign}\d{{3}})+|\d?(?:{sign}\d{{2}})+{sign}\d{{3}})(?!\d)", re.ASCII)
