"""The notation of amounts of memory: `500MB`, `1.5GiB`, or a number of bytes."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_FACTORS = {unit.upper(): factor for unit, factor in _UNITS.items()}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]*)")


def bytes_of(text: str) -> int | None:
    """The number of bytes, at least 1, in a text such as 500MB, 1.5GiB or 100000; None for any other text."""
    match = _SIZE.fullmatch(text.strip().upper())
    count = round(float(match[1]) * _FACTORS.get(match[2], 0)) if match is not None else 0
    return count if count > 0 else None


def format_bytes(count: int) -> str:
    """The shortest text of a positive number of bytes that `bytes_of` reads as that number: 1.5GiB, 1GB or 100001."""
    texts = [f"{count / factor:.4g}{unit}" for unit, factor in _UNITS.items() if count >= factor]
    return min((text for text in [*texts, str(count)] if bytes_of(text) == count), key=len)


def rounded_bytes(count: int) -> str:
    """A number of bytes to read, rounded: 512 bytes, 1.5 KB or 1,250.3 MB."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} KB"
