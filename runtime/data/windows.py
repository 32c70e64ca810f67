"""Windows of the rows of a table: the stage `window`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import EXAMPLE_WEIGHT, DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import Examples, Series, joined_parts, window_parts
from runtime.data.file_rows import most_in_memory
from runtime.data.filling import interpolated
from runtime.data.known_columns import KNOWN, with_known, without_rows_to_predict
from runtime.data.read_rows import ReadRows
from runtime.data.rows import Rows
from runtime.data.stage_arguments import check_kind, date_formats
from runtime.data.stored_rows import StoredRows, join_columns, pick_rows
from runtime.data.target_gaps import has_target, missing_entries, note_gaps
from runtime.data.text_cells import check_window_columns
from runtime.data.window_request import WindowRequest
from runtime.data.windowed_rows import WindowedRows, columns_of, read_windowed, training_rows

if TYPE_CHECKING:
    from compiler.types import Array


def window(data: Rows, stage: DataStage, context: Context) -> Examples:
    """Cut windows: `length` rows as the input, and the `horizon` rows after them as the target.

    With `shift` the target is the input's own columns `shift` rows later, for models with an output at every step.
    `target` names other columns to predict, and `known` those whose values in the target's rows are one more input.
    Examples whose target is in the validation or test rows belong to these parts, and scalings are fitted to the
    training rows alone. No window spans a skipped row. The weight of a window is the mean of those of its target's
    rows.
    """
    check_kind(data, Rows, stage)
    _check_without_lags(data)
    request = WindowRequest.of(stage.arguments)
    check_window_columns(data, request.names)
    all_rows = data
    if request.known:
        data = without_rows_to_predict(data, request.targets, context)
    rows = read_windowed(data, all_rows, request, stage, context)
    by_series = _starts_by_series(rows, request, data, context)
    starts = np.concatenate(by_series) if by_series else np.zeros(0, int)
    if not len(starts):
        raise _too_few(len(rows.table), request.length, request.horizon, stage)
    windows = _windows(rows, request, starts)
    arrays = _arrays(rows, windows, request, starts)
    _note_short(rows.read, by_series, request.rows, data.path, context)
    parts = _parts_of_series(rows, by_series, request, context, stage)
    sampled = training_rows(rows.spans, context)
    if not parts:  # one sample of rows for the inputs and targets of the windows that are drawn
        parts = Examples({"input": windows["input"]}).split(context).parts
        sampled = np.unique(starts[parts["training"]][:, None] + np.arange(request.rows))
    examples = Examples(
        arrays,
        ("input",),
        ("target",),
        ordered=True,
        parts=parts,
        columns={"input": tuple(request.inputs), "target": tuple(request.targets)},
        scales=data.scales,
        samples=_samples(rows, request, data, sampled),
        path=data.path,
        lines=pick_rows(rows.read.lines, starts),
        series=_series(rows.data, rows, request.names) if context.keeps_raw else None,
        starts=rows.numbers[starts],
        fills=rows.means,
        dates=date_formats(data) | rows.formats,
        date_steps=rows.date_steps,
    )
    if not request.known:
        return examples
    sample = columns_of(pick_rows(rows.whole, sampled), request.indices(request.known))
    return with_known(examples, windows[KNOWN].where_it_fits(), tuple(request.known), sample)


def _check_without_lags(data: Rows) -> None:
    if data.lags:
        message = "a window holds earlier rows itself, and `lag` is for `columns(...)`"
        hint = "a longer `length` reaches further back"
        raise NablacError(Diagnostic(codes.E823, message, data.lags[0].span, hint=hint))


def _starts_by_series(rows: WindowedRows, request: WindowRequest, data: Rows, context: Context) -> list[Array]:
    """The rows in which the windows of each series begin, without those that nothing is learnt from."""
    starts = [_starts(rows.numbers, first, end, request.rows, request.stride) for first, end in rows.spans]
    return _with_targets(starts, rows.table, request, data.path, context) if data.fills else starts


def _windows(rows: WindowedRows, request: WindowRequest, starts: Array) -> dict[str, Windows]:
    """The inputs and targets of the windows that begin in these rows."""
    length, horizon, ahead = request.length, request.horizon, starts + request.begin
    inputs, targets, known = (request.indices(names) for names in (request.inputs, request.targets, request.known))
    windows = {
        "input": Windows.of(rows.whole, starts, length, inputs, rows.gaps),
        "target": Windows.of(rows.table, ahead, horizon, targets),
    }
    return windows | ({KNOWN: Windows.of(rows.whole, ahead, horizon, known, rows.gaps)} if known else {})


def _arrays(
    rows: WindowedRows, windows: Mapping[str, Windows], request: WindowRequest, starts: Array
) -> dict[str, Array | StoredRows]:
    """The inputs and targets of examples, and their weights."""
    arrays = {name: windows[name].where_it_fits() for name in ("input", "target")}
    if rows.weights is not None:
        of_targets = [rows.weights[starts + request.begin + row] for row in range(request.horizon)]
        arrays[EXAMPLE_WEIGHT] = np.mean(of_targets, axis=0)
    return arrays


def _parts_of_series(
    rows: WindowedRows, by_series: list[Array], request: WindowRequest, context: Context, stage: DataStage
) -> dict[str, Array]:
    """The windows of each part, the last of each series for validation and test; empty where they are to be random."""
    overlap = request.stride < request.rows
    split = []
    for starts, (first, end) in zip(by_series, rows.spans, strict=True):
        begin = starts + request.begin - first
        split.append(window_parts(begin, begin + request.horizon, end - first, overlap, context, stage))
    return joined_parts(split, [len(starts) for starts in by_series])


def _samples(rows: WindowedRows, request: WindowRequest, data: Rows, sampled: Array) -> dict[str, Array | StoredRows]:
    """The rows that scalings are fitted to, of the inputs and of the targets."""
    training = pick_rows(rows.whole, sampled)
    targets = request.indices(request.targets)
    judged = columns_of(training, targets)
    alone = [name not in request.inputs for name in request.targets]
    if data.fills and any(alone):
        judged = _as_read(training, pick_rows(rows.table, sampled), targets, alone)
    return {"input": columns_of(training, request.indices(request.inputs)), "target": judged}


def _too_few(count: int, length: int, horizon: int, stage: DataStage) -> NablacError:
    rows_are = "1 row is" if count == 1 else f"{count} rows are"
    message = f"{rows_are} too few for windows of {length} and a horizon of {horizon}"
    return NablacError(Diagnostic(codes.E823, message, stage.span, hint="use a shorter window or more data"))


def _as_read(
    whole: Array | StoredRows, table: Array | StoredRows, columns: list[int], alone: list[bool]
) -> Array | StoredRows:
    """A sample of targets; what fills a column that is predicted `alone`, and never read, is not in it."""
    width = whole.shape[1]
    chosen = [column + width if as_read else column for column, as_read in zip(columns, alone, strict=True)]
    return columns_of(join_columns(whole, table), chosen)


def _with_targets(
    starts: list[Array], table: Array | StoredRows, request: WindowRequest, path: str, context: Context
) -> list[Array]:
    """The windows that are learnt from, though some of their targets may be missing: see `has_target`."""
    some, every = missing_entries(table, request.indices(request.targets))
    if not starts or not some.any():
        return starts
    begins, horizon = np.concatenate(starts) + request.begin, request.horizon
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


def _series(data: Rows, rows: WindowedRows, names: list[str]) -> Series:
    """The rows that windows are cut of."""
    read, numbers = rows.read, rows.numbers
    borders = tuple(int(numbers[first]) for first, _ in read.spans[1:])
    beside = _beside(data, names, read.kept) if read.kept is not None else {}
    return Series(tuple(names), rows.table, numbers, read.lines, beside, borders, rows.whole, read.keys, rows.gaps)


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
