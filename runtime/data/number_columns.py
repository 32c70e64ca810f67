"""Columns of a table that its file has as numbers, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.types import Array


class NumberColumns(Mapping[str, "Array"]):
    """Columns [rows] in f64 by name, with NaN for what is missing.

    `read` decodes columns of these names as one array [rows, names], in which each column lies together.
    """

    def __init__(self, names: Sequence[str] = (), read: Callable[[Sequence[str]], Array] | None = None) -> None:
        self.names, self._read = tuple(names), read
        self._columns: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._columns:
            self._columns[name] = self.table([name])[:, 0]
        return self._columns[name]

    def __contains__(self, name: object) -> bool:  # that of Mapping would decode the column
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def table(self, names: Sequence[str]) -> Array:
        """These columns beside each other [rows, names], which nothing else holds."""
        assert self._read is not None
        return self._read(names)

    def take(self, index: Array) -> NumberColumns:
        """The columns in the rows at these indices."""
        return NumberColumns(self.names, lambda names: self.table(names)[index])
