"""Windows of the rows of a table: the stage `window`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.date_order import check_order
from runtime.data.examples import Examples, Series, cuts, joined_parts, window_parts
from runtime.data.filling import filled, gaps_of, interpolated, means_of
from runtime.data.rows import Rows
from runtime.data.stage_arguments import check_kind, date_formats, names_of
from runtime.data.text_cells import check_window_columns

if TYPE_CHECKING:
    from compiler.types import Array


def window(data: Rows, stage: DataStage, context: Context) -> Examples:
    """Cut windows: `length` rows as the input, and the `horizon` rows after them as the target.

    With `shift` the target is the input's own columns `shift` rows later, for models with an output at every step.
    `target` names other columns to predict. Examples whose target is in the validation or test rows belong to these
    parts, and scalings are fitted to the training rows alone. No window spans a skipped row.
    """
    check_kind(data, Rows, stage)
    if data.lags:
        message = "a window holds earlier rows itself, and `lag` is for `columns(...)`"
        hint = "a longer `length` reaches further back"
        raise NablacError(Diagnostic(codes.E823, message, data.lags[0].span, hint=hint))
    arguments = stage.arguments
    inputs = names_of(arguments["columns"])
    targets = names_of(arguments["target"]) or inputs
    names = list(dict.fromkeys([*inputs, *targets]))
    check_window_columns(data, names)
    read = data.read_columns(names, context, stage.span)
    table, numbers = read.numbers, np.array(data.numbers)[read.kept]
    length, horizon, shift, stride = arguments["length"], arguments["horizon"], arguments["shift"], arguments["stride"]
    begin = shift or length  # of the target, counted from the window's start
    rows = max(length, begin + horizon)
    spans = data.spans(read.kept)
    check_order(data, read.kept, spans, context)
    whole = table
    means: Mapping[str, float] = {}
    if data.fills:
        means = (
            context.fitted.fills
            if context.fitted is not None
            else means_of(_training_rows(table, spans, context), names, data.fills, data.path)
        )
        whole = np.concatenate([filled(table[first:end], names, data.fills, means) for first, end in spans])
    take_in = [names.index(name) for name in inputs]
    take_out = [names.index(name) for name in targets]
    by_series = [_starts(numbers, first, end, rows, stride) for first, end in spans]
    if data.fills:
        by_series = _with_targets(by_series, table[:, take_out], begin, horizon, data.path, context)
    starts = np.concatenate(by_series) if by_series else np.zeros(0, int)
    if not len(starts):
        rows_are = "1 row is" if len(table) == 1 else f"{len(table)} rows are"
        raise NablacError(
            Diagnostic(
                codes.E823,
                f"{rows_are} too few for windows of {length} and a horizon of {horizon}",
                stage.span,
                hint="use a shorter window or more data",
            )
        )
    at = starts[:, None] + np.arange(length)
    x = whole[at][:, :, take_in]
    gaps = gaps_of(table, names, data.fills) if data.fills else None
    if gaps is not None:
        x = interpolated(x, gaps[at][:, :, take_in])
    y = table[starts[:, None] + begin + np.arange(horizon)][:, :, take_out]
    _note_short(data, read.kept, spans, by_series, rows, context)
    split = [
        window_parts(here + begin - first, here + begin + horizon - first, end - first, stride < rows, context, stage)
        for here, (first, end) in zip(by_series, spans, strict=True)
    ]
    parts = joined_parts(split, [len(here) for here in by_series])
    training = _training_rows(whole, spans, context)
    lines = np.array(data.lines)[read.kept]
    borders = tuple(int(numbers[first]) for first, _ in spans[1:])
    keys = () if data.series is None else tuple(data.keys[data.series[read.kept[first]]] for first, _ in spans)
    return Examples(
        {"input": x, "target": y},
        ("input",),
        ("target",),
        ordered=True,
        parts=parts,
        columns={"input": tuple(inputs), "target": tuple(targets)},
        scales=data.scales,
        samples={"input": training[:, take_in], "target": training[:, take_out]} if parts else {},
        path=data.path,
        lines=lines[starts],
        series=Series(tuple(names), table, numbers, lines, _beside(data, names, read.kept), borders, whole, keys, gaps)
        if context.keeps_raw
        else None,
        starts=numbers[starts],
        fills=means,
        dates=date_formats(data),
    )


def _training_rows(table: Array, spans: list[tuple[int, int]], context: Context) -> Array:
    """The rows of the training parts of all series."""
    return np.concatenate([table[first : first + cuts(end - first, context)[0]] for first, end in spans])


def _with_targets(
    starts: list[Array], targets: Array, begin: int, horizon: int, path: str, context: Context
) -> list[Array]:
    """The windows none of whose targets is missing: nothing is learnt from filled numbers, or judged by them."""
    missing = np.asarray(np.isnan(targets).any(axis=1))
    whole = [here[~missing[here[:, None] + begin + np.arange(horizon)].any(axis=1)] for here in starts]
    count = sum(map(len, starts)) - sum(map(len, whole))
    if count:
        windows = "1 window is" if count == 1 else f"{count:,} windows are"
        context.note(path, f"{windows} left out, since targets in them are missing")
    return whole


def _starts(numbers: Array, first: int, end: int, rows: int, stride: int) -> Array:
    """Where the windows of a series begin, whose rows are those from `first` to `end`; none spans a skipped row."""
    starts = np.arange(first, end - rows + 1, stride)
    return np.asarray(starts[numbers[starts + rows - 1] - numbers[starts] == rows - 1])


def _note_short(
    data: Rows, kept: Array, spans: list[tuple[int, int]], starts: list[Array], rows: int, context: Context
) -> None:
    """Note the series that have no window."""
    for here, (first, _) in zip(starts, spans, strict=True):
        if not len(here) and data.series is not None:
            key = data.keys[int(data.series[kept[first]])]
            context.note(f"{data.path}: {key}", f"a series without {rows} rows in a row, for a window, is left out")


def _beside(data: Rows, names: list[str], kept: Array) -> dict[str, list[str]]:
    """The cells of all other columns than those of these names, in the rows that are kept."""
    chosen = kept.tolist()
    return {name: [cells[row] for row in chosen] for name, cells in data.cells.items() if name not in names and cells}
