"""The notation of amounts of memory: `500MB`, `1.5GiB`, or a number of bytes."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]*)")


def bytes_of(text: str) -> int | None:
    """The number of bytes, at least 1, in a text such as 500MB, 1.5GiB or 100000; None for any other text."""
    match = _SIZE.fullmatch(text.strip().upper())
    count = round(float(match[1]) * _UNITS.get(match[2], 0)) if match is not None else 0
    return count if count > 0 else None
