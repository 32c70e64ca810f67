"""Learning the pieces of a unigram tokenizer and their probabilities by expectation-maximisation (Kudo 2018, 3.2).

All sums are in the order of the sorted words, so that the result is deterministic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array

LONGEST = 16  # letters of a piece
_WORD = 48  # letters of a word that are learnt from: the probabilities of longer ones would underflow
_SEEDS = 4  # initial pieces for each piece of the result
_KEPT = 0.75  # the fraction of pieces that are kept in a round


def learn_pieces(words: Mapping[str, int], most: int) -> list[tuple[str, float]]:
    """At most `most` pieces with the logarithms of their probabilities; all letters are among them if they fit."""
    counted: Counter[str] = Counter()
    for word, count in words.items():
        for begin in range(0, len(word), _WORD):
            counted[word[begin : begin + _WORD]] += count
    listed = sorted(counted)
    counts = np.array([counted[word] for word in listed], np.float64)
    letters, pieces = _seeds(listed, counted, most)
    shares = _normalize(np.array([pieces[piece] for piece in pieces], np.float64))
    names = list(pieces)
    while True:
        lattice = _Lattice.of(listed, names)
        for _ in range(2):
            shares = _normalize(np.maximum(lattice.expected(shares, counts), 1e-12))
        if len(names) <= most:
            break
        kept = _select(names, shares, letters, most)
        names, shares = [names[number] for number in kept], _normalize(shares[kept])
    order = sorted(range(len(names)), key=lambda number: (-round(float(np.log(shares[number])), 6), names[number]))
    return [(names[number], round(float(np.log(shares[number])), 6)) for number in order]


def _seeds(words: list[str], counts: Mapping[str, int], most: int) -> tuple[set[str], dict[str, float]]:
    """The most frequent letters, and the initial pieces: these letters and the runs that cover most of the words."""
    singles: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for word in words:
        for begin in range(len(word)):
            singles[word[begin]] += counts[word]
            for end in range(begin + 2, min(begin + LONGEST, len(word)) + 1):
                runs[word[begin:end]] += counts[word]
    letters = sorted(singles, key=lambda letter: (-singles[letter], letter))[: max(1, most)]
    often = [run for run, count in runs.items() if count > 1]
    often.sort(key=lambda run: (-runs[run] * len(run), run))
    chosen = [*letters, *often[: _SEEDS * max(1, most)]]
    return set(letters), {piece: float(singles[piece] if len(piece) == 1 else runs[piece]) for piece in chosen}


def _select(names: list[str], shares: Array, letters: set[str], most: int) -> list[int]:
    """The indices of the letters, and of the other pieces whose removal would reduce the likelihood most."""
    lattice = _Lattice.of(names, names)
    whole = np.array([len(name) for name in names])[lattice.word] == lattice.end - lattice.begin
    others = lattice.best(np.log(shares), ~whole)  # of the best segmentation of each piece into others
    losses = shares * (np.log(shares) - others)
    room = max(most, int(len(names) * _KEPT)) - len(letters)
    ranked = sorted(
        (number for number, name in enumerate(names) if name not in letters),
        key=lambda number: (-losses[number], names[number]),
    )
    single = [number for number, name in enumerate(names) if name in letters]
    return sorted([*single, *ranked[: max(0, room)]])


@dataclass(frozen=True)
class _Lattice:
    """The segmentation lattice: an edge for every occurrence of a piece in a word, from its begin to its end."""

    word: Array
    begin: Array
    end: Array
    piece: Array
    lengths: Array

    @staticmethod
    def of(words: list[str], pieces: list[str]) -> _Lattice:
        numbers = {piece: number for number, piece in enumerate(pieces)}
        longest = max(map(len, pieces), default=1)
        edges = [
            (number, begin, end, numbers[word[begin:end]])
            for number, word in enumerate(words)
            for begin in range(len(word))
            for end in range(begin + 1, min(begin + longest, len(word)) + 1)
            if word[begin:end] in numbers
        ]
        word, begin, end, piece = np.array(edges, np.int64).reshape(-1, 4).T
        return _Lattice(word, begin, end, piece, np.array([len(word_of_lattice) for word_of_lattice in words]))

    def expected(self, shares: Array, counts: Array) -> Array:
        """The expected count of each piece in all words, by the forward-backward algorithm."""
        count, width = len(self.lengths), int(self.lengths.max(initial=0)) + 1
        before, after = np.zeros((width, count)), np.zeros((width, count))
        before[0] = 1.0
        after[self.lengths, np.arange(count)] = 1.0
        likely = shares[self.piece]
        for index in range(1, width):
            here = np.flatnonzero(self.end == index)
            paths = before[self.begin[here], self.word[here]] * likely[here]
            before[index] = np.bincount(self.word[here], paths, count)
        for index in range(width - 2, -1, -1):
            here = np.flatnonzero(self.begin == index)
            paths = after[self.end[here], self.word[here]] * likely[here]
            after[index] += np.bincount(self.word[here], paths, count)
        total = np.maximum(after[0], np.finfo(np.float64).tiny)[self.word]
        paths = before[self.begin, self.word] * likely * after[self.end, self.word] / total
        return np.bincount(self.piece, paths * counts[self.word], len(shares))

    def best(self, scores: Array, allowed: Array) -> Array:
        """The highest score of each word's paths through the allowed edges."""
        count, width = len(self.lengths), int(self.lengths.max(initial=0)) + 1
        reached = np.full((width, count), -1e9)
        reached[0] = 0.0
        for index in range(1, width):
            here = np.flatnonzero((self.end == index) & allowed)
            totals = reached[self.begin[here], self.word[here]] + scores[self.piece[here]]
            np.maximum.at(reached[index], self.word[here], totals)
        return reached[self.lengths, np.arange(count)]


def _normalize(counts: Array) -> Array:
    return np.asarray(counts / counts.sum())
