"""Rows of tokens that end in padding: the width of their batches, and which rows may share a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.stored_rows import StoredRows


@dataclass(frozen=True)
class Padding:
    """`axes` gives the dim of the tokens of each array; arrays of the same dim have the same width.

    A batch is as wide as its longest row, and at least as wide as the model needs (`least`). Along the dims in `apart`
    only rows of equal length share a batch: there the model reads padding as text, and its outputs would depend on it.
    """

    axes: Mapping[str, str]
    least: Mapping[str, int] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()

    @staticmethod
    def of_arrays(arrays: Mapping[str, Array | StoredRows]) -> Padding:
        """The padding of arrays without a model: each has a dim of its own."""
        return Padding({name: name for name, array in arrays.items() if array.ndim == 2 and array.dtype.kind == "i"})

    def lengths(self, arrays: Mapping[str, Array], padding: int) -> dict[str, Array]:
        """For each dim the number of tokens in each row before its padding, at least one."""
        lengths: dict[str, Array] = {}
        for name, dim in self.axes.items():
            used = arrays[name] != padding
            length = np.where(used.any(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1), 1)
            lengths[dim] = np.maximum(length, lengths[dim]) if dim in lengths else length
        return lengths

    def trim(self, batch: Mapping[str, Array], padding: int) -> dict[str, Array]:
        """Remove the columns of a batch that are padding in every row."""
        widths = {
            dim: max(int(length.max()), self.least.get(dim, 1)) for dim, length in self.lengths(batch, padding).items()
        }
        return {
            name: widen(array[:, : widths[self.axes[name]]], widths[self.axes[name]], padding)
            if name in self.axes
            else array
            for name, array in batch.items()
        }


def widen(array: Array, width: int, padding: int) -> Array:
    """Add padding to rows, up to `width`."""
    return np.pad(array, ((0, 0), (0, max(0, width - array.shape[1]))), constant_values=padding)
