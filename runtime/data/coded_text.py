"""The tokens of a text, part by part, and windows of them that are cut when a batch is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from runtime.data.file_rows import most_in_memory
from runtime.data.long_text import LongText
from runtime.data.stored_rows import StoredRows
from runtime.data.token_row import TokenRow
from runtime.text.learning import learn, learn_list
from runtime.text.tokenizers import LibraryTokenizer, ListTokenizer, Tokenizer
from runtime.text.words import KINDS as LISTED
from runtime.text.words import SPACING, pieces_of

if TYPE_CHECKING:
    from compiler.types import Array
_INT64 = np.dtype(np.int64)


def coded(text: LongText, tokenizer: Tokenizer) -> TokenRow:
    """The tokens of a text, without those around it, in the smallest type that holds them."""
    tokens = TokenRow(smallest_type(tokenizer), text.path)
    for numbers in _numbers(text, tokenizer):
        tokens.append(np.asarray(numbers, tokens.dtype))
    return tokens


def _numbers(text: LongText, tokenizer: Tokenizer) -> Iterator[Array | list[int]]:
    if isinstance(tokenizer, ListTokenizer):
        if tokenizer.kind == "characters":
            table = _table_of(tokenizer)
            return (table[code_points(part)] for part in text.parts())
        return (tokenizer.numbers_of(parts) for parts in pieces_of(text.parts(), tokenizer.kind))
    if isinstance(tokenizer, LibraryTokenizer) and tokenizer.divides_at_spaces:
        return map(tokenizer.encode, divided(text.parts()))
    return iter([tokenizer.encode("".join(text.parts()))])


def code_points(text: str) -> Array:
    """The characters of a text as numbers."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _table_of(tokenizer: ListTokenizer) -> Array:
    """The tokens of all characters, by code point."""
    table = np.full(0x110000, tokenizer.unknown, np.int32)
    for character, number in tokenizer.numbers.items():
        if len(character) == 1:
            table[ord(character)] = number
    return table


def divided(parts: Iterable[str]) -> Iterator[str]:
    """The same text in parts that begin with a single space between two other characters, but for the first."""
    rest: list[str] = []
    for part in parts:
        at = part.rfind(" ", 1, len(part) - 1)
        while at > 0 and (part[at - 1].isspace() or part[at + 1].isspace()):
            at = part.rfind(" ", 1, at)
        if at > 0:
            yield "".join([*rest, part[:at]])
            rest = []
        rest.append(part[max(at, 0) :])
    yield "".join(rest)


@dataclass(frozen=True, eq=False)
class _Beginning:
    """The first characters of a text, in parts, to be read several times."""

    text: LongText
    count: int

    def __iter__(self) -> Iterator[str]:
        return divided(self.text.parts(self.count))


def learn_of_text(text: LongText, count: int, kind: str, most: int) -> Tokenizer:
    """A tokenizer of at most `most` tokens for the first `count` characters; NablacError for an unknown kind."""
    if kind in LISTED:
        return learn_list(pieces_of(text.parts(count), kind), kind, most)
    return learn(_Beginning(text, count), kind, most)


def distinct_characters(text: LongText, count: int) -> tuple[str, ...]:
    """The characters among the first `count` of a text, in order."""
    known = np.zeros(0x110000, bool)
    for part in text.parts(count):
        known[code_points(part)] = True
    return tuple(map(chr, np.flatnonzero(known).tolist()))


def coded_words(
    text: LongText, first: Callable[[int], int], most: int, special: tuple[str, ...]
) -> tuple[ListTokenizer, TokenRow]:
    """The tokenizer of the `most` frequent words among the first ones of a text, and the text's tokens.

    `first` says how many those are of a number of words. The text is cut into words once.
    """
    numbers: dict[str, int] = {}  # in the order of the words' first occurrences
    words = TokenRow(np.dtype(np.int32), text.path)
    for parts in pieces_of(text.parts(), "words"):
        words.append(np.array([numbers.setdefault(part, len(numbers)) for part in parts], np.int32))
    counts = np.zeros(len(numbers), np.int64)
    for block in words.blocks(first(len(words))):
        counts += np.bincount(block, minlength=len(numbers))
    known = list(numbers)
    ranked = np.argsort(-counts, kind="stable")[:most]
    tokenizer = ListTokenizer("words", tuple(known[number] for number in ranked.tolist() if counts[number]), special)
    # Marks of unusual spacing are skipped if they are not known.
    others = (-1 if part in SPACING else tokenizer.unknown for part in known)
    table = np.array([tokenizer.numbers.get(part, other) for part, other in zip(known, others, strict=True)], np.int32)
    tokens = TokenRow(smallest_type(tokenizer), text.path)
    for block in words.blocks(len(words)):
        coded_block = table[block]
        tokens.append(coded_block[coded_block >= 0])
    return tokenizer, tokens


@dataclass(frozen=True, eq=False)
class WindowRows(StoredRows):
    """Windows i64[windows, width] of a row of tokens, `stride` apart; `before` are the tokens that each begins with.

    `first` and `width` are counted with those in `before`.
    """

    tokens: TokenRow
    stride: int
    before: Array
    first: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic] = _INT64

    def read(self, rows: Array) -> Array:
        """Windows by index."""
        width = self.shape[1]
        before = self.before[self.first : self.first + width]
        skipped = max(0, self.first - len(self.before))
        windows = np.empty((len(rows), width), np.int64)
        windows[:, : len(before)] = before
        windows[:, len(before) :] = self.tokens.gather(rows * self.stride + skipped, width - len(before))
        return windows


def read_small(arrays: Mapping[str, Array | StoredRows]) -> dict[str, Array | StoredRows]:
    """Arrays in memory, if all of them are small."""
    size = sum(prod(rows.shape) * rows.dtype.itemsize for rows in arrays.values())
    return {name: rows[:] for name, rows in arrays.items()} if size <= most_in_memory() else dict(arrays)


def smallest_type(tokenizer: Tokenizer) -> np.dtype[np.generic]:
    """The smallest type of all tokens."""
    return np.min_scalar_type(max(tokenizer.size - 1, 0))
