"""What a stage `window` asks for: its columns, and the rows of a window and of its target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compiler.elaborate.data import listed_names


@dataclass(frozen=True)
class WindowRequest:
    """Windows of `length` rows of `inputs`, and `horizon` rows of `targets` that begin `begin` rows after the first.

    `known` are columns whose values in the rows of the target are an input too. A window begins every `stride` rows.
    """

    inputs: list[str]
    targets: list[str]
    known: list[str]
    length: int
    horizon: int
    begin: int
    stride: int

    @staticmethod
    def of(arguments: Mapping[str, Any]) -> WindowRequest:
        """The request of a stage with these arguments."""
        inputs = listed_names(arguments["columns"])
        targets = listed_names(arguments["target"]) or inputs
        length, horizon, shift = arguments["length"], arguments["horizon"], arguments["shift"]
        known, stride = listed_names(arguments["known"]), arguments["stride"]
        return WindowRequest(inputs, targets, known, length, horizon, shift or length, stride)

    @property
    def names(self) -> list[str]:
        """All columns, each once: those of the table that is read."""
        return list(dict.fromkeys([*self.inputs, *self.targets, *self.known]))

    @property
    def rows(self) -> int:
        """How many rows a window and its target take together."""
        return max(self.length, self.begin + self.horizon)

    def indices(self, columns: Sequence[str]) -> list[int]:
        """The numbers of these columns in the table that is read."""
        names = self.names
        return [names.index(name) for name in columns]
