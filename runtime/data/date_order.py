"""The order of rows in time, where a stage has read their dates: windows of rows that go back mean nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.rows import Rows

if TYPE_CHECKING:
    from compiler.types import Array


def check_order(data: Rows, kept: Array, spans: list[tuple[int, int]], context: Context) -> None:
    """NablacError where the dates of a series go back; a note where they repeat, as those of several series do.

    `spans` are where the series begin and end among the rows at the indices `kept`.
    """
    for request in data.calendars:
        cells = data.date_texts(request.column, None)
        moments = request.moments(cells)
        for first, end in spans:
            rows = kept[first:end].tolist()
            for before, after in pairwise(rows):
                earlier, later = moments[before], moments[after]
                if earlier is None or later is None or earlier < later:
                    continue
                place = f"{data.path}:{data.lines[after]}"
                if earlier == later:
                    said = "`by` tells several series apart" if data.series is None else "a window takes them as two"
                    context.note(place, f"column `{request.column}` has the date of the row before: {said}")
                    continue
                message = f"column `{request.column}` goes back from `{cells[before]}` to `{cells[after]}`"
                hint = "sort the rows by date"
                if data.series is None:
                    hint = 'sort the rows by date, or tell several series apart: `by("station")`'
                raise NablacError(Diagnostic(codes.E821, message, place=place, hint=hint))
