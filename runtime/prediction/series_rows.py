"""The last rows of a series as a forecast reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.date_order import DateOrder
from runtime.data.date_steps import SeriesStep, is_wrong_date, missing_rows
from runtime.data.dates import Continued, are_dates, continued
from runtime.data.filling import filled, gaps_of, requests
from runtime.data.table_blocks import Block
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from runtime.prediction.table_rows import input_columns, numbers_of

if TYPE_CHECKING:
    from compiler.types import Array

LOOKED_AT = 64  # rows from whose dates their step is read, where a window has fewer


@dataclass
class SeriesRows:
    """The last rows of a series: numbers [rows, columns], where each stands, and every column as it stands.

    The numbers are filled; `gaps` are those that windows interpolate. `later` are the columns of the rows to predict,
    of which the table has some.
    """

    names: list[str]  # that the model reads
    targets: set[str]  # that it predicts
    numbers: Array
    gaps: Array
    rows: list[int] = field(default_factory=list)  # the number of each among all rows of the table
    lines: list[int] = field(default_factory=list)
    values: dict[str, list[Any]] = field(default_factory=dict)
    place: str = ""
    name: str = ""  # where a table has several
    later: dict[str, list[Any]] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)  # of the dates in columns that training read
    order: DateOrder | None = None  # in which their dates go forward
    moments: Array | None = None  # the dates of the rows, of the dtype DATES, where training read some
    step: SeriesStep = field(default_factory=SeriesStep)  # of these dates, from the first row of the series on

    @property
    def what(self) -> str:
        """The series in messages."""
        return f"the series `{self.name}`" if self.name else "the series"

    @property
    def missing(self) -> Array:
        """How many rows are missing before each row, by the dates."""
        if self.moments is None:
            return np.zeros(len(self.rows), np.int64)
        return missing_rows(self.moments, self.step.step)

    @property
    def has_step(self) -> bool:
        """Whether what is missing by the dates is known of all rows so far, whatever comes later."""
        return self.moments is None or self.step.is_decided

    @staticmethod
    def of(predictor: Predictor, findings: Findings, name: str = "") -> SeriesRows:
        """A series without rows, as a model reads it."""
        names = input_columns(predictor)
        targets = {column for columns in predictor.recipe.fitted.targets.values() for column in columns}
        none, formats = np.empty((0, len(names))), predictor.recipe.fitted.dates
        order = DateOrder(findings, several=bool(name))
        return SeriesRows(names, targets, none, none.astype(bool), name=name, formats=formats, order=order)

    def add(self, block: Block, predictor: Predictor, findings: Findings) -> None:
        """Add rows; what the model reads of them is filled as in training."""
        table = numbers_of(block, self.names, predictor, findings, self.order)
        fitted = predictor.recipe.fitted
        fills = requests(fitted.stages)
        before = self.numbers[-1] if len(self.numbers) else None
        self.place = block.rows.path
        self.numbers = np.concatenate([self.numbers, filled(table.numbers, self.names, fills, fitted.fills, before)])
        self.gaps = np.concatenate([self.gaps, gaps_of(table.numbers, self.names, fills)])
        kept = table.kept.tolist()
        moments = self.order.take() if self.order is not None else None
        if moments is not None:
            self.step.look(moments)
            self.moments = moments if self.moments is None else np.concatenate([self.moments, moments])
        self.rows += [block.rows.numbers[row] for row in kept]
        self.lines += [block.rows.lines[row] for row in kept]
        for name, values in block.values.items():
            self.values.setdefault(name, []).extend(values[row] for row in kept)

    def drop(self, count: int) -> None:
        """Forget the first rows."""
        if count > 0:
            self.numbers, self.gaps = self.numbers[count:], self.gaps[count:]
            del self.rows[:count], self.lines[:count]
            self.moments = self.moments[count:] if self.moments is not None else None
            for values in self.values.values():
                del values[:count]

    def last(self, name: str) -> list[Any]:
        """The last cells of a column, with those of the rows to predict that the table has."""
        return [*self.values[name], *self.later.get(name, ())][-LOOKED_AT:]

    def continued(self, name: str) -> Continued | None:
        """How the last cells of a column go on; dates as training read them."""
        return continued(self.last(name), self.formats.get(name, ""))

    def has_dates(self, name: str) -> bool:
        """Whether the last cells of a column are dates or times, as training read them or in any other form."""
        return are_dates(self.last(name), self.formats.get(name, ""))

    def check_length(self, length: int) -> None:
        """NablacError where the last `length` rows are not there, or have a gap."""
        row_count = len(self.rows)
        if row_count < length:
            counted = f"{row_count} row{'' if row_count == 1 else 's'}"
            message = f"{self.what} has {counted}, and the model reads the last {length}"
            raise NablacError(Diagnostic(codes.E883, message, place=self.place))
        last, absent = self.rows[-length:], self.missing[-length:]
        gaps = [index for index in range(1, length) if last[index] - last[index - 1] > 1 or absent[index]]
        if gaps:
            line = self.lines[-length:][gaps[-1] - 1]
            of_name = f" of {self.what}" if self.name else ""
            by_dates = int(absent[gaps[-1]])
            are = "missing, by their dates" if by_dates else "left out"
            hint = self._hint_of_gap(gaps[-1] - length, by_dates) if by_dates else None
            message = f"rows{of_name} after line {line} are {are}, and the model reads the last {length} without a gap"
            raise NablacError(Diagnostic(codes.E883, message, place=self.place, hint=hint))

    def _hint_of_gap(self, index: int, missing: int) -> str:
        """What to do about a gap in the dates before a row; which `fill` refuses where it is longer than the series."""
        column = next(iter(self.formats), "")
        if not is_wrong_date(missing, self.rows[-1] + 1):
            return f'a model trained with `fill("forward", rows: "{column}")` inserts them'
        before, after = (f"`{self.values[column][at]}`" for at in (index - 1, index))
        return f"correct the date: from {before} to {after} {missing:,} rows are missing, more than the series has"
