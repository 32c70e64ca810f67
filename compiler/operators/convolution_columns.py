"""Convolutions in NumPy as matrix products: what the taps of a kernel read lies in columns, a column for each position.

Columns are written for a few examples at a time, so that they stay in cache; threads share these blocks. Where examples
have many positions, each has a product of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as every
from math import prod
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.operators.divided_products import matmul
from compiler.shared_work import do_parts

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

_BLOCK = 2**18  # elements of the columns of a block of examples
_FEW_POSITIONS = 64  # below these, one product for all examples is faster, with a transpose


@dataclass(frozen=True)
class Columns:
    """The items that each tap of a kernel reads at each position of a result with these spatial `sizes`.

    `groups` are those of the channels.
    """

    kernel: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int

    @property
    def windows(self) -> list[tuple[slice, ...]]:
        """What each tap reads, as slices of the spatial axes."""
        return [
            tuple(
                slice(index * dilation, index * dilation + (size - 1) * stride + 1, stride)
                for index, size, stride, dilation in zip(tap, self.sizes, self.strides, self.dilations, strict=True)
            )
            for tap in every(*map(range, self.kernel))
        ]

    def convolve(self, x: Array, w: Array) -> Array:
        """The convolution of x [examples, channels, ...] with w [filters, channels / groups, ...]."""
        filters = w.reshape(self.groups, len(w) // self.groups, -1)
        y = np.empty((len(x), len(w), *self.sizes), x.dtype)
        apart = self._are_apart(len(x))
        blocks = self._blocks(len(x), x.shape[1])

        def write(part: int) -> None:
            columns, result = self._columns(x[blocks[part]], apart), y[blocks[part]]
            if apart:
                matmul(filters, columns, out=result.reshape(*columns.shape[:2], filters.shape[1], -1))
            else:
                result[...] = self._by_example(matmul(filters, columns), len(result), 1)[:, :, 0]

        do_parts(write, len(blocks))
        return y

    def weight_gradient(self, x: Array, grad: Array) -> Array:
        """The gradient of `w` by x and the gradient of the result: [groups, filters / groups, its other elements]."""
        filters, rows = grad.shape[1] // self.groups, x.shape[1] // self.groups * prod(self.kernel)
        total = np.zeros((self.groups, filters, rows), x.dtype)
        for block in self._blocks(len(x), x.shape[1]):
            columns = self._columns(x[block], apart=False)
            total += matmul(grad[block].swapaxes(0, 1).reshape(self.groups, filters, -1), columns.swapaxes(1, 2))
        return total

    def convolve_transposed(self, x: Array, w: Array, full: Sequence[int]) -> Array:
        """The transpose of `convolve`, from x [examples, channels, ...] to the spatial sizes `full`.

        w is [channels, filters / groups, ...].
        """
        groups, channels, filters = self.groups, len(w) // self.groups, w.shape[1] * self.groups
        taps = w.reshape(groups, channels, -1).swapaxes(1, 2)
        y = np.zeros((len(x), filters, *full), x.dtype)
        apart = self._are_apart(len(x))
        blocks = self._blocks(len(x), filters)

        def write(part: int) -> None:
            some = x[blocks[part]]
            if apart:
                columns = matmul(taps, some.reshape(len(some), groups, channels, -1))
            else:
                columns = matmul(taps, some.swapaxes(0, 1).reshape(groups, channels, -1))
            columns = self._by_example(columns, len(some), prod(self.kernel), apart)
            for tap, window in enumerate(self.windows):
                y[(blocks[part], slice(None), *window)] += columns[:, :, tap]

        do_parts(write, len(blocks))
        return y

    def _are_apart(self, examples: int) -> bool:
        """Whether each example has columns of its own."""
        return examples == 1 or prod(self.sizes) >= _FEW_POSITIONS

    def _blocks(self, examples: int, channels: int) -> list[slice]:
        height = max(1, _BLOCK // max(1, channels * prod(self.kernel) * prod(self.sizes)))
        return [slice(start, start + height) for start in range(0, examples, height)]

    def _columns(self, x: Array, apart: bool) -> Array:
        """[examples, groups, rows, positions], or [groups, rows, examples * positions] if they are not apart."""
        examples, channels = x.shape[:2]
        windows = self.windows
        lead = (examples, channels) if apart else (channels,)
        shape = (*lead, len(windows), *(() if apart else (examples,)), *self.sizes)
        columns = np.empty(shape, x.dtype)
        by_example = columns if apart else np.moveaxis(columns, 2, 0)
        for tap, window in enumerate(windows):
            by_example[:, :, tap] = x[(slice(None), slice(None), *window)]
        return columns.reshape(*lead[:-1], self.groups, channels // self.groups * len(windows), -1)

    def _by_example(self, columns: Array, examples: int, taps: int, apart: bool = False) -> Array:
        """Products [..., groups, rows, positions] as [examples, channels, taps, *sizes]."""
        if apart:
            return columns.reshape(examples, -1, taps, *self.sizes)
        return np.moveaxis(columns.reshape(-1, taps, examples, *self.sizes), 2, 0)
