"""The notation of amounts of memory: `500MB`, `1.5GiB`, or a number of bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_DECIMAL, _BINARY = ("bytes", "kB", "MB", "GB", "TB"), ("bytes", "KiB", "MiB", "GiB", "TiB")
_FACTORS = {unit.upper(): factor for unit, factor in _UNITS.items()}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]*)")


def bytes_of(text: str) -> int | None:
    """The number of bytes, at least 1, in a text such as 500MB, 1.5GiB or 100000; None for any other text."""
    match = _SIZE.fullmatch(text.strip().upper())
    count = round(float(match[1]) * _FACTORS.get(match[2], 0)) if match is not None else 0
    return count if count > 0 else None


def format_bytes(count: int) -> str:
    """The shortest text of a positive number of bytes that `bytes_of` reads as that number: 1.5GiB, 1GB or 100001."""
    return min([*_texts(count, _UNITS), str(count)], key=len)


def _texts(count: int, units: Iterable[str]) -> list[str]:
    """The texts of a number of bytes in some of these units that `bytes_of` reads as that number."""
    texts = [f"{count / _UNITS[unit]:.4g}{unit}" for unit in units if count >= _UNITS[unit]]
    return [text for text in texts if bytes_of(text) == count]


def units_of(count: int) -> Callable[[float], str]:
    """A function that writes numbers of bytes, rounded, in the units of `count`: KiB, MiB, ... if it is short in these.

    So a limit of 512KiB is compared with 600.0 KiB, and one of 500MB, or of 500001 bytes, with 600.0 MB.
    """
    in_binary, in_decimal = _texts(count, _BINARY[1:]), _texts(count, ("KB", *_DECIMAL[2:]))
    binary = in_binary and (not in_decimal or min(map(len, in_binary)) <= min(map(len, in_decimal)))
    base, units = (1024, _BINARY) if binary else (1000, _DECIMAL)

    def text_of(amount: float) -> str:
        power = 0
        while power + 1 < len(units) and amount >= base:
            amount, power = amount / base, power + 1
        return f"{amount:,.1f} {units[power]}" if power else f"{amount:.0f} {units[0]}"

    return text_of
