"""Some positions of one axis of a graph: what `Operator.incremental` makes a part of a result of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from compiler.dims import Size
from compiler.graph import Value


class Window(Protocol):
    """Some positions of one axis of a graph, and what its values are there."""

    @property
    def start(self) -> Size:
        """The first position."""

    @property
    def size(self) -> Size:
        """How many there are."""

    def of(self, value: Value, axis: int) -> Value:
        """A value at these positions of an axis, counted from the front."""

    def whole(self, value: Value) -> Value:
        """A value at all positions."""

    def extended(self, more: int) -> Window:
        """With so many positions more behind these; below 0 fewer, as far as that undoes an extension."""

    def within(self, size: Size) -> bool:
        """Whether these positions lie within an axis of this size of the graph."""

    def carry(
        self, first: Value, result: Callable[[Value, Window], Value], following: Callable[[Value, Window], Value]
    ) -> Value | None:
        """The result that a state and the operands at these positions give, and the state of the window that follows.

        `first` is the state at position 0; None where nothing is carried from window to window.
        """

    def bound(self, size: Size) -> Size:
        """A size of the graph, all positions counted."""
