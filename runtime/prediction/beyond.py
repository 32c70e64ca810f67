"""The columns beside forecasts of rows that are not there: dates that go on, and what has been the same all along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtime.data.missing_cells import is_nothing
from runtime.prediction.findings import Findings
from runtime.prediction.series_rows import SeriesRows
from runtime.prediction.table_rows import Columns, Keep


def columns_beyond(series: SeriesRows, length: int, keep: Keep, count: int, findings: Findings) -> Columns:
    """The kept columns of `count` rows after the last one; `length` rows show what has been the same all along.

    Rows to predict that the table has keep their dates.
    """
    if keep == "none":
        return {}
    unknown = {*series.names, *series.targets}
    dated = _date_column(series, unknown, count)
    kept: Columns = {}
    if dated is None:
        _note_undated(series, unknown, findings)
    for name, values in series.values.items():
        if name == dated:
            dates = _dates(series, name, count, findings)
            if dates is not None:
                kept[name] = dates
        elif name not in unknown and length > 1 and len(set(map(str, values[-length:]))) == 1:
            if not _is_blank(values[-1]):
                kept[name] = [values[-1]] * count
    return kept


def _is_blank(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return is_nothing(value) or (isinstance(value, str) and not value.strip())


def dates_after(series: SeriesRows, name: str) -> Callable[[int], Any] | None:
    """How the dates of a column go on from the last row: those of the table, then by its step; None if by none."""
    later = series.later.get(name, [])
    how = series.continued(name)
    if how is None:
        return None
    return lambda step: later[step - 1] if step <= len(later) else how.after(step - len(later))


def _date_column(series: SeriesRows, unknown: set[str], count: int) -> str | None:
    """The column that says when a row is: the first that goes on, or whose dates the table has."""
    names = [name for name in series.values if name not in unknown]
    going_on = (name for name in names if series.continued(name) is not None)
    of_table = (name for name in names if len(series.later.get(name, ())) >= count and series.has_dates(name))
    return next(going_on, None) or next(of_table, None)


def _dates(series: SeriesRows, name: str, count: int, findings: Findings) -> list[Any] | None:
    """The dates of a column in the rows after the last; None where there are none, with a note."""
    later = series.later.get(name, [])
    how = series.continued(name)
    if how is None or len(later) >= count:
        return later[:count]
    if how.descends:
        findings.note(series.place, f"`{name}` runs backwards, and a forecast is of what comes after the last row")
    if not how.regular:
        findings.note(series.place, f"the dates in `{name}` are not evenly spaced: they go on by {how.what}")
    try:
        return [*later, *(how.after(step) for step in range(1, count - len(later) + 1))]
    except (OverflowError, ValueError):
        findings.note(series.place, f"the dates in `{name}` go on beyond the last year that there is")
        return None


def _note_undated(series: SeriesRows, unknown: set[str], findings: Findings) -> None:
    """Note the first column of dates, none of which goes on: there may be several series in the file."""
    for name in series.values:
        last = series.last(name)
        if name not in unknown and len(set(map(str, last))) > 1 and series.has_dates(name):
            message = f"the dates in `{name}` do not go on by one step, so the forecast has none"
            one = "" if series.name else "; all rows of a file are read as one series"
            findings.note(series.place, f"{message}{one}")
            return
