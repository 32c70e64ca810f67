"""The benchmark of forecasts: its table, its scores, and that our specs are as short as they are said to be."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.contenders import CONTENDERS
from benchmarks.forecasting.scores import ALL, read_forecasts, scores_of, write_forecasts
from benchmarks.forecasting.station_table import DAY, HISTORY, LEVELS, ROWS, TEST, WEEK, stations, write_tables
from benchmarks.tables.day_ahead import OURS
from tests.command_line import invoke

SPECS = Path(__file__).parents[1] / "benchmarks" / "forecasting"
VARIANTS = [CONTENDERS[name].variant for name in OURS]


def test_the_table_has_three_stations_with_one_cell_in_a_hundred_missing(tmp_path: Path) -> None:
    write_tables(tmp_path)
    whole, history = (list(csv.DictReader((tmp_path / name).open())) for name in ("whole.csv", "history.csv"))
    assert len(whole) == 3 * ROWS and len(history) == 3 * HISTORY
    assert all(row in whole for row in history[:50])
    missing = sum(cell == "" for row in whole for cell in row.values())
    assert 0.008 < missing / (2 * 3 * ROWS) < 0.012
    assert {row["station"] for row in whole} == set(LEVELS)


def test_the_same_seed_makes_the_same_series() -> None:
    first, same, other = (stations(seed)[0].load for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other, equal_nan=True)


def test_naive_forecasts_are_the_rows_before_and_scores_their_errors(tmp_path: Path) -> None:
    contender = CONTENDERS["same hour last week"]
    forecasts = contender.load().forecasts(tmp_path, contender.variant)
    write_forecasts(tmp_path / "f.npz", forecasts)
    scores = scores_of(read_forecasts(tmp_path / "f.npz"))
    station = next(station for station in stations() if station.name == "south")
    errors = []
    for row in range(HISTORY, ROWS):
        before = row - WEEK
        while np.isnan(station.load[before]):
            before -= 1
        if not np.isnan(station.load[row]):
            errors.append(station.load[row] - station.load[before])
    assert scores["south"].mae == pytest.approx(sum(map(abs, errors)) / len(errors))
    assert scores["south"].rmse == pytest.approx((sum(error**2 for error in errors) / len(errors)) ** 0.5)
    assert min(scores[name].mae for name in LEVELS) < scores[ALL].mae < max(scores[name].mae for name in LEVELS)


@pytest.mark.parametrize("shape", [(TEST // DAY, DAY - 1), (TEST // DAY, DAY)])
def test_incomplete_forecasts_have_no_score(shape: tuple[int, int], tmp_path: Path) -> None:
    write_forecasts(tmp_path / "f.npz", {name: np.full(shape, np.nan) for name in LEVELS})
    with pytest.raises(ValueError, match="finite numbers for north"):
        read_forecasts(tmp_path / "f.npz")


@pytest.mark.parametrize("variant", VARIANTS)
def test_our_specs_fit_on_a_page_and_know_nothing_of_the_test_weeks(variant: str, tmp_path: Path) -> None:
    text = (SPECS / f"{variant}.model").read_text("utf-8")
    assert len(text.splitlines()) <= 30
    assert 'csv("history.csv")' in text and "whole.csv" not in text
    write_tables(tmp_path)
    (tmp_path / "load.model").write_text(text, "utf-8")
    assert invoke("fmt", "--check", "load.model", folder=tmp_path).exit_code == 0
    tried = invoke("train", "load.model", "--dry-run", "-q", folder=tmp_path)
    assert tried.exit_code == 0, tried.output
