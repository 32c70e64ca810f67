"""Seeded damage to bytes and texts: a seed gives the same damage on every machine."""

from __future__ import annotations

import random
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), 0.5, "", "a", "\x1b[31m",
    "\ud800", "a" * 2000, "../../x", "NaN", [], {}, [[]], [None], [1, 2, 3], ["a"], {"a": 1}, [[1, 2], [3]], [0] * 2000,
)  # fmt: skip
LARGE = (b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0" * 8, b"\x80\0\0\0", b"\x01" + bytes(7))
WORDS = (
    b"99999999999999999999", b"-1", b"0", b"NaN", b"Infinity", b"1e999", b"null", b"true", b'""', b"{}", b"[]",
    b"[" * 2000, b'{"a":' * 500, b"\\u0000", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1b[31m", b"\xe2\x80\xae", b"../",
    b"a" * 5000, b"\n\n", b"\r", b",,,", b'"', b"'", b"\\", b"%s", b"*" * 30, b"(a+)+$",
)  # fmt: skip
TEXTS = (
    "(", ")", "[", "]", "{", "}", "->", ":", ",", "=", "~", "'", '"', "#", "...", "^T", "@", "**", "//", "..", ".", "_",
    "0", "-1", "1e309", "10 ** 18", "batch", "x", "none", "true", "input", "output", "param", "state",
    "for i in 0..3 {", "if", "else", "layer L {", "model", "train", "fn", "assert", "\n", "\t", "\0", "\u202e",
    "\ud83d", "漢", "grad",
    "scan(", "Dense(", "split(", "zeros([", "iota(", "range(1000000)", "x" * 300, "(" * 150, "!" * 20, "training",
    "seed",
)  # fmt: skip


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes with one to six changes: flipped, cut, repeated, moved, overwritten or inserted parts."""
    mutated = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(mutated) + 1)
        length = min(chance.choice((1, 2, 4, 8, 64, 1000)), len(mutated) - at)
        kind = chance.randrange(8)
        if kind == 0 and at < len(mutated):
            mutated[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            mutated[at : at + length] = chance.randbytes(length)
        elif kind == 2:
            del mutated[at : at + length]
        elif kind == 3:
            mutated[at:at] = mutated[at : at + length] * chance.choice((1, 1, 2, 50))
        elif kind == 4:
            del mutated[at:]
        elif kind == 5:
            mutated[at:at] = chance.choice(WORDS)
        elif kind == 6:
            word = chance.choice((*LARGE, *WORDS))
            mutated[at : at + len(word)] = word
        else:
            to = chance.randrange(len(mutated) + 1)
            mutated[to:to] = mutated[at : at + length]
    return bytes(mutated)


def damaged_json(value: Any, chance: random.Random) -> Any:
    """JSON with one value at any depth replaced; a key may also be removed or added."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {name: held for name, held in value.items() if name != key}
        if chance.random() < 0.1:
            return {**value, chance.choice(("", "a", "../a", "\x1b", key * 2)): chance.choice(VALUES)}
        return {**value, key: damaged_json(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], damaged_json(value[at], chance), *value[at + 1 :]]
    return chance.choice(VALUES)


def damaged_text(text: str, chance: random.Random) -> str:
    """A text with one to five changes of words, lines and signs, so that much of it is still parsed."""
    for _ in range(chance.choice((1, 1, 2, 3, 5))):
        at = chance.randrange(len(text) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            text = text[:at] + chance.choice(TEXTS) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + chance.choice((1, 1, 2, 5, 20)) :]
        elif kind == 2:
            lines = text.split("\n")
            chosen = chance.randrange(len(lines))
            lines.insert(chance.randrange(len(lines) + 1), lines[chosen])
            text = "\n".join(lines)
        elif kind == 3:
            lines = text.split("\n")
            del lines[chance.randrange(len(lines))]
            text = "\n".join(lines)
        elif kind == 4:
            words = text.split(" ")
            first, second = chance.randrange(len(words)), chance.randrange(len(words))
            words[first], words[second] = words[second], words[first]
            text = " ".join(words)
        else:
            text = text[:at] + chance.choice(TEXTS) + text[at + chance.choice((1, 3, 10)) :]
    return text
