"""Windows of the rows of a table: the stage `window`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from compiler.elaborate.data import listed_names
from compiler.model_spec import EXAMPLE_WEIGHT, DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.date_order import DateOrder
from runtime.data.date_steps import missing_rows
from runtime.data.example_weights import weights_of_rows, with_weights
from runtime.data.examples import Examples, Series, cuts, joined_parts, window_parts
from runtime.data.file_rows import Scratch, most_in_memory
from runtime.data.filling import filled, gaps_of, interpolated, means_of
from runtime.data.known_columns import with_known, without_rows_to_predict
from runtime.data.read_rows import ReadRows
from runtime.data.rows import Rows
from runtime.data.stage_arguments import check_kind, date_formats
from runtime.data.stored_rows import StoredRows, blocks, change_rows, join_columns, pick_rows
from runtime.data.target_gaps import has_target, missing_entries, note_gaps, without_targets
from runtime.data.text_cells import check_window_columns

if TYPE_CHECKING:
    from compiler.types import Array

_APART = "no window spans the gap; rows with a date and empty cells are filled by `fill(...)`"


def window(data: Rows, stage: DataStage, context: Context) -> Examples:
    """Cut windows: `length` rows as the input, and the `horizon` rows after them as the target.

    With `shift` the target is the input's own columns `shift` rows later, for models with an output at every step.
    `target` names other columns to predict, and `known` those whose values in the target's rows are one more input.
    Examples whose target is in the validation or test rows belong to these parts, and scalings are fitted to the
    training rows alone. No window spans a skipped row. The weight of a window is the mean of those of its target's
    rows.
    """
    check_kind(data, Rows, stage)
    if data.lags:
        message = "a window holds earlier rows itself, and `lag` is for `columns(...)`"
        hint = "a longer `length` reaches further back"
        raise NablacError(Diagnostic(codes.E823, message, data.lags[0].span, hint=hint))
    arguments = stage.arguments
    inputs = listed_names(arguments["columns"])
    targets = listed_names(arguments["target"]) or inputs
    known = listed_names(arguments["known"])
    names = list(dict.fromkeys([*inputs, *targets, *known]))
    check_window_columns(data, names)
    names_read = with_weights(names, context)
    if known:
        data = without_rows_to_predict(data, targets, context)
    order = DateOrder(context)
    read = data.read(names_read, context, stage.span, order=order)
    weights = weights_of_rows(read, names_read, data.path, context)
    table = _columns_of(read.table, list(range(len(names)))) if len(names_read) > len(names) else read.table
    numbers = _numbers(read, order, data, context)
    length, horizon, shift, stride = arguments["length"], arguments["horizon"], arguments["shift"], arguments["stride"]
    begin = shift or length  # of the target, counted from the window's start
    rows = max(length, begin + horizon)
    spans = _spans_of(read, targets if known else (), data.path, stage)
    whole = table
    means: Mapping[str, float] = {}
    if data.fills:
        means = (
            context.fitted.fills
            if context.fitted is not None
            else means_of(table, names, data.fills, data.path, _training_rows(spans, context))
        )
        whole = _filled(table, spans, names, data, means)
    take_in = [names.index(name) for name in inputs]
    take_out = [names.index(name) for name in targets]
    by_series = [_starts(numbers, first, end, rows, stride) for first, end in spans]
    if data.fills:
        by_series = _with_targets(by_series, table, take_out, begin, horizon, data.path, context)
    starts = np.concatenate(by_series) if by_series else np.zeros(0, int)
    if not len(starts):
        raise _too_few(len(table), length, horizon, stage)
    gaps = change_rows(table, partial(gaps_of, names=names, fills=data.fills)) if data.fills else None
    x = Windows.of(whole, starts, length, take_in, gaps)
    y = Windows.of(table, starts + begin, horizon, take_out)
    arrays = {"input": x.where_it_fits(), "target": y.where_it_fits()}
    if weights is not None:
        arrays[EXAMPLE_WEIGHT] = np.mean([weights[starts + begin + row] for row in range(horizon)], axis=0)
    _note_short(read, by_series, rows, data.path, context)
    split = [
        window_parts(here + begin - first, here + begin + horizon - first, end - first, stride < rows, context, stage)
        for here, (first, end) in zip(by_series, spans, strict=True)
    ]
    parts = joined_parts(split, [len(here) for here in by_series])
    if parts:
        sampled = _training_rows(spans, context)
    else:  # one sample of rows for the inputs and targets of the windows that are drawn
        parts = Examples({"input": x}).split(context).parts
        sampled = np.unique(starts[parts["training"]][:, None] + np.arange(rows))
    training = pick_rows(whole, sampled)
    judged = _columns_of(training, take_out)
    alone = [name not in inputs for name in targets]
    if data.fills and any(alone):
        judged = _as_read(training, pick_rows(table, sampled), take_out, alone)
    examples = Examples(
        arrays,
        ("input",),
        ("target",),
        ordered=True,
        parts=parts,
        columns={"input": tuple(inputs), "target": tuple(targets)},
        scales=data.scales,
        samples={"input": _columns_of(training, take_in), "target": judged},
        path=data.path,
        lines=pick_rows(read.lines, starts),
        series=_series(data, read, numbers, names, whole, gaps, context) if context.keeps_raw else None,
        starts=numbers[starts],
        fills=means,
        dates=date_formats(data),
    )
    if not known:
        return examples
    take_known = [names.index(name) for name in known]
    ahead = Windows.of(whole, starts + begin, horizon, take_known, gaps)
    return with_known(examples, ahead.where_it_fits(), tuple(known), _columns_of(training, take_known))


def _too_few(count: int, length: int, horizon: int, stage: DataStage) -> NablacError:
    rows_are = "1 row is" if count == 1 else f"{count} rows are"
    message = f"{rows_are} too few for windows of {length} and a horizon of {horizon}"
    return NablacError(Diagnostic(codes.E823, message, stage.span, hint="use a shorter window or more data"))


def _numbers(read: ReadRows, order: DateOrder, data: Rows, context: Context) -> Array:
    """The number of each row in its series, which jumps where rows are missing, also those that only dates tell of."""
    assert read.numbers is not None
    moments = order.moments
    if moments is None:
        return read.numbers
    missing = np.concatenate([np.zeros(0, np.int64), *(missing_rows(moments[first:end]) for first, end in read.spans)])
    missing[1:] = np.where(np.diff(read.numbers) == 1, missing[1:], 0)  # after other gaps nothing joins the rows
    rows = np.flatnonzero(missing)
    for row, line in zip(rows.tolist(), read.lines[rows].tolist(), strict=True):
        earlier, later = (str(moments[at]).removesuffix(".000000").replace("T", " ") for at in (row - 1, row))
        column = data.calendars[0].column
        context.note(
            f"{data.path}:{line}, from {earlier} to {later}", f"rows are missing, by the dates in `{column}`: {_APART}"
        )
    return np.asarray(read.numbers + np.cumsum(missing))


def _spans_of(read: ReadRows, targets: Sequence[str], path: str, stage: DataStage) -> list[tuple[int, int]]:
    """The rows of each series; NablacError where all are to be predicted, and lack these `targets`."""
    if targets and not read.spans:
        raise without_targets(targets, path, stage.span)
    return read.spans


def _columns_of(rows: Array | StoredRows, columns: list[int]) -> Array | StoredRows:
    return change_rows(rows, lambda part: part[:, columns])


def _as_read(
    whole: Array | StoredRows, table: Array | StoredRows, columns: list[int], alone: list[bool]
) -> Array | StoredRows:
    """A sample of targets; what fills a column that is predicted `alone`, and never read, is not in it."""
    width = whole.shape[1]
    chosen = [column + width if as_read else column for column, as_read in zip(columns, alone, strict=True)]
    return _columns_of(join_columns(whole, table), chosen)


def _training_rows(spans: list[tuple[int, int]], context: Context) -> Array:
    """The indices of the rows of the training parts of all series."""
    return np.concatenate([np.arange(first, first + cuts(end - first, context)[0]) for first, end in spans])


def _with_targets(
    starts: list[Array],
    table: Array | StoredRows,
    targets: list[int],
    begin: int,
    horizon: int,
    path: str,
    context: Context,
) -> list[Array]:
    """The windows that are learnt from, though some of their targets may be missing: see `has_target`."""
    some, every = missing_entries(table, targets)
    if not starts or not some.any():
        return starts
    begins = np.concatenate(starts) + begin
    lacking = _count_within(some, begins, horizon) > 0
    kept = has_target(lacking, _count_within(every, begins, horizon) == horizon, context.masks)
    note_gaps(lacking, kept, "window", path, context)
    ends = np.cumsum([len(here) for here in starts[:-1]], dtype=int)
    return [here[chosen] for here, chosen in zip(starts, np.split(kept, ends), strict=True)]


def _count_within(flags: Array, begin: Array, length: int) -> Array:
    """How many of so many rows from `begin` on have a flag."""
    before = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(before[begin + length] - before[begin])


def _starts(numbers: Array, first: int, end: int, rows: int, stride: int) -> Array:
    """Where the windows of a series begin, whose rows are those from `first` to `end`; none spans a skipped row."""
    starts = np.arange(first, end - rows + 1, stride)
    return np.asarray(starts[numbers[starts + rows - 1] - numbers[starts] == rows - 1])


def _note_short(read: ReadRows, starts: list[Array], rows: int, path: str, context: Context) -> None:
    """Note the series that have no window."""
    for here, key in zip(starts, read.keys, strict=False):
        if not len(here):
            context.note(f"{path}: {key}", f"a series without {rows} rows in a row, for a window, is left out")


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


def _series(
    data: Rows,
    read: ReadRows,
    numbers: Array,
    names: list[str],
    whole: Array | StoredRows,
    gaps: Array | StoredRows | None,
    context: Context,
) -> Series | None:
    """The rows that windows are cut of; None where they are not in memory."""
    table, lines = read.table, read.lines
    if isinstance(table, StoredRows) or isinstance(lines, StoredRows) or isinstance(whole, StoredRows):
        context.note(data.path, "the table is not in memory, so forecasts are not compared with naive ones")
        return None
    assert not isinstance(gaps, StoredRows) and read.kept is not None
    borders = tuple(int(numbers[first]) for first, _ in read.spans[1:])
    beside = _beside(data, names, read.kept)
    return Series(tuple(names), table, numbers, lines, beside, borders, whole, read.keys, gaps)


@dataclass(frozen=True, eq=False)
class Windows(StoredRows):
    """Some columns of consecutive rows of a table, taken when they are asked for."""

    table: Array | StoredRows
    starts: Array
    columns: list[int]
    gaps: Array | StoredRows | None  # of the table those that are interpolated
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @staticmethod
    def of(
        table: Array | StoredRows,
        starts: Array,
        length: int,
        columns: list[int],
        gaps: Array | StoredRows | None = None,
    ) -> Windows:
        """Windows of `length` rows from each of the `starts` on."""
        table = table if isinstance(table, StoredRows) else np.ascontiguousarray(table)  # which are read by rows
        return Windows(table, starts, columns, gaps, (len(starts), length, len(columns)), table.dtype)

    def read(self, rows: Array) -> Array:
        """Windows [rows, length, columns]."""
        at = self.starts[rows][:, None] + np.arange(self.shape[1])
        windows = self._columns_of(self.table, at)
        return windows if self.gaps is None else interpolated(windows, self._columns_of(self.gaps, at))

    def _columns_of(self, table: Array | StoredRows, at: Array) -> Array:
        rows = table[at.reshape(-1)].reshape(*at.shape, table.shape[1])
        return rows[:, :, self.columns]

    def where_it_fits(self) -> Array | StoredRows:
        """All windows in memory, where the table is and they are not too large; else these."""
        large = isinstance(self.table, StoredRows) or prod(self.shape) * self.dtype.itemsize > most_in_memory()
        return self if large else self.read(np.arange(len(self)))


def _beside(data: Rows, names: list[str], kept: Array) -> dict[str, list[str]]:
    """The cells of all other columns than those of these names, in the rows that are kept."""
    chosen = kept.tolist()
    return {name: [cells[row] for row in chosen] for name, cells in data.cells.items() if name not in names and cells}
