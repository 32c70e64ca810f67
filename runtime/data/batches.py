"""Batches of examples, prepared ahead of the steps, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.model_spec import FIRST, WHOLE
from runtime.data.examples import Examples
from runtime.data.padding import Padding
from runtime.data.stored_rows import blocks

if TYPE_CHECKING:
    from compiler.types import Array

_AHEAD = 4  # batches that are prefetched
_POOL = 20  # batches whose rows are sorted by length together


@dataclass(frozen=True, eq=False)
class _Consecutive(Sequence["Array"]):
    """Rows cut into batches when one is asked for: a list of millions of them would take more memory than the rows."""

    rows: Array
    size: int

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index * self.size : (index + 1) * self.size]


class Batches:
    """One part of the examples in batches, some of which may be smaller; `padding` is that of rows of tokens.

    With the `share` (worker, workers) it is the worker's part of each batch, which may be empty: consecutive examples,
    cut, padded and augmented as in the whole batch.
    """

    def __init__(
        self,
        examples: Examples,
        part: str,
        size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        padding: Padding | None = None,
        share: tuple[int, int] | None = None,
    ) -> None:
        self.examples, self.rows = examples, examples.parts[part]
        self.share = share
        self.size, self.shuffle, self.seed = size, shuffle, seed
        self.augmented = part == "training" and bool(examples.augmentations)
        self.padding = padding or Padding.of_examples(examples) if examples.padded else None
        self._known: dict[str, Array] | None = None  # the lengths of padded rows, by dim

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        if self.padding is None or not self.padding.apart:
            return -(-len(self.rows) // self.size)
        return len(self._cut(self.rows, self.padding))

    def epoch(self, number: int, first: int = 0) -> Iterator[dict[str, Array]]:
        """The batches of an epoch from index `first` on, prepared by a background thread."""
        batches = self._batches(np.random.default_rng([self.seed, number]))
        ready: queue.Queue[Any] = queue.Queue(_AHEAD)
        stopped = threading.Event()

        def offer(item: Any) -> None:
            while not stopped.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    return
                except queue.Full:
                    continue

        def work() -> None:
            try:
                for index in range(first, len(self)):
                    if stopped.is_set():
                        return
                    offer(self._batch(batches[index], number, index))
                offer(None)
            except BaseException as error:  # raised again by the consumer
                offer(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            thread.join()

    def _batches(self, generator: np.random.Generator) -> Sequence[Array]:
        """The rows of each batch, in a new order in every epoch if they are shuffled."""
        rows = generator.permutation(self.rows) if self.shuffle else self.rows
        if self.padding is None or not (self.shuffle or self.padding.apart):
            return _Consecutive(rows, self.size)
        if self.shuffle:
            rows = self._by_length(rows, self.padding)
        batches = self._cut(rows, self.padding)
        if not self.shuffle:
            return batches
        whole = len(batches) if self.padding.apart else len(rows) // self.size  # the smaller batch stays the last
        return [*(batches[index] for index in generator.permutation(whole)), *batches[whole:]]

    def _by_length(self, rows: Array, padding: Padding) -> Array:
        """Rows sorted by length within pools, so that neighbours have similar lengths."""
        lengths = np.sum([*self._lengths(rows, padding).values(), np.zeros(len(rows), np.int64)], axis=0)
        pool = self.size * _POOL
        order = [
            start + np.argsort(lengths[start : start + pool], kind="stable") for start in range(0, len(rows), pool)
        ]
        by_length: Array = rows[np.concatenate(order)]
        return by_length

    def _cut(self, rows: Array, padding: Padding) -> list[Array]:
        """Consecutive rows as batches; rows whose lengths must not be mixed are grouped by length first."""
        groups: dict[tuple[int, ...], list[int]] = {}
        lengths = self._lengths(rows, padding)
        apart = [lengths[dim] for dim in sorted(padding.apart)]
        for index, row in enumerate(rows.tolist()):
            groups.setdefault(tuple(int(length[index]) for length in apart), []).append(row)
        return [
            np.array(group[start : start + self.size])
            for group in groups.values()
            for start in range(0, len(group), self.size)
        ]

    def _lengths(self, rows: Array, padding: Padding) -> dict[str, Array]:
        """The number of tokens of rows of the part along each dim, before their padding."""
        if self._known is None:
            self._known = self._lengths_of_all(padding)
        return {dim: lengths[rows] for dim, lengths in self._known.items()}

    def _lengths_of_all(self, padding: Padding) -> dict[str, Array]:
        """The lengths of all examples, measured for those of the part."""
        known: dict[str, Array] = {}
        for name, dim in padding.axes.items():
            known.setdefault(dim, np.zeros(len(self.examples), np.int64))
            one = Padding({name: dim}, tokens=padding.tokens)
            for rows, block in blocks(self.examples.arrays[name], self.rows):
                lengths = one.lengths({name: block})[dim]
                known[dim][rows] = np.maximum(known[dim][rows], lengths)
        return known

    def _batch(self, rows: Array, epoch: int, number: int) -> dict[str, Array]:
        if self.share is None:
            return self._part_of_batch(rows, 0, len(rows), epoch, number)
        worker, workers = self.share
        first, end = (len(rows) * index // workers for index in (worker, worker + 1))
        if self.augmented and self.examples.augmentations.get("mixup"):  # which mixes examples of other workers
            whole = self._part_of_batch(rows, 0, len(rows), epoch, number)
            batch = {name: array[first:end] for name, array in whole.items()}
        else:
            batch = self._part_of_batch(rows, first, end, epoch, number)
        return {**batch, FIRST: np.array(first, np.int64), WHOLE: np.array(len(rows), np.int64)}

    def _part_of_batch(self, rows: Array, first: int, end: int, epoch: int, number: int) -> dict[str, Array]:
        """The rows from `first` to `end` of a batch, as wide as its longest row, and with the draws that it has."""
        batch = {name: array[rows[first:end]] for name, array in self.examples.arrays.items()}
        is_part = end - first < len(rows)
        if self.padding is not None:
            batch = self.padding.trim(batch, self._lengths(rows, self.padding) if is_part else None)
        if self.augmented and end > first:
            from runtime.data.augmentation import RowDraws, augment

            generator = np.random.default_rng([self.seed, epoch, number])
            draws = RowDraws(generator, first, end, len(rows)) if is_part else generator
            batch = augment(batch, self.examples, draws)
        return batch
