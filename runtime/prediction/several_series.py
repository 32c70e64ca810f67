"""Forecasts of several series in one table, which the stage `by` told apart in training: one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from grammar.diagnostics import NablacError
from runtime.data.by_series import Key, SeriesSplit, name_of
from runtime.data.table_blocks import Block
from runtime.prediction.series import Forecast, Forecasting, Past
from runtime.prediction.table_rows import Columns, len_of


@dataclass(frozen=True, eq=False)
class _One:
    """One of the series: its columns that are the same in every row, and its results."""

    key: Mapping[str, Any]
    results: Forecast | Past


def predict_series(
    blocks: Iterator[Block], by: tuple[str, ...], of: Forecasting, kind: Callable[[Forecasting, str], Forecast | Past]
) -> Iterator[Columns]:
    """The results of every series of a table; of several with the cells that tell it from the others in front.

    A series that cannot be forecast is an error, or is left out with `--skip-broken`.
    """
    if not by:
        alone = kind(of, "")
        for block in blocks:
            yield from alone.add(block)
        yield from alone.end()
        return
    split = SeriesSplit(by)
    known: dict[Key, _One] = {}
    place = ""
    for block in blocks:
        place = block.rows.path
        for key, indices, numbers in split.parts(block.rows, of.findings):
            rows = indices.tolist()
            if key not in known:
                known[key] = _One({name: block.values[name][rows[0]] for name in by}, kind(of, name_of(key)))
            part = replace(block.rows.take(indices), numbers=numbers)
            values = {name: [column[row] for row in rows] for name, column in block.values.items()}
            for columns in known[key].results.add(Block(part, values)):
                yield _with_key(known[key], columns)
    for one in known.values():
        try:
            for columns in one.results.end():
                yield _with_key(one, columns)
        except NablacError as error:
            of.findings.leave_out(error, place)


def _with_key(one: _One, columns: Columns) -> Columns:
    """Results with the columns that tell a series from the others in front."""
    count = len_of(columns)
    return {**{name: [value] * count for name, value in one.key.items()}, **_without(columns, one.key)}


def _without(columns: Columns, names: Mapping[str, Any]) -> Columns:
    return {name: column for name, column in columns.items() if name not in names}
