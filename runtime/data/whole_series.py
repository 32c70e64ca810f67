"""What of a whole series decides which rows are inserted into it: its length, and its day of the month."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise

from compiler.time_steps import TimeStep
from runtime.data.date_steps import is_wrong_date
from runtime.data.dated_rows import DatedRows
from runtime.data.dates import days_in
from runtime.data.instants import instant

_LEAP_YEAR = 2024
END = 31  # the day of dates that are at the ends of months, whichever days these are
_SHORTEST_MONTH = timedelta(days=28)


@dataclass
class MonthDay:
    """The day of the month of the dates of a series whose step is of so many `months`; they are looked at in order.

    The end of April is the end of a month, or a day 30: the first date that tells decides. In pandas these are
    `asfreq("ME")`, and `asfreq(DateOffset(months=1))` from a first date with that day. Where no date tells, as in
    `infer_freq` all are at the ends of months. A later date with another day does not fit.
    """

    months: int
    day: int = END
    is_decided: bool = False
    _latest: int = 0  # of the dates so far, all of which are at the ends of their months

    def look(self, moments: Iterable[datetime]) -> None:
        """More dates of the series."""
        for moment in moments:
            if self.is_decided:
                return
            if moment.day < days_in(moment.year, moment.month):
                self.day = moment.day if moment.day >= self._latest else END
                self.is_decided = True
            else:
                self._latest = max(self._latest, moment.day)
                self.is_decided = self._latest == self._longest(moment.month)

    def _longest(self, month: int) -> int:
        """The days of the longest month that steps lead to from this one."""
        return max(days_in(_LEAP_YEAR, (month + step - 1) % 12 + 1) for step in range(0, 12 * self.months, self.months))


class WholeSeries:
    """The length and the day of a series, whose rows are looked at in their order."""

    def __init__(self, step: TimeStep) -> None:
        self.count = 0  # rows
        self._month = MonthDay(step.amount) if step.in_months else None
        self._step = step.amount * _SHORTEST_MONTH if step.in_months else timedelta(microseconds=step.amount)
        self._longest = 0  # rows at the most that are missing between two
        self._last: datetime | None = None

    @property
    def day(self) -> int:
        """The day of dates in each month; that of a shorter month is its last one."""
        return self._month.day if self._month is not None else END

    @property
    def is_decided(self) -> bool:
        """Whether no later row changes what is inserted between those so far."""
        return (self._month is None or self._month.is_decided) and not is_wrong_date(self._longest, self.count)

    def look(self, dates: Sequence[datetime]) -> None:
        """More rows of the series, by their dates."""
        self.count += len(dates)
        if self._month is not None:
            self._month.look(dates)
        instants = [*((self._last,) if self._last is not None else ()), *map(instant, dates)]
        if instants:
            longest = max((after - before for before, after in pairwise(instants)), default=self._step)
            self._longest = max(self._longest, longest // self._step)
            self._last = instants[-1]


@dataclass
class WholeTable:
    """What is to be known of each series of a table, whose rows are looked at when it is first asked for."""

    step: TimeStep
    parts: Callable[[], Iterable[DatedRows]]  # all rows of the table, some at a time

    def of(self, series: int) -> WholeSeries:
        """What is to be known of a series, by its number."""
        return self._known[series]

    @cached_property
    def _known(self) -> dict[int, WholeSeries]:
        known: dict[int, WholeSeries] = {}
        for table in self.parts():
            for series, indices in table.spans():
                known.setdefault(series, WholeSeries(self.step)).look(table.dates(indices))
        return known
