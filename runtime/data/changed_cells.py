"""The cells of a table whose rows are taken, or lined up with others: changed when a column is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence


class ChangedCells(Mapping[str, Sequence[str]]):
    """The cells of another table by column after `change`, which takes a column's name and its cells, if it has any."""

    def __init__(
        self, cells: Mapping[str, Sequence[str]], change: Callable[[str, Sequence[str]], Sequence[str]]
    ) -> None:
        self._cells, self._change = cells, change
        self._known: dict[str, Sequence[str]] = {}

    def __getitem__(self, name: str) -> Sequence[str]:
        if name not in self._known:
            cells = self._cells[name]
            self._known[name] = self._change(name, cells) if cells else []
        return self._known[name]

    def __contains__(self, name: object) -> bool:  # that of Mapping would change the cells
        return name in self._cells

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)
