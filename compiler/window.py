"""A range of positions on one axis of a graph, for which `Operator.incremental` computes a part of a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from compiler.dims import Size
from compiler.graph import Value


class Window(Protocol):
    """A range of positions on one axis of a graph, and the values there."""

    @property
    def start(self) -> Size:
        """The first position."""

    @property
    def size(self) -> Size:
        """The number of positions."""

    def of(self, value: Value, axis: int) -> Value:
        """A value at these positions of an axis, counted from the front."""

    def whole(self, value: Value) -> Value:
        """A value at all positions."""

    def extended(self, more: int) -> Window:
        """A window with `more` further positions at its end; a negative number undoes an extension."""

    def within(self, size: Size) -> bool:
        """Whether these positions lie within an axis of this size."""

    def carry(
        self, first: Value, result: Callable[[Value, Window], Value], following: Callable[[Value, Window], Value]
    ) -> Value | None:
        """The result computed from a state and the operands at these positions; `following` gives the next state.

        `first` is the state at position 0. None where the window carries no state.
        """

    def bound(self, size: Size) -> Size:
        """A size of the graph with all positions counted."""
