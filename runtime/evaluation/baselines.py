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
        numbers = series.numbers[:, [series.names.index(name) for name in columns]]
        return Past(series.rows, numbers, series.borders)

    def at(self, rows: Array) -> Array:
        """The values at rows [...], as [..., columns]; NaN where there is no such row."""
        if not len(self.rows):
            return np.full((*rows.shape, self.numbers.shape[1]), np.nan)
        index = np.clip(np.searchsorted(self.rows, rows), 0, len(self.rows) - 1)
        is_present = self.rows[index] == rows
        return np.where(is_present[..., None], self.numbers[index], np.nan)

    def before(self, origins: Array, rows: Array) -> Array:
        """The values at `rows: [origins, steps]`, which lie before their origins; NaN beyond a border."""
        files = [np.searchsorted(self.borders, numbers, side="right") for numbers in (origins[:, None], rows)]
        return np.where((files[0] == files[1])[..., None], self.at(rows), np.nan)


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


def baselines(past: Past, origins: Array, steps: Array, season: Season | None) -> dict[str, Array]:
    """What each baseline forecasts, by its name, as [origins, steps, columns].

    `origins: [n]` are the numbers of the last known rows, `steps` how many rows ahead each forecast is, from 1.
    """
    forecasts = {LAST: np.broadcast_to(past.at(origins)[:, None], (len(origins), len(steps), past.numbers.shape[1]))}
    if season is not None:
        back = steps - season.length * -(-steps // season.length)  # 0 or less: within the season up to the origin
        forecasts[SEASON] = past.before(origins, origins[:, None] + back[None, :])
    return forecasts
