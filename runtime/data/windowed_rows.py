"""The rows that windows are cut of: read, numbered by their order in time, and filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import DataStage
from runtime.data.context import Context
from runtime.data.date_order import DateOrder
from runtime.data.date_steps import early_rows, is_wrong_date, missing_rows, step_of
from runtime.data.example_weights import weights_of_rows, with_weights
from runtime.data.examples import cuts
from runtime.data.file_rows import Scratch
from runtime.data.filling import filled, gaps_of, means_of
from runtime.data.insertion_request import with_inserted_rows
from runtime.data.read_rows import ReadRows
from runtime.data.row_insertion import RowsToInsert
from runtime.data.rows import Rows
from runtime.data.stored_rows import StoredRows, blocks, change_rows
from runtime.data.target_gaps import without_targets
from runtime.data.window_request import WindowRequest

if TYPE_CHECKING:
    from compiler.types import Array

_APART = "rows are missing, by the dates in `{0}`: no window spans the gap; "
_INSERTED = '`fill("forward", rows: "{0}")` inserts them'
_WRONG = "more are missing than the series has, so one of the two dates may be wrong"
_EARLY = "rows follow sooner than by the step of the others, by the dates in `{0}`: windows take them as the next"


@dataclass(frozen=True, eq=False)
class WindowedRows:
    """The rows that windows are cut of, those of one series after the other.

    `table: [rows, columns]` is as it was read, `whole` without missing numbers, and `gaps` says which of them windows
    interpolate.
    """

    read: ReadRows
    table: Array | StoredRows
    numbers: Array  # of each row in its series, which jumps where rows are missing
    spans: list[tuple[int, int]]
    weights: Array | None
    whole: Array | StoredRows
    gaps: Array | StoredRows | None
    means: Mapping[str, float]
    data: Rows  # the table, with the rows that were inserted
    inserted: RowsToInsert | None = None

    @property
    def formats(self) -> dict[str, str]:
        """How dates are written that rows were inserted by, by column."""
        return {self.inserted.column: self.inserted.format} if self.inserted is not None else {}

    @property
    def date_steps(self) -> dict[str, str]:
        """The step at which rows were inserted, by column of dates."""
        return {self.inserted.column: str(self.inserted.step)} if self.inserted is not None else {}


def read_windowed(
    data: Rows, all_rows: Rows, request: WindowRequest, stage: DataStage, context: Context
) -> WindowedRows:
    """Read the columns of windows, and fill what is missing in them by the means of the training rows.

    Among `all_rows` of the table are those to predict, too.
    """
    names = request.names
    names_read = with_weights(names, context)
    data, inserted = with_inserted_rows(data, all_rows, names, context)
    order = DateOrder(context)
    read = data.read(names_read, context, stage.span, order=order)
    weights = weights_of_rows(read, names_read, data.path, context)
    table = columns_of(read.table, list(range(len(names)))) if len(names_read) > len(names) else read.table
    numbers = _numbers(read, order, data, context)
    spans = _spans_of(read, request.targets if request.known else (), data.path, stage)
    if not data.fills:
        return WindowedRows(read, table, numbers, spans, weights, table, None, {}, data, inserted)
    means: Mapping[str, float]
    if context.fitted is not None:
        means = context.fitted.fills
    else:
        means = means_of(table, names, data.fills, data.path, training_rows(spans, context))
    whole = _filled(table, spans, names, data, means)
    gaps = change_rows(table, partial(gaps_of, names=names, fills=data.fills))
    return WindowedRows(read, table, numbers, spans, weights, whole, gaps, means, data, inserted)


def columns_of(rows: Array | StoredRows, columns: list[int]) -> Array | StoredRows:
    """Some columns of a table, by their numbers."""
    return change_rows(rows, lambda part: part[:, columns])


def training_rows(spans: list[tuple[int, int]], context: Context) -> Array:
    """The indices of the rows of the training parts of all series."""
    return np.concatenate([np.arange(first, first + cuts(end - first, context)[0]) for first, end in spans])


def _numbers(read: ReadRows, order: DateOrder, data: Rows, context: Context) -> Array:
    """The number of each row in its series, which jumps where rows are missing, also those that only dates tell of."""
    assert read.numbers is not None
    moments = order.moments
    if moments is None:
        return read.numbers
    column, place = data.calendars[0].column, f"{data.path}:{{}}, from {{}} to {{}}"
    missing, early, counts = np.zeros(len(moments), np.int64), np.zeros(len(moments), bool), np.zeros(len(moments), int)
    for first, end in read.spans:
        step = step_of(moments[first:end])
        missing[first:end] = missing_rows(moments[first:end], step)
        early[first + early_rows(moments[first:end], step)] = True
        counts[first:end] = end - first
    missing[1:] = np.where(np.diff(read.numbers) == 1, missing[1:], 0)  # after other gaps nothing joins the rows
    rows = np.flatnonzero((missing > 0) | early)
    for row, line in zip(rows.tolist(), read.lines[rows].tolist(), strict=True):
        dates = (str(moments["local"][at]).removesuffix(".000000").replace("T", " ") for at in (row - 1, row))
        is_wrong = is_wrong_date(int(missing[row]), int(counts[row]))
        message = _EARLY if early[row] else _APART + (_WRONG if is_wrong else _INSERTED)
        context.note(place.format(line, *dates), message.format(column))
    return np.asarray(read.numbers + np.cumsum(missing))


def _spans_of(read: ReadRows, targets: Sequence[str], path: str, stage: DataStage) -> list[tuple[int, int]]:
    """The rows of each series; NablacError where all are to be predicted, and lack these `targets`."""
    if targets and not read.spans:
        raise without_targets(targets, path, stage.span)
    return read.spans


def _filled(
    table: Array | StoredRows,
    spans: list[tuple[int, int]],
    names: list[str],
    data: Rows,
    means: Mapping[str, float],
) -> Array | StoredRows:
    """The rows of all series without missing numbers: those of a stored table in a scratch file."""
    if not isinstance(table, StoredRows):
        return np.concatenate([filled(table[first:end], names, data.fills, means) for first, end in spans])
    scratch = Scratch(table.shape[1:], table.dtype, data.path)
    for first, end in spans:
        before = None
        for _, rows in blocks(table, np.arange(first, end)):
            whole = filled(rows, names, data.fills, means, before)
            scratch.add(whole)
            before = whole[-1]
    return scratch.rows()
