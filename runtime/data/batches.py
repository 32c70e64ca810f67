"""Batches of examples in an order that the seed and the epoch decide alone, made ahead of the step that takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.data.examples import Examples

if TYPE_CHECKING:
    from compiler.types import Array

_AHEAD = 4  # batches made before they are asked for
_POOL = 20  # batches whose rows are sorted by length together


class Batches:
    """One part of the examples, cut into batches; the last one of an epoch may be smaller."""

    def __init__(self, examples: Examples, part: str, size: int, *, shuffle: bool = False, seed: int = 0) -> None:
        self.examples, self.places = examples, examples.parts[part]
        self.size, self.shuffle, self.seed = size, shuffle, seed
        self.augmented = part == "training" and bool(examples.augmentations)

    def __len__(self) -> int:
        return -(-len(self.places) // self.size)

    def epoch(self, number: int, first: int = 0) -> Iterator[dict[str, Array]]:
        """The batches of an epoch from the `first` on, made by a thread of their own."""
        places = self.places
        if self.shuffle:
            places = self._shuffled(np.random.default_rng([self.seed, number]))
        made: queue.Queue[Any] = queue.Queue(_AHEAD)
        stopped = threading.Event()

        def offer(item: Any) -> None:
            while not stopped.is_set():
                try:
                    made.put(item, timeout=0.1)
                    return
                except queue.Full:
                    continue

        def work() -> None:
            try:
                for place in range(first, len(self)):
                    if stopped.is_set():
                        return
                    offer(self._batch(places[place * self.size : (place + 1) * self.size], number, place))
                offer(None)
            except BaseException as error:  # raised where the batch is asked for
                offer(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while (item := made.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            thread.join()

    def _shuffled(self, generator: np.random.Generator) -> Array:
        """Another order in every epoch; of padded rows, those of one length mostly share a batch."""
        places = generator.permutation(self.places)
        if not self.examples.padded:
            return places
        padding = self.examples.padding
        rows = [array[places] for array in self.examples.arrays.values() if array.ndim == 2]
        lengths = sum((array != padding).sum(axis=1) for array in rows)
        pool = self.size * _POOL
        order = [
            start + np.argsort(lengths[start : start + pool], kind="stable") for start in range(0, len(places), pool)
        ]
        places = places[np.concatenate(order)]
        whole = len(places) // self.size * self.size  # the smaller batch stays the last
        batches = places[:whole].reshape(-1, self.size)
        return np.concatenate([batches[generator.permutation(len(batches))].reshape(-1), places[whole:]])

    def _batch(self, places: Array, epoch: int, number: int) -> dict[str, Array]:
        batch = {name: array[places] for name, array in self.examples.arrays.items()}
        if self.examples.padded:
            from runtime.data.tokens import trimmed

            batch = trimmed(batch, self.examples.padding)
        if self.augmented:
            from runtime.data.augmentation import augmented

            generator = np.random.default_rng([self.seed, epoch, number])
            batch = augmented(batch, self.examples, generator)
        return batch
