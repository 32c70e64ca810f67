"""Rows of tokens that end in padding: the width of their batches, and which rows may share a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples


@dataclass(frozen=True)
class Padding:
    """`axes` gives the dim of the tokens of each array; arrays of the same dim have the same width.

    A batch is as wide as its longest row, and at least as wide as the model needs (`least`). Along the dims in `apart`
    only rows of equal length share a batch: there the model reads padding as text, and its outputs would depend on it.
    `tokens` are the padding tokens of arrays, where they are not 0.
    """

    axes: Mapping[str, str]
    least: Mapping[str, int] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()
    tokens: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of_examples(examples: Examples) -> Padding:
        """The padding of examples without a model: each array has a dim of its own."""
        arrays = examples.arrays.items()
        return Padding.along(
            {name: name for name, array in arrays if array.ndim == 2 and array.dtype.kind == "i"}, {}, examples
        )

    @staticmethod
    def along(axes: Mapping[str, str], least: Mapping[str, int], examples: Examples) -> Padding:
        """The padding of those arrays in `axes` that hold tokens."""
        kept = {name: dim for name, dim in axes.items() if not examples.tokenizers or examples.tokenizer_of(name)}
        return Padding(kept, least, tokens={name: examples.padding_of(name) for name in kept})

    def lengths(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """For each dim the number of tokens in each row before its padding, at least one."""
        lengths: dict[str, Array] = {}
        for name, dim in self.axes.items():
            used = arrays[name] != self.tokens.get(name, 0)
            length = np.where(used.any(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1), 1)
            lengths[dim] = np.maximum(length, lengths[dim]) if dim in lengths else length
        return lengths

    def trim(self, batch: Mapping[str, Array], lengths: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Remove the columns of a batch that are padding in every row; `lengths` are those of its rows, and others."""
        lengths = self.lengths(batch) if lengths is None else lengths
        widths = {dim: max(int(length.max()), self.least.get(dim, 1)) for dim, length in lengths.items()}
        return {
            name: self.widened(name, array[:, : widths[self.axes[name]]], widths[self.axes[name]])
            if name in self.axes
            else array
            for name, array in batch.items()
        }

    def widened(self, name: str, array: Array, width: int) -> Array:
        """An array with more of its padding, up to `width`."""
        return widen(array, width, self.tokens.get(name, 0))


def widen(array: Array, width: int, padding: int) -> Array:
    """Add padding to rows, up to `width`."""
    return np.pad(array, ((0, 0), (0, max(0, width - array.shape[1]))), constant_values=padding)


def pad(rows: Sequence[Sequence[int]], padding: int) -> Array:
    """Rows of tokens as one array, padded at the end; there may be none."""
    array = np.full((len(rows), max(map(len, rows), default=0)), padding, np.int64)
    for number, row in enumerate(rows):
        array[number, : len(row)] = row
    return array
