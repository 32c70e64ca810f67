"""The series in a table: which column has dates, which columns tell several series apart, and how often a row comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations, pairwise

from runtime.data.by_series import key_name
from runtime.data.date_steps import REGULAR, dates_of, step_of
from runtime.data.dates import are_dates, continued, readings
from runtime.data.instants import elapsed, local
from runtime.data.missing_dates import steps_in

LEAST_ROWS = 8  # of a series
_MOST_SERIES = 1_000
_MOST_KEYS = 6  # columns that are tried in pairs
_UNEVEN = [(timedelta(least), timedelta(most)) for least, most in ((28, 31), (90, 92), (365, 366))]  # months and so on


@dataclass(frozen=True)
class Rhythm:
    """How far a first forecast of rows at most `step` apart looks back and ahead, in rows, and what of their dates."""

    step: timedelta
    length: int
    horizon: int
    features: tuple[str, ...]


RHYTHMS = (
    Rhythm(timedelta(minutes=59), 96, 24, ("hour", "weekday")),
    Rhythm(timedelta(hours=1), 48, 24, ("hour", "weekday")),
    Rhythm(timedelta(hours=23), 32, 8, ("hour", "weekday")),
    Rhythm(timedelta(days=6), 28, 7, ("weekday", "yearday")),
    Rhythm(timedelta(days=27), 12, 4, ("yearday",)),
    Rhythm(timedelta(days=88), 12, 3, ("month",)),
    Rhythm(timedelta(days=360), 8, 4, ("month",)),
    Rhythm(timedelta.max, 5, 1, ()),
)


@dataclass(frozen=True)
class SeriesOfTable:
    """Rows that follow each other in time."""

    dates: str  # the column
    format: str  # of the dates, where they may be read in two ways, and else empty
    keys: tuple[str, ...]  # the columns that tell series apart; none of a single series
    count: int  # of the series
    shortest: int  # rows of the shortest series that has a few
    step: timedelta  # the most frequent one
    step_text: str  # the same for a person
    missing: int  # rows that steps of more than one leave out, where all are whole numbers of it

    def rhythm(self) -> Rhythm:
        """What to forecast: as usual for the step, or less where the series are short."""
        usual = next(rhythm for rhythm in RHYTHMS if self.step <= rhythm.step)
        length, horizon = usual.length, usual.horizon
        while length > 2 and self.shortest < 4 * (length + horizon):  # a fifth of the rows is for validation
            length, horizon = max(2, length // 2), max(1, horizon // 2)
        return Rhythm(usual.step, length, horizon, usual.features)


def series_of(cells: Mapping[str, Sequence[str]], possible_keys: Sequence[str]) -> SeriesOfTable | None:
    """The series of a table by column; None where no column has dates that go forward in each of its series.

    Keys are the first of `possible_keys`, or the first two, that make the dates go forward; none if they do already.
    """
    for name, column in cells.items():
        formats = _readings_of(column)
        if not formats:
            continue
        others = [key for key in possible_keys if key != name]
        pairs = combinations(others[:_MOST_KEYS], 2)
        for keys in ((), *((key,) for key in others), *pairs):
            series = _of(name, formats, keys, cells)
            if series is not None:
                return series
    return None


def date_columns(cells: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns of dates, in any order."""
    return [name for name, column in cells.items() if _readings_of(column)]


def first_step_back(column: Sequence[str]) -> int | None:
    """The index of the first row whose date is not after the one before; None where they go forward.

    Of several ways to read the dates it is the one in which they go forward longest.
    """
    texts = [cell.strip() for cell in column]
    steps = list(enumerate(pairwise(texts), 1))
    breaks = [
        next((row for row, (before, after) in steps if moments[after] <= moments[before]), None)
        for _, moments in _readings_of(column)
    ]
    rows = [row for row in breaks if row is not None]
    return max(rows) if rows and len(rows) == len(breaks) else None


def few_dates(cells: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The columns of dates of which there are too few different ones for a series, and how many there are."""
    counts = {name: len({cell.strip() for cell in column}) for name, column in cells.items()}
    few = {name: count for name, count in counts.items() if count < LEAST_ROWS}
    return {name: count for name, count in few.items() if _readings_of(cells[name], 1)}


def _readings_of(column: Sequence[str], least: int = LEAST_ROWS) -> list[tuple[str, dict[str, datetime]]]:
    """The formats that fit all cells of a column, with the moment of each cell; none where they are no dates."""
    texts = list(dict.fromkeys(cell.strip() for cell in column))
    if len(texts) < least or not are_dates(texts[:3]):
        return []
    return [(format, dict(zip(texts, moments, strict=True))) for format, moments in readings(texts)]


def _of(
    name: str,
    formats: list[tuple[str, dict[str, datetime]]],
    keys: tuple[str, ...],
    cells: Mapping[str, Sequence[str]],
) -> SeriesOfTable | None:
    """The series that the keys make, if their dates go forward; of two ways to read them the more regular one."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for key, cell in zip(keys_of(keys, cells, len(cells[name])), cells[name], strict=True):
        groups.setdefault(key, []).append(cell.strip())
    long = [texts for texts in groups.values() if len(texts) >= LEAST_ROWS]
    if not long or len(groups) > _MOST_SERIES or 2 * len(long) < len(groups):
        return None
    readable: list[tuple[float, str, timedelta]] = []
    for format, moments in formats:
        dates = [[moments[cell] for cell in texts] for texts in groups.values()]
        steps = _steps(dates, timedelta.resolution)
        if min(steps) > timedelta(0):
            steps = _steps(dates, steps.most_common(1)[0][0])
            step, times = steps.most_common(1)[0]
            is_regular = any(least <= min(steps) and max(steps) <= most for least, most in _UNEVEN)
            readable.append((1.0 if is_regular else times / steps.total(), format, step))
    if not readable:
        return None
    share = max(regular for regular, _, _ in readable)
    _, format, step = next(reading for reading in readable if reading[0] == share)
    first, *others = (list(map(local, moments.values())) for _, moments in formats)
    differ = any(moments != first for moments in others)
    goes_on = continued(long[0])
    text = goes_on.what if goes_on is not None else str(step)
    read = dict(formats)[format]
    missing = _missing([[read[cell] for cell in texts] for texts in groups.values()])
    return SeriesOfTable(name, format if differ else "", keys, len(groups), min(map(len, long)), step, text, missing)


def _steps(groups: Iterable[Sequence[datetime]], step: timedelta) -> Counter[timedelta]:
    """How often each step comes in series, between instants, or of local times where `step` is of whole days."""
    return Counter(elapsed(before, after, step) for moments in groups for before, after in pairwise(moments))


def _missing(groups: Sequence[Sequence[datetime]]) -> int:
    """The rows that `fill` would insert into series of one step; 0 where one has other steps, or many longer ones."""
    step = step_of(dates_of(max(groups, key=len)))
    if step is None:
        return 0
    missing = 0
    for moments in groups:
        steps = steps_in(moments, step)
        if steps is None or steps.count(1) < REGULAR * len(steps):
            return 0
        missing += sum(steps) - len(steps)
    return missing


def keys_of(keys: tuple[str, ...], cells: Mapping[str, Sequence[str]], count: int) -> Iterator[tuple[str, ...]]:
    """The key of each of `count` rows: the cells of these columns."""
    columns: list[list[str]] = []
    for key in keys:
        names = {cell: key_name(cell) for cell in set(cells[key])}
        columns.append([names[cell] for cell in cells[key]])
    return zip(*columns, strict=True) if keys else iter([()] * count)
