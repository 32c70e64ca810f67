"""What is known of the rows that a forecast is of: those of the table without targets, and dates that go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.calendar_features import calendar_of, calendar_requests
from runtime.data.dates import are_dates, continued
from runtime.data.filling import fill_of, filled, flagged, gaps_of, requests
from runtime.data.table_blocks import Block
from runtime.prediction.beyond import dates_after
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from runtime.prediction.series_rows import LOOKED_AT, SeriesRows
from runtime.prediction.table_rows import dated_rows, numbers_of

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(eq=False)
class RowsAhead:
    """The rows after the last one of a series, as far as a model with known columns reads them."""

    predictor: Predictor
    series: SeriesRows
    findings: Findings
    blocks: list[Block] = field(default_factory=list)  # of the rows so far whose targets are missing

    @cached_property
    def known(self) -> tuple[str, ...]:
        """The columns that the model reads of the rows to predict."""
        fitted = self.predictor.recipe.fitted
        return tuple(dict.fromkeys(column for name in fitted.known for column in fitted.columns[name]))

    def past(self, block: Block) -> Iterator[Block]:
        """The rows that are past with those of one more block; the others wait until a row with targets follows."""
        if not self.known:
            yield block
            return
        count = len(block.rows.lines)
        first = block.rows.first_to_predict(self._telling(block), 0, count)
        if first:
            yield from self.blocks
            self.blocks = []
            yield _part(block, 0, first)
        if first < count:
            self.blocks.append(_part(block, first, count))

    def _telling(self, block: Block) -> list[str]:
        """The columns that are missing in rows to predict: targets, or else what the model reads of the past alone."""
        known, there = self.known, block.rows.cells
        targets = [name for name in sorted(self.series.targets) if name in there]
        return targets or [name for name in self.series.names if name in there and name not in known]

    def end(self) -> None:
        """Take over the rows to predict, when all rows have been read."""
        if self.blocks:
            self.series.place = self.blocks[0].rows.path
        for name in self.series.values:
            self.series.later[name] = [value for block in self.blocks for value in block.values[name]]
        for block in self.blocks:
            self._check_dates(block)
        self._check_dates_beside()

    def _check_dates_beside(self) -> None:
        """NablacError for rows to predict without a date, in a column of dates that goes on and that nothing reads."""
        series = self.series
        beside = [name for name in series.values if name not in {*series.names, *series.targets, *series.formats}]
        for name in beside:
            past, later = series.values[name][-LOOKED_AT:], series.later[name]
            if continued(past) is None or not are_dates(past):
                continue
            if not are_dates([*past, *later]):
                lines = [f"{block.rows.path}:{line}" for block in self.blocks for line in block.rows.lines]
                for place, cell in zip(lines, later, strict=True):
                    if not are_dates([past[-1], cell]):
                        what = f"`{str(cell)[:40]}` is not a date as the others are" if cell else "the cell is empty"
                        self.findings.report_broken(place, f"column `{name}`: {what}")
            return

    def _check_dates(self, block: Block) -> None:
        """NablacError for rows to predict without a date, or whose dates go back."""
        rows = dated_rows(block, self.predictor)
        read = rows.read_columns([request.names[0] for request in rows.calendars], self.findings, None)
        if self.series.order is not None:
            self.series.order.check(rows, read.kept)

    @cached_property
    def from_table(self) -> list[str]:
        """The columns that the model reads ahead and that no dates give; flags of missing cells among them."""
        fills = requests(self.predictor.recipe.fitted.stages)
        known = self.known
        return [
            name
            for name in self.series.names
            if (name in known or flagged(fills, name) in known) and not self._is_of_dates(name)
        ]

    def _is_of_dates(self, name: str) -> bool:
        fitted = self.predictor.recipe.fitted
        return calendar_of(calendar_requests(fitted.stages, fitted.dates), name) is not None

    def reach(self, count: int) -> int:
        """How many of the next `count` rows are known."""
        return min(count, self._in_table) if self.from_table else count

    @property
    def _in_table(self) -> int:
        return sum(len(block.rows.lines) for block in self.blocks)

    def rows(self, count: int, all_dates: bool) -> tuple[Array, Array]:
        """The next `count` rows [rows, columns] of what the model reads, with NaN for what is not known, and gaps.

        The columns of dates are those that the model reads ahead, or with `all_dates` all. NablacError where a row or
        a cell is not there.
        """
        names = self.series.names
        table = np.full((count, len(names)), np.nan)
        gaps = np.zeros(table.shape, bool)
        of_table = self.from_table
        of_dates = [name for name in names if (all_dates or name in self.known) and self._is_of_dates(name)]
        self._check_rows(of_table, count)
        there = self._read([*of_table, *of_dates], of_table, count)
        table[: len(there), [names.index(name) for name in (*of_table, *of_dates)]] = there
        if of_table:
            fitted, before = self.predictor.recipe.fitted, self.series.numbers[-1]
            fills = requests(fitted.stages)
            chosen = [names.index(name) for name in of_table]
            gaps[:, chosen] = gaps_of(table[:, chosen], of_table, fills)
            table[:, chosen] = filled(table[:, chosen], of_table, fills, fitted.fills, before[chosen])
        for name in of_dates:
            table[len(there) :, names.index(name)] = self._of_later_dates(name, len(there), count)
        return table, gaps

    def _read(self, names: Sequence[str], of_table: Sequence[str], count: int) -> Array:
        """Columns of the rows to predict that the table has, `count` at the most: [rows, columns]."""
        tables: list[Array] = [np.empty((0, len(names)))]
        number = self.series.rows[-1] + 1
        for block in self.blocks:
            part = _part(block, 0, min(count, len(block.rows.lines)))
            count -= len(part.rows.lines)
            if not part.rows.lines:
                break
            number = self._check_numbers(part, number)
            self._check_cells(part, of_table)
            read = numbers_of(part, list(names), self.predictor, self.findings)
            if len(read.kept) < len(part.rows.lines):
                left_out = next(row for row in range(len(part.rows.lines)) if row not in set(read.kept.tolist()))
                message = f"the row is broken, and the model reads {_listed(names)} of all rows that it predicts"
                place = f"{part.rows.path}:{part.rows.lines[left_out]}"
                raise NablacError(Diagnostic(codes.E884, message, place=place))
            tables.append(read.numbers)
        return np.concatenate(tables)

    def _check_rows(self, names: Sequence[str], count: int) -> None:
        """NablacError where the table has fewer rows to predict, or nothing at all in a column of these."""
        if not names or not count:
            return
        series, there = self.series, self._in_table
        targets = _listed(sorted(series.targets))
        if there < count:
            line = self.blocks[-1].rows.lines[-1] if there else series.lines[-1]
            one = "1 row" if count == 1 else f"{count} rows"
            are = "none follows" if not there else "1 follows" if there == 1 else f"{there} follow"
            message = f"the model reads {_listed(names)} of the {one} that it predicts, and {are}"
            of_name = f" of {series.what}" if series.name else ""
            message = f"{message} the last row{of_name} with {targets}"
            hint = f"add the rows to predict: with dates and {_listed(names)}, and {targets} empty"
            raise NablacError(Diagnostic(codes.E884, message, place=f"{series.place}:{line}", hint=hint))
        fills = requests(self.predictor.recipe.fitted.stages)
        for name in names:
            if flagged(fills, name) is None and not self._has_number(name, count):
                message = f"column `{name}`: no row to predict has a number, and the model reads {count} of them"
                block = self.blocks[0].rows
                hint = f"`{name}` is known ahead: fill in its cells in the rows without {targets}"
                place = f"{block.path}:{block.lines[0]}"
                raise NablacError(Diagnostic(codes.E884, message, place=place, hint=hint))

    def _has_number(self, name: str, count: int) -> bool:
        """Whether one of the next `count` rows has a number in a column; a column that is missing is reported later."""
        for block in self.blocks:
            rows = block.rows
            if name not in rows.cells:
                return True
            if any(not rows.lacks(name, row) for row in range(min(count, len(rows.lines)))):
                return True
            count -= len(rows.lines)
        return False

    def _check_numbers(self, block: Block, number: int) -> int:
        """The number of the row after a block, which begins with the one of `number`; NablacError over a gap."""
        for index, (actual, line) in enumerate(zip(block.rows.numbers, block.rows.lines, strict=True)):
            if actual != number + index:
                of_name = f" of {self.series.what}" if self.series.name else ""
                message = f"rows{of_name} before this line are left out, and the model reads all rows that it predicts"
                raise NablacError(Diagnostic(codes.E884, message, place=f"{block.rows.path}:{line}"))
        return number + len(block.rows.lines)

    def _check_cells(self, block: Block, names: Sequence[str]) -> None:
        """NablacError for a missing cell that nothing fills."""
        fills = requests(self.predictor.recipe.fitted.stages)
        for name in names:
            if flagged(fills, name) is not None or fill_of(fills, name) is not None or name not in block.rows.cells:
                continue
            for row, line in enumerate(block.rows.lines):
                if block.rows.lacks(name, row):
                    message = f"column `{name}`: the cell is empty, and the model reads it of the rows that it predicts"
                    hint = f"`{name}` is known ahead: fill in the cell, or train with `fill`"
                    raise NablacError(Diagnostic(codes.E884, message, place=f"{block.rows.path}:{line}", hint=hint))

    def _of_later_dates(self, name: str, done: int, count: int) -> Array:
        """A column of features of dates from row `done` to `count`; NablacError where dates do not go on."""
        if done >= count:
            return np.empty(0)
        fitted = self.predictor.recipe.fitted
        request = calendar_of(calendar_requests(fitted.stages, fitted.dates), name)
        assert request is not None
        after = dates_after(self.series, request.column) if request.column in self.series.values else None
        if after is None:
            of_name = f" of {self.series.what}" if self.series.name else ""
            message = f"the dates in `{request.column}`{of_name} do not go on by one step"
            message = f"{message}, and the model reads those of later rows"
            hint = "add the rows to predict with their dates" if self.known else None
            place = self.series.place if self.known else "--steps"
            raise NablacError(Diagnostic(codes.E882, message, place=place, hint=hint))
        return request.numbers(name, [str(after(step)) for step in range(done + 1, count + 1)])


def _part(block: Block, first: int, end: int) -> Block:
    """Some rows of a block."""
    if first == 0 and end == len(block.rows.lines):
        return block
    values = {name: column[first:end] for name, column in block.values.items()}
    return Block(block.rows.take(np.arange(first, end)), values)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
