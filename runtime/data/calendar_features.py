"""Features of dates for the stage `calendar`: the hour, the weekday and so on, as numbers and on a circle."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.data import CALENDAR
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.dates import read_date, readings
from runtime.data.instants import local

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span

_WAVES: Mapping[str, Callable[[float], float]] = {"_sin": math.sin, "_cos": math.cos}


def _day(moment: datetime) -> float:
    """The part of a day that has passed."""
    return (moment.hour + (moment.minute + moment.second / 60) / 60) / 24


def _days_in_month(moment: datetime) -> int:
    return calendar.monthrange(moment.year, moment.month)[1]


def _year(moment: datetime) -> float:
    """The part of a year that has passed."""
    days = 366 if calendar.isleap(moment.year) else 365
    return (moment.timetuple().tm_yday - 1 + _day(moment)) / days


# The number of each feature, and the part of its period that has passed; None where it has no period
_FEATURES: Mapping[str, tuple[Callable[[datetime], float], Callable[[datetime], float] | None]] = {
    "minute": (lambda moment: moment.minute, lambda moment: (moment.minute + moment.second / 60) / 60),
    "hour": (lambda moment: moment.hour, _day),
    "weekday": (lambda moment: moment.weekday(), lambda moment: (moment.weekday() + _day(moment)) / 7),
    "weekend": (lambda moment: float(moment.weekday() >= 5), None),
    "day": (lambda moment: moment.day, lambda moment: (moment.day - 1 + _day(moment)) / _days_in_month(moment)),
    "yearday": (lambda moment: moment.timetuple().tm_yday, _year),
    "month": (
        lambda moment: moment.month,
        lambda moment: (moment.month - 1 + (moment.day - 1 + _day(moment)) / _days_in_month(moment)) / 12,
    ),
    "quarter": (lambda moment: (moment.month + 2) // 3, None),
    "year": (lambda moment: moment.year, None),
}
assert set(_FEATURES) == set(CALENDAR)
_FINAL_Z = re.compile(r"(?<!%)Z$")
_YEAR_FIRST = re.compile(r"\d{4}-")
_EXAMPLE = datetime(2024, 12, 31, 23, 59, 58, tzinfo=timezone(timedelta(hours=1)))


@dataclass(frozen=True)
class Calendar:
    """A request for `features` of the dates in `column`, which are written in `format`, as `strptime` has it.

    `hour` is the number of the hour, from 0; `hour_sin` and `hour_cos` are where it lies on the circle of a day.
    """

    column: str
    features: tuple[str, ...]
    format: str

    @staticmethod
    def of(arguments: Mapping[str, Any], format: str) -> Calendar:
        """The request of a stage with these arguments."""
        features = arguments["features"]
        return Calendar(
            str(arguments["column"]), tuple(features) if isinstance(features, list) else (features,), format
        )

    @property
    def names(self) -> list[str]:
        """The columns that it adds."""
        waves = {feature: _WAVES if _FEATURES[feature][1] is not None else () for feature in self.features}
        return [name for feature in self.features for name in (feature, *(feature + wave for wave in waves[feature]))]

    def numbers(self, name: str, cells: Sequence[str]) -> Array:
        """The column `name` for the dates in `cells`, with NaN for what is no date."""
        feature = next(feature for feature in self.features if name in (feature, f"{feature}_sin", f"{feature}_cos"))
        number, passed = _FEATURES[feature]
        wave = _WAVES.get(name.removeprefix(feature))

        def of(moment: datetime | None) -> float:
            if moment is None:
                return math.nan
            if wave is None or passed is None:
                return float(number(moment))
            return wave(2 * math.pi * passed(moment))

        moments = [None if moment is None else local(moment) for moment in self.moments(cells)]
        known = {moment: of(moment) for moment in dict.fromkeys(moments)}  # several series have the same dates
        return np.array([known[moment] for moment in moments])

    def moments(self, cells: Sequence[str]) -> list[datetime | None]:
        """The dates in cells, with the UTC offsets that they have; None for what is no date."""
        ways, known = [_zoned(self.format)], dict[str, datetime | None]()
        for cell in dict.fromkeys(cells):
            text = cell.strip()
            known[cell] = moment_of(text, ways[0])
            if known[cell] is None:
                known[cell], way = moment_as(text, ways)
                ways += [way] if way not in ways else []  # later cells are read by it without a search
        return [known[cell] for cell in cells]


def moment_as(text: str, formats: Sequence[str]) -> tuple[datetime | None, str]:
    """The date that a text is by the first of the formats that fits, and that format; None where it is no date.

    Dates that begin with the year fit too, as they cannot be misread: the text alone decides, whatever stands around
    it.
    """
    for format in map(_zoned, chain(formats, _with_year_first(text, formats))):
        moment = moment_of(text, format)
        if moment is not None:
            return moment, format
    return None, formats[0]


def _zoned(format: str) -> str:
    """A format in which a `Z` at the end is an offset like any other: it may be that of the winter alone."""
    return _FINAL_Z.sub("%z", format)


def moment_of(text: str, format: str) -> datetime | None:
    """The date that a text is, if it is written in this format."""
    try:
        return read_date(text, format)
    except ValueError:
        return None


def _with_year_first(text: str, formats: Sequence[str]) -> Iterator[str]:
    """Other formats of a text that begins with a year; none beside one that has the day next."""
    if _YEAR_FIRST.match(text) and not any(format.startswith("%Y-%d") for format in formats):
        yield from (format for format, _ in readings([text]) if format.startswith("%Y-"))


def not_a_date(cell: str, format: str) -> tuple[str, str | None]:
    """What is wrong with a cell that is no date as those of the training data, written in this format; and a hint."""
    if not cell.strip():
        return "the cell is empty", None
    try:
        example = _EXAMPLE.strftime(format).replace("+0100", "+01:00")
    except ValueError:
        example = format
    what = f"`{cell[:40]}{'..' if len(cell) > 40 else ''}` is not a date as the others are"
    return what, f"the dates of the training data are written as in `{example}`: `{format}`"


def format_of(cells: Sequence[str], column: str, path: str, span: Span | None) -> str:
    """The way in which the dates of a column are written: the one that fits all cells, or else the first of them.

    NablacError where the cells are no dates, or may be read in two ways.
    """
    texts = list(dict.fromkeys(text for cell in cells if (text := cell.strip())))
    ways = list(readings(texts)) or list(readings(texts[:1]))
    if not ways:
        shown = f": `{texts[0][:40]}`" if texts else ""
        message = f"column `{column}` of {path} holds no dates{shown}"
        hint = "as in `2024-12-31`, `31.12.2024` or `2024-12-31 23:59`; others are read as you say: "
        hint += '`format: "%d-%b-%Y %I:%M %p"` reads `31-Dec-2024 11:59 PM`'
        raise NablacError(Diagnostic(codes.E823, message, span, hint=hint))
    first, moments = ways[0]
    other = next((format for format, others in ways[1:] if _naive(others) != _naive(moments)), None)
    if other is not None:
        message = f"the dates in column `{column}` of {path} may be read in two ways: `{texts[0]}`"
        hint = f'`format: "{first}"` or `format: "{other}"` says which'
        raise NablacError(Diagnostic(codes.E823, message, span, hint=hint))
    return first


def _naive(moments: Sequence[datetime]) -> list[datetime]:
    """Moments without time zones, as features are made of them: the `Z` of `05:00Z` may be read as one or as a sign."""
    return list(map(local, moments))


def calendar_of(calendars: Sequence[Calendar], name: str) -> Calendar | None:
    """What adds a column; None where nothing does."""
    return next((request for request in calendars if name in request.names), None)


def calendar_requests(stages: Iterable[Any], formats: Mapping[str, str]) -> tuple[Calendar, ...]:
    """What the stages of a recipe add; `formats` are those of the training data by column."""
    return tuple(
        Calendar.of(stage.arguments, formats[stage.arguments["column"]]) for stage in stages if stage.name == "calendar"
    )
