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
    pattern, removed = _grouped(THOUSANDS[sign])
    plain = text.translate(removed)
    return plain if plain == text or pattern.fullmatch(text) is not None else None


@cache
def _grouped(alike: frozenset[str]) -> tuple[re.Pattern[str], dict[int, None]]:
    """A pattern of texts that begin with grouped digits and have no other sign, and a table that removes all signs."""
    signs = "".join(map(re.escape, sorted(alike)))
    groups = rf"(?:\d{{0,2}}(?:[{signs}]\d{{3}})+|\d?(?:[{signs}]\d{{2}})+[{signs}]\d{{3}})"
    rest = rf"(?:[^{signs}\d][^{signs}]*)?"
    return re.compile(f"[+-]?[1-9]{groups}{rest}", re.ASCII | re.DOTALL), dict.fromkeys(map(ord, alike))
