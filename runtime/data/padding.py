"""Rows of tokens that end in padding: how wide a batch of them is, and which of them may share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(frozen=True)
class Padding:
    """`axes` name the dim of the tokens of each array of rows; those of one dim are equally wide.

    A batch is as wide as its longest row, and at the `least` what the model takes. Along the dims in `apart` only rows
    of one length share a batch: the model reads padding as if it were text, and would answer by its neighbours.
    """

    axes: Mapping[str, str]
    least: Mapping[str, int] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()

    @staticmethod
    def of_arrays(arrays: Mapping[str, Array]) -> Padding:
        """Of arrays of which no model says more: each as wide as its own rows."""
        return Padding({name: name for name, array in arrays.items() if array.ndim == 2 and array.dtype.kind == "i"})

    def lengths(self, arrays: Mapping[str, Array], padding: int) -> dict[str, Array]:
        """By dim how many tokens each row has before its padding, one at the least."""
        lengths: dict[str, Array] = {}
        for name, dim in self.axes.items():
            used = arrays[name] != padding
            length = np.where(used.any(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1), 1)
            lengths[dim] = np.maximum(length, lengths[dim]) if dim in lengths else length
        return lengths

    def trim(self, batch: Mapping[str, Array], padding: int) -> dict[str, Array]:
        """A batch without the columns that are padding in every row."""
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
    """Padded rows with more padding, up to `width`."""
    return np.pad(array, ((0, 0), (0, max(0, width - array.shape[1]))), constant_values=padding)
