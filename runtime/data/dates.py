"""Columns that go on by a rule: dates and times by their step, numbers that count. For rows beyond the last one."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise, product
from typing import Any

from compiler.time_steps import TimeStep, counted
from runtime.data.instants import DAY, at_local, instant, is_of_days, later, local

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d")
_TIMES = ("", "{}%H:%M:%S", "{}%H:%M", "{}%H:%M:%S.%f", "{}%H")
_ZONES = ("", "Z", "%z")
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%Y-%b", "%b-%Y", "%b-%y", "%YM%m")
_QUARTER = re.compile(r"(\d{4})(-?Q)([1-4])")
_PADDED = re.compile(r"(?<!\d)0(?=\d(?!\d))")  # the zero before a day, a month or an hour of one digit
_HOURS_OFFSET = re.compile(r":\d\d(\.\d+)?[+-]\d\d$")  # as PostgreSQL writes `05:00:00+02`
_PER_YEAR = 12


@dataclass(frozen=True)
class Continued:
    """How a column goes on: `after(n)` is the cell of the n-th row beyond the last, from 1."""

    what: str  # for a person: "1 hour", "3 months"
    after: Callable[[int], Any]
    regular: bool = True  # whether every step was the same
    descends: bool = False  # whether it runs backwards


def continued(cells: Sequence[Any], format: str = "") -> Continued | None:
    """How the last cells of a column go on; None where they are neither dates nor numbers of one step.

    Cells are texts, numbers, or dates as Python has them. `format` is how dates are written, where it is known.
    """
    if len(cells) < 2 or any(cell is None for cell in cells):
        return None
    if all(isinstance(cell, datetime) for cell in cells):
        return _by_step(list(cells), lambda moment: moment)
    if all(isinstance(cell, date) for cell in cells):
        moments = [datetime(cell.year, cell.month, cell.day) for cell in cells]
        return _by_step(moments, lambda moment: moment.date())
    if all(isinstance(cell, int) and not isinstance(cell, bool) for cell in cells):
        return _counting(list(cells), int)
    if not all(isinstance(cell, str) for cell in cells):
        return None
    texts = [cell.strip() for cell in cells]
    return _of_dates(texts, format) or _of_quarters(texts) or _of_counts(texts)


def moments(texts: Sequence[str]) -> list[datetime] | None:
    """Cells as dates and times that go forward, in the UTC offset of the first one; None where they are others."""
    for _, zoned in readings([text.strip() for text in texts]):
        times = list(map(instant, zoned))
        if all(first < second for first, second in pairwise(times)):
            return [time + (local(zoned[0]) - times[0]) for time in times]
    return None


def are_dates(cells: Sequence[Any], format: str = "") -> bool:
    """Whether all cells are dates or times, in any order: as Python has them, or texts of one form, as of `format`."""
    if all(isinstance(cell, date) for cell in cells):
        return bool(cells)
    if not all(isinstance(cell, str) for cell in cells):
        return False
    return any(True for _ in _readings([cell.strip() for cell in cells], format))


def _of_dates(texts: list[str], known: str) -> Continued | None:
    """As the first way of writing dates that fits all; one in which every step is the same goes first."""
    candidates: list[Continued] = []
    for format, moments in _readings(texts, known):
        write = date_writer(format, texts, moments)
        way = _by_step(moments, write) if write is not None else None
        if way is not None:
            candidates.append(way)
    return next((way for way in candidates if way.regular), candidates[0] if candidates else None)


def readings(texts: list[str]) -> Iterator[tuple[str, list[datetime]]]:
    """The ways of writing dates that fit all texts, and the moments that the texts are by each; none of no text."""
    whole = (
        f"{day}{time.format(between)}{zone}"
        for day, time, between, zone in product(_DATES, _TIMES, " T", _ZONES)
        if time or (between == " " and not zone)
    )
    for format in (*whole, *_MONTHS) if texts else ():
        moments = _read(texts, format)
        if moments is not None:
            yield format, moments


def _readings(texts: list[str], known: str) -> Iterator[tuple[str, list[datetime]]]:
    """The reading by the format that is known, where it fits; else as `readings`."""
    moments = _read(texts, known) if known and texts else None
    if moments is None:
        yield from readings(texts)
    else:
        yield known, moments


def read_date(text: str, format: str) -> datetime:
    """The moment that a text of this format is; ValueError for any other. An offset may be of hours alone."""
    return datetime.strptime(_HOURS_OFFSET.sub(r"\g<0>00", text) if format.endswith("%z") else text, format)


def _read(texts: list[str], format: str) -> list[datetime] | None:
    """The moments that texts of one format are; None where one of them is not."""
    try:
        return [read_date(text, format) for text in texts]
    except ValueError:
        return None


def date_writer(format: str, texts: list[str], moments: list[datetime]) -> Callable[[datetime], str] | None:
    """What writes dates as the texts are; None where none of the ways does.

    Digits of a fraction, zeros before short numbers, and the colon and the minutes of a time zone may be there or not,
    and names of months and days may be in capitals or small letters.
    """
    if format == "%Y%m%d" and any(len(text) != 8 for text in texts):
        return None
    digits = len(texts[-1].partition(".")[2].rstrip("Z").split("+")[0].split("-")[0]) if "%f" in format else 0

    def padded(moment: datetime) -> str:
        text = moment.strftime(format)
        if moment.year < 1000 and "%Y" in format:  # which strftime does not fill up everywhere
            return ""
        fraction = f".{moment.microsecond:06d}"
        return text.replace(fraction, fraction[: digits + 1].ljust(digits + 1, "0")) if digits else text

    def with_colon(moment: datetime) -> str:
        text = padded(moment)
        return f"{text[:-2]}:{text[-2:]}"

    def with_hours(moment: datetime) -> str:
        text = padded(moment)
        return text[:-2] if text.endswith("00") else with_colon(moment)

    def unpadded(moment: datetime) -> str:
        return _PADDED.sub("", padded(moment))

    def zulu(moment: datetime) -> str:
        return with_colon(moment) if moment.utcoffset() else f"{padded(moment)[:-5]}Z"

    of_offsets = [with_colon, zulu, with_hours] if "%z" in format else []
    ways: list[Callable[[datetime], str]] = [padded, *of_offsets, unpadded]
    if any(name in format for name in ("%a", "%A", "%b", "%B", "%p")):
        ways += [_cased(way, change) for way in ways for change in (str.lower, str.upper)]
    return next(
        (way for way in ways if all(way(moment) == text for moment, text in zip(moments, texts, strict=True))), None
    )


def _cased(write: Callable[[datetime], str], change: Callable[[str], str]) -> Callable[[datetime], str]:
    return lambda moment: change(write(moment))


def _of_quarters(texts: list[str]) -> Continued | None:
    matches = [_QUARTER.fullmatch(text) for text in texts]
    if not all(matches):
        return None
    signs = {match[2] for match in matches if match}
    quarters = [4 * int(match[1]) + int(match[3]) - 1 for match in matches if match]
    if len(signs) > 1:
        return None
    (sign,) = signs
    return _counting(quarters, lambda number: f"{number // 4:04d}{sign}{number % 4 + 1}", "quarter")


def _of_counts(texts: list[str]) -> Continued | None:
    """Whole numbers that count, as years or time stamps do."""
    if not all(re.fullmatch(r"-?\d{1,18}(\.0+)?", text) for text in texts):
        return None
    fractions = {text.partition(".")[1:] for text in texts}
    if len(fractions) > 1:
        return None
    ((point, zeros),) = fractions
    return _counting([int(text.partition(".")[0]) for text in texts], lambda number: f"{number}{point}{zeros}")


def _counting(numbers: list[int], write: Callable[[int], Any], unit: str = "") -> Continued | None:
    """Whole numbers of one step other than 0."""
    steps = {after - before for before, after in pairwise(numbers)}
    if len(steps) != 1 or steps == {0}:
        return None
    (step,) = steps
    what = counted(step, unit) if unit else str(step)
    return Continued(what, lambda count: write(numbers[-1] + count * step), descends=step < 0)


def _by_step(moments: list[datetime], write: Callable[[datetime], Any]) -> Continued | None:
    """Dates whose steps are whole months, working days, or mostly one length of time; None of any others."""
    if len({moment.tzinfo is None for moment in moments}) > 1:
        return None
    last, times = moments[-1], list(map(local, moments))

    def at(time: datetime) -> Any:
        return write(at_local(time, last.tzinfo, last.utcoffset()))

    months = _months_between(times)
    if months is not None:
        ends = all(time.day == days_in(time.year, time.month) for time in times)
        what = str(TimeStep(months, in_months=True))
        day = 31 if ends else max(time.day for time in times)
        return Continued(what, lambda count: at(months_later(times[-1], count * months, day)), descends=months < 0)
    instants = list(map(instant, moments))
    steps, days = (Counter(after - before for before, after in pairwise(each)) for each in (instants, times))
    (step, most), (step_of_days, most_days) = steps.most_common(1)[0], days.most_common(1)[0]
    by_days = is_of_days(step_of_days) and most_days >= most  # of 23 or 25 hours, where clocks change
    if by_days:
        steps, step, most = days, step_of_days, most_days
    if not step or 2 * most <= len(moments) - 1:
        return None
    if _are_working_days(times):
        return Continued("1 working day", lambda count: at(_working_days_later(times[-1], count)))
    what = str(TimeStep(step // timedelta(microseconds=1)))

    def after(count: int) -> Any:
        return at(times[-1] + count * step) if by_days else write(later(last, count * step))

    return Continued(what, after, len(steps) == 1, step < timedelta(0))


def _months_between(moments: list[datetime]) -> int | None:
    """The months of every step, where the day in the month and the time of day stay; None of any other steps."""
    numbers = [_PER_YEAR * moment.year + moment.month for moment in moments]
    steps = {after - before for before, after in pairwise(numbers)}
    if len(steps) != 1 or steps == {0} or len({moment.time() for moment in moments}) > 1:
        return None
    day = max(moment.day for moment in moments)
    stays = all(moment.day == min(day, days_in(moment.year, moment.month)) for moment in moments)
    return steps.pop() if stays else None


def months_later(moment: datetime, months: int, day: int) -> datetime:
    """The day of that number in a later month, or its last one."""
    number = _PER_YEAR * moment.year + moment.month - 1 + months
    year, month = number // _PER_YEAR, number % _PER_YEAR + 1
    return moment.replace(year=year, month=month, day=min(day, days_in(year, month)))


def days_in(year: int, month: int) -> int:
    """The days of a month."""
    return calendar.monthrange(year, month)[1]


def _are_working_days(moments: list[datetime]) -> bool:
    """Whether all days are from Monday to Friday, each the working day after the one before it, over a weekend."""
    if any(moment.weekday() > 4 for moment in moments) or not any(moment.weekday() == 4 for moment in moments[:-1]):
        return False
    return all(_working_days_later(before, 1) == after for before, after in pairwise(moments))


def _working_days_later(moment: datetime, days: int) -> datetime:
    for _ in range(days):
        moment += DAY * (7 - moment.weekday() if moment.weekday() >= 4 else 1)
    return moment
