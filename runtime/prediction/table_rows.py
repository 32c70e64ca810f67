"""Predictions for each row of a table: a model of `columns(...)`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from runtime.data.by_series import SeriesOfBlocks
from runtime.data.calendar_features import calendar_requests
from runtime.data.categories import category_requests
from runtime.data.date_order import DateOrder
from runtime.data.examples import Examples
from runtime.data.filling import filled, requests
from runtime.data.lags import EarlierRows, Lag, lag_requests
from runtime.data.rows import Rows, Table
from runtime.data.table_blocks import Block
from runtime.prediction.answers import Answers
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from runtime.prediction.text_feeds import TextFeeds

if TYPE_CHECKING:
    from compiler.types import Array

Columns = dict[str, Any]  # of results: lists of values, or arrays, of one length
Keep = Literal["other", "all", "none"]  # columns of a table beside the predictions; `other` than those that are read


def kept_names(keep: Keep, columns: Iterable[str], read: Container[str]) -> list[str]:
    """The columns to keep of those that are there, of which the model has `read` some."""
    return [name for name in columns if keep == "all" or (keep == "other" and name not in read)]


def input_columns(predictor: Predictor) -> list[str]:
    """The columns of a table that a model reads, each once."""
    columns = predictor.recipe.fitted.columns
    return list(dict.fromkeys(column for name in predictor.types for column in columns.get(name, ())))


def numbers_of(
    block: Block, names: list[str], predictor: Predictor, findings: Findings, order: DateOrder | None = None
) -> Table:
    """Columns of a block as numbers, classes by those of the training; rows that are broken are left out.

    Missing cells are NaN where the training filled them. `order` looks at the dates of the rows.
    """
    fitted = predictor.recipe.fitted
    classes = {name: texts for name, texts in predictor.recipe.fitted.classes.items() if name in names}
    rows = replace(
        block.rows,
        fills=requests(fitted.stages),
        calendars=calendar_requests(fitted.stages, fitted.dates),
        lags=lag_requests(fitted.stages),
        categories=category_requests(fitted.stages),
        unseen=findings.unseen,
    )
    table = rows.read_columns(names, findings, None, classes, closed=True, inputs=names)
    if order is not None:
        order.check(dated_rows(block, predictor), table.kept)
    return table


def dated_rows(block: Block, predictor: Predictor) -> Rows:
    """The rows of a block with the dates that training read, as far as the table has them."""
    fitted = predictor.recipe.fitted
    calendars = calendar_requests(fitted.stages, fitted.dates)
    return replace(block.rows, calendars=tuple(request for request in calendars if request.column in block.rows.cells))


def examples_at(block: Block, kept: Array, table: Table) -> Examples:
    """What messages about examples need to know of the rows that they are."""
    lines = np.array(block.rows.lines)[kept]
    return Examples({}, classes=table.classes, path=block.rows.path, lines=lines)


def predict_rows(
    predictor: Predictor, blocks: Iterator[Block], answers: Answers, keep: Keep, findings: Findings
) -> Iterator[Columns]:
    """Results a block at a time: the columns that are kept, and what the model says."""
    read = input_columns(predictor)
    fitted = predictor.recipe.fitted
    texts = TextFeeds.of(fitted, predictor.types)
    names = [name for name in read if name not in texts.columns.values()]
    fills, lags = requests(fitted.stages), lag_requests(fitted.stages)
    order = DateOrder(findings) if lags else None
    for block in _with_earlier_rows(blocks, lags, predictor.recipe.series_columns, findings) if lags else blocks:
        table = numbers_of(block, names, predictor, findings, order)
        rows, table = texts.with_texts(block.rows, table, fitted, findings) if texts.columns else (block.rows, table)
        if not len(table.kept):
            continue
        examples = examples_at(block, table.kept, table)
        numbers = filled(table.numbers, names, fills, fitted.fills)
        feeds = {
            name: predictor.feed(name, numbers[:, _indices(names, predictor, name)], examples)
            for name in predictor.types
            if name not in texts.columns
        }
        batches = texts.batches(rows, table.kept, feeds, predictor, findings)
        predictions = answers.columns(batches.run(predictor.run), len(table.kept))
        beside = kept_names(keep, block.values, read)
        kept = {name: _at(block.values[name], table.kept) for name in beside}
        yield beside_predictions(kept, predictions, block.rows.path, findings)


def _with_earlier_rows(
    blocks: Iterator[Block], lags: tuple[Lag, ...], by: tuple[str, ...], findings: Findings
) -> Iterator[Block]:
    """Blocks whose lags go back beyond their first rows; rows without a key of their series are left out."""
    earlier, reach = EarlierRows(), max(step for request in lags for _, step in request.sources.values())
    series = SeriesOfBlocks(by)
    for block in blocks:
        rows, kept = series.of(block.rows, findings)
        values = {name: _at(column, kept) for name, column in block.values.items()}
        yield Block(replace(rows, earlier=earlier), values)
        earlier.forget(reach)


def beside_predictions(kept: Columns, predictions: Mapping[str, Any], location: str, findings: Findings) -> Columns:
    """The kept columns and then the predictions; a column of the table with the name of one makes way."""
    for name in [name for name in kept if name in predictions]:
        findings.note(location, f"column `{name}` of the table is replaced by the prediction of this name")
        del kept[name]
    return {**kept, **predictions}


def _indices(names: list[str], predictor: Predictor, name: str) -> list[int]:
    return [names.index(column) for column in predictor.recipe.fitted.columns.get(name, ())]


def _at(values: Sequence[Any], kept: Array) -> list[Any]:
    return list(values) if len(kept) == len(values) else [values[row] for row in kept]


def len_of(columns: Mapping[str, Any]) -> int:
    """How many rows columns of one length have."""
    return len(next(iter(columns.values()))) if columns else 0
