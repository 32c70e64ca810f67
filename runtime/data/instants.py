"""Dates as instants and as local times: what is before what, how long it takes, and what comes later in a time zone.

Python subtracts two dates of the same zone by their local times, so an hour that clocks skip or repeat would count.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

DAY = timedelta(days=1)


def instant(moment: datetime) -> datetime:
    """The time in UTC, without a zone; that of a date without an offset is the date itself."""
    offset = moment.utcoffset()
    if offset is None:
        return moment
    try:
        return local(moment) - offset
    except OverflowError:  # in the first or the last year that there is
        return local(moment)


def local(moment: datetime) -> datetime:
    """The date and time as they are written, without the offset."""
    return moment.replace(tzinfo=None)


def elapsed(before: datetime, after: datetime, step: timedelta) -> timedelta:
    """The time from one date to another: between instants, or of local times where `step` is of whole days.

    A series of days may have the same local time or the same instant each day: what is a whole number of steps counts,
    local times first.
    """
    by_instants, by_local = instant(after) - instant(before), local(after) - local(before)
    if is_of_days(step) and (not by_local % step or by_instants % step):
        return by_local
    return by_instants


def is_of_days(step: timedelta) -> bool:
    """Whether a step is a whole number of days, which are of 23 to 25 hours where clocks change."""
    return bool(step) and not step % DAY


def later(moment: datetime, time: timedelta) -> datetime:
    """The instant so much later, in the same zone."""
    if moment.tzinfo is None:
        return moment + time
    return (moment.astimezone(UTC) + time).astimezone(moment.tzinfo)


def at_local(time: datetime, zone: tzinfo | None, offset: timedelta | None) -> datetime:
    """A local time in a zone, of whose two offsets it has this one where clocks repeat it; after a gap if they skip it.

    Without a zone or an `offset` it is the time itself.
    """
    if zone is None or offset is None:
        return time
    first = (time - offset).replace(tzinfo=UTC).astimezone(zone)
    if local(first) == time:
        return first
    second = (time - (first.utcoffset() or offset)).replace(tzinfo=UTC).astimezone(zone)
    return second if local(second) == time else max(first, second, key=local)
