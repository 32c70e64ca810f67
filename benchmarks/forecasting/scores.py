"""The errors of forecasts of 24 hours from each midnight of the test weeks, where the load is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.forecasting.station_table import DAY, HISTORY, ROWS, TEST, Station, stations

ALL = "all stations"
Forecasts = Mapping[str, np.ndarray]  # by station: [days, 24], in kW


@dataclass(frozen=True)
class Score:
    """Errors in kW over the hours whose load is known."""

    mae: float
    rmse: float


def write_forecasts(path: Path, forecasts: Forecasts) -> None:
    """Write a file that `read_forecasts` reads."""
    np.savez(path, **forecasts)  # type: ignore[arg-type]


def read_forecasts(path: Path) -> Forecasts:
    """The forecasts of a file; ValueError where some are missing or not finite."""
    with np.load(path) as file:
        forecasts = dict(file)
    for station in stations():
        array = forecasts.get(station.name)
        if array is None or array.shape != (TEST // DAY, DAY) or not np.isfinite(array).all():
            raise ValueError(f"not {TEST // DAY} days of 24 finite numbers for {station.name}")
    return forecasts


def scores_of(forecasts: Forecasts) -> dict[str, Score]:
    """The score of each station, and of all of them together."""
    errors = {station.name: _errors(station, forecasts[station.name]) for station in stations()}
    errors[ALL] = np.concatenate(list(errors.values()))
    return {name: Score(float(np.abs(each).mean()), float(np.sqrt((each**2).mean()))) for name, each in errors.items()}


def _errors(station: Station, forecast: np.ndarray) -> np.ndarray:
    actual = station.load[HISTORY:ROWS]
    return (forecast.reshape(-1) - actual)[np.isfinite(actual)]
