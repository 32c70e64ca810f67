"""Forecasts of several series in one table, which the stage `by` told apart in training: one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from grammar.diagnostics import NablacError
from runtime.data.by_series import Key, SeriesSplit, name_of
from runtime.data.row_insertion import RowsToInsert, note_insertions
from runtime.data.table_blocks import Block
from runtime.prediction.inserted_blocks import InsertedBlocks
from runtime.prediction.series import Forecast, Forecasting, Past
from runtime.prediction.table_rows import Columns, len_of


@dataclass(frozen=True, eq=False)
class _One:
    """One of the series: its columns that are the same in every row, and its results."""

    key: Mapping[str, Any]
    results: Forecast | Past
    inserted: InsertedBlocks | None

    def add(self, block: Block) -> Iterator[Columns]:
        """The results that are there with more rows."""
        yield from self._results(self.inserted.add(block) if self.inserted is not None else iter((block,)))

    def add_waiting(self) -> Iterator[Columns]:
        """The results that are there with the rows that have waited for others, when there are no others."""
        yield from self._results(self.inserted.end() if self.inserted is not None else iter(()))

    def _results(self, blocks: Iterator[Block]) -> Iterator[Columns]:
        for block in blocks:
            for columns in self.results.add(block) if block.rows.lines else ():
                yield _with_key(self.key, columns)

    def end(self) -> Iterator[Columns]:
        """The results that are there when all rows have been added."""
        for columns in self.results.end():
            yield _with_key(self.key, columns)


def predict_series(
    blocks: Iterator[Block], by: tuple[str, ...], of: Forecasting, kind: Callable[[Forecasting, str], Forecast | Past]
) -> Iterator[Columns]:
    """The results of every series of a table; of several with the cells that tell it from the others in front.

    A series that cannot be forecast is an error, or is left out with `--skip-broken`.
    """
    fitted = of.predictor.recipe.fitted
    request = RowsToInsert.of(fitted.stages, fitted.dates, fitted.date_steps)

    def one(key: Mapping[str, Any], name: str) -> _One:
        return _One(key, kind(of, name), InsertedBlocks(request, by, of.findings) if request is not None else None)

    def note(inserted: Mapping[str, InsertedBlocks | None]) -> None:
        if request is not None:
            counts = {name: blocks.count for name, blocks in inserted.items() if blocks is not None}
            note_insertions(request, counts, place, of.findings)

    place = ""
    if not by:
        alone = one({}, "")
        for block in blocks:
            place = block.rows.path
            yield from alone.add(block)
        yield from alone.add_waiting()
        note({"": alone.inserted})
        yield from alone.end()
        return
    split = SeriesSplit(by)
    known: dict[Key, _One] = {}
    for block in blocks:
        place = block.rows.path
        for key, indices, numbers in split.parts(block.rows, of.findings):
            rows = indices.tolist()
            if key not in known:
                known[key] = one({name: block.values[name][rows[0]] for name in by}, name_of(key))
            part = replace(block.rows.take(indices), numbers=numbers)
            values = {name: [column[row] for row in rows] for name, column in block.values.items()}
            yield from known[key].add(Block(part, values))
    for series in known.values():
        yield from series.add_waiting()
    note({name_of(key): series.inserted for key, series in known.items()})
    for series in known.values():
        try:
            yield from series.end()
        except NablacError as error:
            of.findings.leave_out(error, place)


def _with_key(key: Mapping[str, Any], columns: Columns) -> Columns:
    """Results with the columns that tell a series from the others in front."""
    count = len_of(columns)
    others = {name: column for name, column in columns.items() if name not in key}
    return {**{name: [value] * count for name, value in key.items()}, **others}
