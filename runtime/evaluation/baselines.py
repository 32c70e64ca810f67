"""What a forecast has to beat: the last value, and that of the last season."""

from __future__ import annotations

from dataclasses import dataclass
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
        told = "as --season says" if self.rows is None else f"found in the first {self.rows:,} rows"
        return f"{self.length:,} rows, {told}"


@dataclass(frozen=True, eq=False)
class Past:
    """The values of some columns of a series by the number of their row."""

    rows: Array
    numbers: Array  # [rows, columns]

    @staticmethod
    def of(series: Series, columns: tuple[str, ...]) -> Past | None:
        """The past of these columns; None where one of them is not in the series."""
        if any(name not in series.names for name in columns):
            return None
        return Past(series.rows, series.numbers[:, [series.names.index(name) for name in columns]])

    def at(self, rows: Array) -> Array:
        """The values at rows [...], as [..., columns]; NaN where there is no such row."""
        if not len(self.rows):
            return np.full((*rows.shape, self.numbers.shape[1]), np.nan)
        index = np.clip(np.searchsorted(self.rows, rows), 0, len(self.rows) - 1)
        there = self.rows[index] == rows
        return np.where(there[..., None], self.numbers[index], np.nan)


def season_of(past: Past, before: int, asked: int | None) -> Season | None:
    """The season of the first column: `asked`, or what the rows before row number `before` show.

    Where nothing lies before, as of data of its own, the first half of the series shows it. None where there is none.
    """
    if asked is not None:
        return Season(asked)
    known = int(np.searchsorted(past.rows, before))
    if known < len(past.rows) // 4:
        known = len(past.rows) // 2
    length = season_length(past.numbers[:known, 0])
    return Season(length, known) if length is not None else None


def baselines(past: Past, origins: Array, steps: Array, season: Season | None) -> dict[str, Array]:
    """What each baseline forecasts, by its name, as [origins, steps, columns].

    `origins: [n]` are the numbers of the last known rows, `steps` how many rows ahead each forecast is, from 1.
    """
    forecasts = {LAST: np.broadcast_to(past.at(origins)[:, None], (len(origins), len(steps), past.numbers.shape[1]))}
    if season is not None:
        back = steps - season.length * -(-steps // season.length)  # 0 or less: within the season up to the origin
        forecasts[SEASON] = past.at(origins[:, None] + back[None, :])
    return forecasts
