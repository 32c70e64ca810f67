"""The length of a season, of series of which it is known."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.data.examples import Series
from runtime.evaluation.baselines import LAST, SEASON, Baselines, Past, Season, season_of
from runtime.evaluation.seasons import season_length
from tests.paths import ROOT

_RNG = np.random.default_rng(4)
_TIME = np.arange(400.0)
SERIES = {
    "a wave of 24": (np.sin(2 * np.pi * _TIME / 24), 24),
    "a wave of 7 in noise": (np.sin(2 * np.pi * _TIME / 7) + _RNG.normal(size=400) / 2, 7),
    "a wave of 12 on a trend": (np.sin(2 * np.pi * _TIME / 12) + _TIME / 10, 12),
    "days and weeks": (np.sin(2 * np.pi * _TIME / 24) + 0.2 * np.sin(2 * np.pi * _TIME / 168), 24),
    "two values in turn": (np.tile([1.0, 5.0], 30), 2),
    "noise": (_RNG.normal(size=400), None),
    "a straight line": (3 * _TIME + 2, None),
    "always the same": (np.full(50, 7.0), None),
    "too few": (np.array([1.0, 2.0, 1.0]), None),
    "weeks of hours with every hundredth missing": (
        np.where(np.arange(2000) % 100 == 37, np.nan, np.tile(_RNG.normal(size=168), 12)[:2000]),
        168,
    ),
    "a wave of 12 that begins and ends late": (
        np.where((_TIME < 150) | (_TIME > 350), np.nan, np.sin(2 * np.pi * _TIME / 12)),
        12,
    ),
    "a wave of 12 with missing values": (np.where(_TIME == 9, np.nan, np.sin(2 * np.pi * _TIME / 12)), 12),
}


@pytest.mark.parametrize("case", SERIES)
def test_seasons(case: str) -> None:
    series, expected = SERIES[case]
    assert season_length(series) == expected
    assert season_length(series * 1e6 - 3e7) == expected  # in other units


def test_the_season_of_the_passengers_is_a_year() -> None:
    rows = (ROOT / "specs/data/airline-passengers.csv").read_text().split()[1:]
    assert season_length(np.array([float(row.split(",")[1]) for row in rows])) == 12


def _series(numbers: np.ndarray, rows: np.ndarray) -> Series:
    return Series(("v", "w"), np.stack([numbers, -numbers], axis=1), rows, rows + 2)


def test_baselines_repeat_the_last_value_and_the_last_season() -> None:
    past = Past.of(_series(np.arange(20.0), np.arange(20)), ("w",))
    assert past is not None and Past.of(_series(np.arange(20.0), np.arange(20)), ("other",)) is None
    forecasts = Baselines(past, Season(3)).forecasts(np.array([[9], [11]]), np.array([1, 2, 3, 4, 5, 6, 7]))
    assert forecasts[LAST][:, :, 0].tolist() == [[-9.0] * 7, [-11.0] * 7]
    assert forecasts[SEASON][0, :, 0].tolist() == [-7, -8, -9, -7, -8, -9, -7]


def test_baselines_step_back_over_rows_that_are_missing_but_not_over_borders() -> None:
    """As pandas: `ffill` of all rows, and of every third row."""
    present = np.array([0, 1, 2, 5, 6, 7, 8, 12, 13, 14, 17])
    numbers = np.where(np.isin(present, (6, 8, 13)), np.nan, present * 10.0)
    past = Past(present, np.stack([numbers, -numbers], axis=1), borders=(8,))
    rows = pytest.importorskip("pandas").Series(numbers, present).reindex(range(18))
    files = np.arange(18) >= 8
    last = rows.groupby(files).ffill()
    seasons = rows.groupby([files, np.arange(18) % 3]).ffill()
    origins = np.arange(2, 17)
    forecasts = Baselines(past, Season(3)).forecasts(origins[:, None], np.array([1, 2, 4]))
    np.testing.assert_array_equal(
        forecasts[LAST], np.stack([last[origins], -last[origins]], axis=1)[:, None].repeat(3, axis=1)
    )
    for index, back in enumerate((-2, -1, -2)):
        expected = np.where(files[origins] == files[origins + back], seasons[origins + back], np.nan)
        np.testing.assert_array_equal(forecasts[SEASON][:, index], np.stack([expected, -expected], axis=1))
    assert np.isnan(forecasts[LAST]).any() and np.isfinite(forecasts[SEASON]).any()


def test_a_season_is_looked_for_between_gaps() -> None:
    wave = np.sin(2 * np.pi * np.arange(60) / 12)
    rows = np.concatenate([np.arange(10), np.arange(13, 63), np.arange(66, 86)])
    past = Past.of(_series(np.concatenate([wave[:10], wave[:50], wave[5:25]]), rows), ("v",))
    assert past is not None and season_of(past, 86, None) == Season(12, 80)


def test_a_season_is_looked_for_in_the_rows_before_the_forecasts() -> None:
    wave = np.concatenate([np.sin(2 * np.pi * _TIME[:200] / 8), _RNG.normal(size=200)])
    past = Past.of(_series(wave, np.arange(400)), ("v",))
    assert past is not None
    assert season_of(past, 200, None) == Season(8, 200)
    assert season_of(past, 200, 5) == Season(5)
    assert season_of(past, 0, None) == Season(8, 200)  # nothing lies before: the first half shows it
