"""The steps of a recurrence in NumPy, on columns: of a matrix [gates * hidden, batch] each gate is contiguous."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.operators.divided_products import matmul

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Steps:
    """One direction of a recurrence over x [time, batch, features]: iterating takes a step after the other.

    In a step `inputs` [features, batch] holds its part of x, and `state` [hidden, batch] that of the step before, which
    the step overwrites. Where there are `outputs` [time, batch, hidden], the state is copied there after each step.
    """

    def __init__(self, x: Array, state: Array, outputs: Array | None, backward: bool) -> None:
        self._x, self._outputs, self._backward = x, outputs, backward
        time, batch, features = x.shape
        hidden = state.shape[1]
        # Inputs, ones and state lie one below the other, so that W x + b + R h is one product of packed weights. To
        # pack them takes as long as a product with about so many columns.
        self._column = np.empty((features + 1 + hidden, batch), x.dtype)
        self._packs = time * batch >= len(self._column)
        self.inputs, self.state = self._column[:features], self._column[features + 1 :]
        self._column[features] = 1
        self.state[...] = state.T

    def product(
        self, b: Array, signs: Array, w: Array | None = None, r: Array | None = None
    ) -> Callable[[Array], object]:
        """A function that writes `signs * (W x + b + R h)` of the present step to an array [rows, batch].

        `b` and `signs` are [rows, 1]; W or R may be absent.
        """
        if not self._packs:
            return partial(self._write_product, b, signs, w, r)
        first = 0 if w is not None else len(self.inputs)
        end = len(self._column) if r is not None else len(self.inputs) + 1
        packed = np.concatenate([part for part in (w, b, r) if part is not None], axis=1)
        packed *= signs
        return partial(matmul, packed, self._column[first:end])

    def _write_product(self, b: Array, signs: Array, w: Array | None, r: Array | None, out: Array) -> None:
        out[...] = b
        if w is not None:
            out += matmul(w, self.inputs)
        if r is not None:
            out += matmul(r, self.state)
        out *= signs

    def __iter__(self) -> Iterator[None]:
        times = range(len(self._x))
        for time in reversed(times) if self._backward else times:
            self.inputs[...] = self._x[time].T
            yield
            if self._outputs is not None:
                self._outputs[time] = self.state.T


def column(vector: Array) -> Array:
    """A vector [rows] as [rows, 1]."""
    return vector[:, None]
