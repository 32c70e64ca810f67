"""Tables on their way to examples: texts by column, read as numbers or as classes when a stage asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.source import Span
from runtime.data.context import Context
from runtime.data.scaling import Scale

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(frozen=True, eq=False)
class Table:
    """Columns as numbers [rows, columns], of the rows that were `kept`; a column of texts holds places in `classes`."""

    numbers: Array
    kept: Array
    classes: dict[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Rows:
    """A table: texts by column, and of each row the line of the file and its number among all rows.

    A row that was left out is missing from the numbers.
    """

    place: str
    cells: Mapping[str, list[str]]
    lines: list[int]
    numbers: list[int]
    scales: tuple[Scale, ...] = ()

    def table(self, names: list[str], context: Context, span: Span | None, texts: bool = False) -> Table:
        """Columns by their names; rows with a broken cell are an error, or left out.

        With `texts` a column in which nothing is a number is one of classes, which its numbers count in their order.
        """
        for name in names:
            if name not in self.cells:
                hint = did_you_mean(name, self.cells) or f"the columns are {', '.join(self.cells)}"
                raise NablacError(Diagnostic("E822", f"{self.place} has no column `{name}`", span, hint=hint))
        classes = self._classes(names, context) if texts else {}
        table = np.empty((len(self.lines), len(names)))
        kept = np.ones(len(self.lines), bool)
        for column, name in enumerate(names):
            known = {text: float(number) for number, text in enumerate(classes.get(name, ()))}
            for row, cell in enumerate(self.cells[name]):
                number = known.get(cell.strip()) if known else _number(cell)
                if number is not None:
                    table[row, column] = number
                elif kept[row]:
                    kept[row] = False
                    what = f"none of the classes {', '.join(known)}" if known else "no number"
                    shown = f"`{cell}` is {what}" if cell.strip() else "there is nothing"
                    context.broken(f"{self.place}:{self.lines[row]}", f"column `{name}`: {shown}")
        return Table(table[kept], np.flatnonzero(kept), classes)

    def _classes(self, names: list[str], context: Context) -> dict[str, tuple[str, ...]]:
        """The texts of columns of texts: those that the training part has shown, or all, in order."""
        known = context.fitted.classes if context.fitted is not None else {}
        found: dict[str, tuple[str, ...]] = {}
        for name in names:
            if name in known:
                found[name] = known[name]
                continue
            texts = {cell.strip() for cell in self.cells[name]} - {""}
            if texts and not any(_is_number(text) for text in texts):
                found[name] = tuple(sorted(texts))
        return found


def _number(cell: str) -> float | None:
    """A finite number, None for anything else."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _is_number(cell: str) -> bool:
    """Whether a cell is written as a number, if only as `nan`."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
