"""Columns of whole numbers that look like instants, as programs count them from 1970: a spec reads dates as texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from nablac.commands.table_columns import UserTable, in_comment
from runtime.data.missing_cells import is_missing

_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1990, 2100))
_WHOLE = re.compile(r"\d{9,}(\.0)?", re.ASCII)
_NAME = re.compile(r"date|time|stamp|epoch", re.IGNORECASE)


@dataclass(frozen=True)
class _Unit:
    name: str
    of_pandas: str
    per_second: int


_UNITS = (  # whose ranges do not overlap
    _Unit("seconds", "s", 1),
    _Unit("milliseconds", "ms", 10**3),
    _Unit("microseconds", "us", 10**6),
    _Unit("nanoseconds", "ns", 10**9),
)


def remarks_on_epochs(table: UserTable) -> list[str]:
    """Remarks on columns of numbers that look like dates, and how they are written as such."""
    remarks = []
    for column in table.columns:
        cells = [cell.strip() for cell in table.cells[column.name] if not is_missing(cell.strip())]
        unit = _unit_of(column.name, cells) if column.is_numeric and not column.numbers_rows else None
        if unit is None:
            continue
        first = datetime(1970, 1, 1) + timedelta(seconds=_number(cells[0]) // unit.per_second)
        how = f'`pandas.to_datetime(..., unit="{unit.of_pandas}")` makes them'
        if table.kind in ("json", "lines"):
            how = 'pandas does with `to_json(..., date_format="iso")`'
        remarks.append(
            f"`{in_comment([column.name])}` is read as numbers, and looks like dates in {unit.name} since 1970 "
            f"(`{cells[0]}` is {first:%Y-%m-%d %H:%M:%S}): for a forecast write them as dates, as {how}"
        )
    return remarks


def _unit_of(name: str, cells: Sequence[str]) -> _Unit | None:
    """The unit in which numbers are instants from 1990 to 2099; None where they seem to be something else.

    Dates have whole minutes, go forward, or are called so; numbers as large as seconds that go forward may count.
    """
    if len(set(cells[:100])) < 2 or not all(map(_WHOLE.fullmatch, cells)):
        return None
    numbers = [_number(cell) for cell in cells]
    least, most = min(numbers), max(numbers)
    for unit in _UNITS:
        if _FIRST * unit.per_second <= least and most < _LAST * unit.per_second:
            has_minutes = not any(number % (60 * unit.per_second) for number in numbers)
            goes_forward = unit.per_second > 1 and all(before <= after for before, after in pairwise(numbers))
            return unit if has_minutes or goes_forward or _NAME.search(name) is not None else None
    return None


def _number(cell: str) -> int:
    return int(cell.removesuffix(".0"))
