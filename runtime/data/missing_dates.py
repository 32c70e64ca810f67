"""The dates that are missing between two rows of a series, at a step that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from compiler.time_steps import TimeStep
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.calendar_features import moment_as
from runtime.data.date_order import check_offsets, goes_back
from runtime.data.date_steps import is_wrong_date
from runtime.data.dated_rows import DatedRow
from runtime.data.dates import date_writer, months_later
from runtime.data.instants import at_local, elapsed, instant, is_of_days, later, local
from runtime.data.whole_series import END, WholeSeries


@dataclass(frozen=True)
class Dates:
    """The dates in a column of a table, which are written in `format` and go on by `step`."""

    column: str
    format: str
    step: TimeStep
    path: str
    alone: bool  # whether all rows of the table are one series

    def between(self, before: DatedRow, after: DatedRow, series: Callable[[], WholeSeries]) -> list[str]:
        """The dates that are missing between two rows of a series, written as theirs.

        NablacError for dates that go back, are the same or lie between two steps, and for a gap that is too long. What
        is to be known of the whole `series` is asked for where something depends on it.
        """
        self._check_order(before, after)
        day = series().day if self.step.in_months else END
        steps = _steps_between(before.moment, after.moment, self.step, day)
        if steps is None:
            raise self._between_steps(before, after)
        missing = steps - 1
        if is_wrong_date(missing, 0) and is_wrong_date(missing, series().count):
            raise self._too_long(before, after, missing)
        return self._written(before, after, missing, day)

    def _check_order(self, before: DatedRow, after: DatedRow) -> None:
        """NablacError where the second date is not later than the first."""
        column, location = self.column, f"{self.path}:{after.line}"
        check_offsets(column, (before.text, before.moment), (after.text, after.moment), location)
        first, second = instant(before.moment), instant(after.moment)
        if second < first:
            raise goes_back(column, before.text, after.text, location, self.alone)
        if second == first:
            message = f"column `{column}` has the date of the row before, `{before.text}`"
            message += f", here written `{after.text}`" if after.text != before.text else ""
            hint = "remove one of the two rows"
            hint += ', or tell several series apart: `by("station")`' if self.alone else ""
            raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))

    def _between_steps(self, before: DatedRow, after: DatedRow) -> NablacError:
        from_to = f"from `{before.text}` to `{after.text}`"
        message = f"column `{self.column}`: {from_to} are not whole steps of {self.step}, at which `fill` inserts rows"
        hint = "correct the date, or leave out `rows`: then no row is inserted"
        return NablacError(Diagnostic(codes.E821, message, place=f"{self.path}:{after.line}", hint=hint))

    def _too_long(self, before: DatedRow, after: DatedRow, missing: int) -> NablacError:
        from_to = f"from `{before.text}` to `{after.text}`"
        message = f"column `{self.column}`: {from_to} {missing:,} rows are missing at a step of {self.step}, "
        message += "more than the series has"
        hint = "correct the date; a gap longer than its series is not filled"
        return NablacError(Diagnostic(codes.E821, message, place=f"{self.path}:{after.line}", hint=hint))

    def _written(self, before: DatedRow, after: DatedRow, count: int, day: int) -> list[str]:
        """The dates of so many rows after one."""
        if not count:
            return []
        text = after.text.strip()
        _, format = moment_as(text, [self.format])
        write = date_writer(format, [before.text.strip(), text], [before.moment, after.moment])
        missing = [_later(before.moment, after.moment, number, self.step, day) for number in range(1, count + 1)]
        return [write(moment) if write is not None else moment.strftime(format) for moment in missing]


def steps_in(dates: Sequence[datetime], step: TimeStep) -> list[int] | None:
    """How many steps lead from each date of a whole series to the next; None where some are not whole."""
    whole = WholeSeries(step)
    whole.look(dates)
    counts = [_steps_between(before, after, step, whole.day) for before, after in pairwise(dates)]
    known = [count for count in counts if count is not None]
    return known if len(known) == len(counts) else None


def _steps_between(before: datetime, after: datetime, step: TimeStep, day: int) -> int | None:
    """How many steps lead from one date to a later one; None where they are not whole. Months go on by one `day`."""
    if not step.in_months:
        one = timedelta(microseconds=step.amount)
        count, rest = divmod(elapsed(before, after, one), one)
        return count if count > 0 and not rest else None
    first, second = local(before), local(after)
    months = 12 * (second.year - first.year) + second.month - first.month
    count, off = divmod(months, step.amount)
    return count if count > 0 and not off and months_later(first, months, day) == second else None


def _later(before: datetime, after: datetime, steps: int, step: TimeStep, day: int) -> datetime:
    """The date so many steps after one that is before another: in its own time zone, or with its UTC offset."""
    if step.in_months:
        time = months_later(local(before), steps * step.amount, day)
        return at_local(time, before.tzinfo, before.utcoffset())
    one = timedelta(microseconds=step.amount)
    whole = elapsed(before, after, one)
    if is_of_days(one) and whole == local(after) - local(before):
        return at_local(local(before) + steps * one, before.tzinfo, before.utcoffset())
    return later(before, steps * one)
