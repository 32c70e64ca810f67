"""How rows are inserted into the table of a training: the format of its dates, and the step between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from compiler.time_steps import TimeStep, time_step_of
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.by_series import APART
from runtime.data.calendar_features import calendar_of
from runtime.data.context import Context
from runtime.data.date_steps import step_of, usual_step
from runtime.data.dated_rows import DatedRows, dated_rows
from runtime.data.example_weights import weight_column
from runtime.data.filling import Fill, fill_of, flagged
from runtime.data.large_tables import LargeRows
from runtime.data.read_rows import spans_of
from runtime.data.row_insertion import Insertion, RowsToInsert
from runtime.data.rows import Rows
from runtime.data.silent_report import Silent
from runtime.data.whole_series import WholeTable

if TYPE_CHECKING:
    from compiler.types import Array


def with_inserted_rows(
    data: Rows, all_rows: Rows, names: Sequence[str], context: Context
) -> tuple[Rows, RowsToInsert | None]:
    """The table with the rows that are missing from it, where `fill` asks for them, to read these columns from.

    What decides them is read from `all_rows`, with those to predict, as in a prediction. NablacError where nothing
    fills one of the columns, and where the dates have no step.
    """
    fill = next((fill for fill in data.fills if fill.rows), None)
    if fill is None:
        return data, None
    _check_filled(data, fill, names, context)
    request = _request(all_rows, fill, context)
    if isinstance(data, LargeRows):
        return replace(data, insertion=request), request
    table = dated_rows(data, request.column, request.format, context)

    def parts() -> Iterable[DatedRows]:
        yield table if all_rows is data else dated_rows(all_rows, request.column, request.format, Silent())

    insertion = Insertion(request, WholeTable(request.step, parts).of, data.by)
    inserted = insertion.insert(table).rows
    insertion.note(data.keys or ("",), data.path, context)
    return replace(inserted, numbers=_numbers_apart(inserted)), request


def _numbers_apart(rows: Rows) -> list[int]:
    """The numbers of rows, which jump between series."""
    numbers: list[int] = []
    for first, end in spans_of(rows.series, len(rows.lines)):
        begin = numbers[-1] + APART if numbers else rows.numbers[first]
        numbers += range(begin, begin + end - first)
    return numbers


def _check_filled(data: Rows, fill: Fill, names: Sequence[str], context: Context) -> None:
    """NablacError for a column that inserted rows would have no number of."""
    inserted = f"rows are inserted by the dates in `{fill.rows}`"
    for name in names:
        calendar = calendar_of(data.calendars, name) if name not in data.cells else None
        if calendar is not None and calendar.column != fill.rows:
            message = f"{inserted}, and `{name}` is of those in `{calendar.column}`"
            raise NablacError(Diagnostic(codes.E823, message, fill.span))
        if calendar is not None or name in data.by or flagged(data.fills, name) is not None:
            continue
        if fill_of(data.fills, name) is None:
            message = f"{inserted}, and nothing fills `{name}` in them"
            hint = "`fill(...)` without `columns` fills all; targets that are missing do not count"
            raise NablacError(Diagnostic(codes.E823, message, fill.span, hint=hint))
    for name in weight_column(context):
        message = f"{inserted}, and have no weight in `{name}`"
        raise NablacError(Diagnostic(codes.E823, message, fill.span))


def _request(data: Rows, fill: Fill, context: Context) -> RowsToInsert:
    """The format and the step of dates: those of an earlier run, or what the stages say, or the table itself."""
    column, fitted = fill.rows, context.fitted
    format = fitted.dates.get(column, "") if fitted is not None else ""
    format = format or next((request.format for request in data.calendars if request.column == column), "")
    format = format or _format(data, fill)
    text = (fitted.date_steps.get(column, "") if fitted is not None else "") or fill.step
    step = time_step_of(text) or _step(data.moments_by_series(column, format), fill, data.path)
    return RowsToInsert(column, format, step)


def _format(data: Rows, fill: Fill) -> str:
    try:
        return data.date_format(fill.rows, fill.span)
    except NablacError as error:
        (fault,) = error.diagnostics
        hint = fault.hint
        if hint is not None and "`format:" in hint:  # which is an argument of `calendar`
            hint = f'{hint}, in `calendar("{fill.rows}", ...)`'
        raise NablacError(replace(fault, hint=hint)) from None


def _step(series: Mapping[str, Array], fill: Fill, path: str) -> TimeStep:
    """The one step of all series that are regular; NablacError where they differ, or where none is."""
    steps = {name: step for name, moments in series.items() if (step := step_of(moments)) is not None}
    what = f"column `{fill.rows}` of {path}"
    hint = '`step: "1 hour"` says at which step rows are inserted'
    if not steps:
        usual = next((usual for moments in series.values() if (usual := usual_step(moments)) is not None), None)
        if usual is None:
            message = f"{what} has too few dates to tell their step"
            raise NablacError(Diagnostic(codes.E823, message, fill.span, hint=hint))
        step, share = usual
        message = f"{what} has no constant step: the most common one, {step}, is {share:.0%} of all"
        hint = (
            f'if rows are missing at the others, say so: `fill("{fill.method}", rows: "{fill.rows}", step: "{step}")`'
        )
        raise NablacError(Diagnostic(codes.E823, message, fill.span, hint=hint))
    (name, first), *others = steps.items()
    other = next(((key, step) for key, step in others if step != first), None)
    if other is not None:
        message = f"{what} has a step of {first} in the series `{name}`, and of {other[1]} in `{other[0]}`"
        raise NablacError(Diagnostic(codes.E823, message, fill.span, hint=hint))
    return first
