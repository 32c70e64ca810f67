"""What a forecast has to beat: the last value, and that of the last season."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from runtime.evaluation.seasons import season_length

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Series

LAST, SEASON = "last value", "last season"


@dataclass(frozen=True)
class Season:
    """The length of a season in rows, and who says so: the user, or the first `rows` rows of the series."""

    length: int
    rows: int | None = None

    def __str__(self) -> str:
        source = "as --season says" if self.rows is None else f"found in the first {self.rows:,} rows"
        return f"{self.length:,} rows, {source}"


@dataclass(frozen=True, eq=False)
class Past:
    """The values of some columns of a series by the number of their row."""

    rows: Array
    numbers: Array  # [rows, columns]
    # The numbers of rows before which nothing is their past: a file or a series begins there.
    borders: tuple[int, ...] = ()

    @staticmethod
    def of(series: Series, columns: tuple[str, ...]) -> Past | None:
        """The past of these columns; None where one of them is not in the series."""
        if any(name not in series.names for name in columns):
            return None
        return Past(series.rows, series.columns(columns), series.borders)

    def files_of(self, rows: Array) -> Array:
        """Between which borders rows of these numbers lie."""
        return np.asarray(np.searchsorted(self.borders, rows, side="right"))


def season_of(past: Past, before: int, period: int | None) -> Season | None:
    """The season of the first column: `period`, or what the rows before row number `before` show.

    Where nothing lies before, as of data of its own, the first half of the series shows it; of a series with gaps the
    longest run of rows does. None where there is none.
    """
    if period is not None:
        return Season(period)
    known = int(np.searchsorted(past.rows, before))
    first = int(np.searchsorted(past.rows, past.borders[0])) if past.borders else len(past.rows)
    if known < first // 4:
        known = first // 2
    start, end = _longest_run(past.rows[:known])
    length = season_length(past.numbers[start:end, 0])
    return Season(length, known) if length is not None else None


def _longest_run(rows: Array) -> tuple[int, int]:
    """Where the longest run of consecutive numbers begins and ends."""
    ends = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    return max(pairwise(ends), key=lambda run: run[1] - run[0])


class LastKnown:
    """The last known value at or before a row, and a multiple of `period` rows before it, within the same borders."""

    def __init__(self, past: Past, period: int) -> None:
        self.past, self.period = past, period
        self.length = int(past.rows[-1]) + 1 if len(past.rows) else 1
        order = np.argsort(self._key(past.rows), kind="stable")
        self.known = [order[np.isfinite(numbers[order])] for numbers in past.numbers.T]  # of each column
        self.keys = [self._key(past.rows[known]) for known in self.known]

    def _key(self, rows: Array) -> Array:
        """A number by which rows of one remainder follow each other."""
        return np.asarray(rows % self.period * self.length + rows)

    def at(self, rows: Array) -> Array:
        """The values for rows [...], as [..., columns]; NaN where none is known."""
        values = np.full((*rows.shape, len(self.known)), np.nan)
        inside = (rows >= 0) & (rows < self.length)
        for column, (known, keys) in enumerate(zip(self.known, self.keys, strict=True)):
            index = np.searchsorted(keys, self._key(rows), side="right") - 1
            has_earlier = inside & (index >= 0)
            row = known[index[has_earlier]]
            earlier, asked = self.past.rows[row], rows[has_earlier]
            same = (earlier % self.period == asked % self.period) & (
                self.past.files_of(earlier) == self.past.files_of(asked)
            )
            values[has_earlier, column] = np.where(same, self.past.numbers[row, column], np.nan)
        return values


class Baselines:
    """What each baseline forecasts, from the values of a series that are known."""

    def __init__(self, past: Past, season: Season | None) -> None:
        self.past, self.season = past, season
        self.last = LastKnown(past, 1)
        self.seasonal = LastKnown(past, season.length) if season is not None else None

    def forecasts(self, origins: Array, steps: Array) -> dict[str, Array]:
        """The forecasts by the name of the baseline, [..., columns]; NaN where nothing is known before.

        `origins` are the numbers of the last known rows, `steps` how many rows ahead each forecast is, from 1, in
        shapes that broadcast together.
        """
        origins, steps = np.broadcast_arrays(origins, steps)
        forecasts = {LAST: self.last.at(origins)}
        if self.season is not None and self.seasonal is not None:
            # 0 or less: within the season up to the origin
            back = steps - self.season.length * -(-steps // self.season.length)
            values = self.seasonal.at(origins + back)
            same = self.past.files_of(origins) == self.past.files_of(origins + back)
            forecasts[SEASON] = np.where(same[..., None], values, np.nan)
        return forecasts
