"""Rows of tokens that end in padding: how wide a batch of them is, and which of them may share one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from compiler.dims import Dim
from compiler.graph import Graph
from compiler.types import TensorType
from runtime.size_limits import limits

if TYPE_CHECKING:
    from compiler.types import Array

_MOST = 4096  # tokens that a model may need at least


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
        found: dict[str, Array] = {}
        for name, dim in self.axes.items():
            used = arrays[name] != padding
            length = np.where(used.any(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1), 1)
            found[dim] = np.maximum(length, found[dim]) if dim in found else length
        return found

    def trim(self, batch: Mapping[str, Array], padding: int) -> dict[str, Array]:
        """A batch without the columns that are padding in every row."""
        widths = {
            dim: max(int(each.max()), self.least.get(dim, 1)) for dim, each in self.lengths(batch, padding).items()
        }
        return {
            name: widened(array[:, : widths[self.axes[name]]], widths[self.axes[name]], padding)
            if name in self.axes
            else array
            for name, array in batch.items()
        }


def widened(array: Array, width: int, padding: int) -> Array:
    """Padded rows with more padding, up to `width`."""
    return np.pad(array, ((0, 0), (0, max(0, width - array.shape[1]))), constant_values=padding)


def token_axes(types: Mapping[str, TensorType]) -> Iterator[tuple[str, Dim]]:
    """The arrays that are rows of tokens of any length, and the dim of their length."""
    for name, type in types.items():
        if type.dtype.is_integer and type.rank == 2 and isinstance(type.shape[1], Dim):
            yield name, type.shape[1]


def least_widths(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, int]:
    """By dim the fewest tokens that a model takes, where that is more than one: a window of three needs three."""
    found: dict[str, int] = {}
    bounds = limits(graph)
    for _, dim in token_axes(types):
        if dim != Dim.named(str(dim)):
            continue
        width = next((n for n in range(1, _MOST) if all(bound.holds({str(dim): n}) for bound in bounds)), 1)
        if width > 1:
            found[str(dim)] = width
    return found
