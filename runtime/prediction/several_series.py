"""Forecasts of several series in one table, which the stage `by` told apart in training: one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from grammar.diagnostics import NablacError
from runtime.data.by_series import Key, SeriesSplit, name_of
from runtime.data.row_insertion import Insertion, RowsToInsert, note_insertions
from runtime.data.table_blocks import Block
from runtime.prediction.inserted_blocks import with_inserted_rows
from runtime.prediction.series import Forecast, Forecasting, Past
from runtime.prediction.table_rows import Columns, len_of


@dataclass(frozen=True, eq=False)
class _One:
    """One of the series: its columns that are the same in every row, and its results."""

    key: Mapping[str, Any]
    results: Forecast | Past
    insertion: Insertion | None

    def add(self, block: Block) -> Iterator[Columns]:
        """The results that are there with more rows."""
        block = block if self.insertion is None else with_inserted_rows(block, self.insertion)
        yield from self.results.add(block) if block.rows.lines else ()

    @property
    def inserted(self) -> int:
        """How many rows were inserted."""
        return sum(self.insertion.counts.values()) if self.insertion is not None else 0


def predict_series(
    blocks: Iterator[Block], by: tuple[str, ...], of: Forecasting, kind: Callable[[Forecasting, str], Forecast | Past]
) -> Iterator[Columns]:
    """The results of every series of a table; of several with the cells that tell it from the others in front.

    A series that cannot be forecast is an error, or is left out with `--skip-broken`.
    """
    fitted = of.predictor.recipe.fitted
    request = RowsToInsert.of(fitted.stages, fitted.dates, fitted.date_steps)

    def one(key: Mapping[str, Any], name: str) -> _One:
        return _One(key, kind(of, name), Insertion(request, of.findings, by) if request is not None else None)

    place = ""
    if not by:
        alone = one({}, "")
        for block in blocks:
            place = block.rows.path
            yield from alone.add(block)
        if request is not None:
            note_insertions(request, {"": alone.inserted}, place, of.findings)
        yield from alone.results.end()
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
            for columns in known[key].add(Block(part, values)):
                yield _with_key(known[key], columns)
    if request is not None:
        counts = {name_of(key): series.inserted for key, series in known.items()}
        note_insertions(request, counts, place, of.findings)
    for series in known.values():
        try:
            for columns in series.results.end():
                yield _with_key(series, columns)
        except NablacError as error:
            of.findings.leave_out(error, place)


def _with_key(one: _One, columns: Columns) -> Columns:
    """Results with the columns that tell a series from the others in front."""
    count = len_of(columns)
    return {**{name: [value] * count for name, value in one.key.items()}, **_without(columns, one.key)}


def _without(columns: Columns, names: Mapping[str, Any]) -> Columns:
    return {name: column for name, column in columns.items() if name not in names}
