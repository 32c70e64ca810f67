"""An hourly table of three stations, made from a seed: load and temperature, with seasons, weather, trend and gaps.

`python -m benchmarks.forecasting.station_table FOLDER` writes it: `history.csv` has the weeks for training and
validation, `whole.csv` the test weeks too.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

DAY, WEEK = 24, 168  # in rows, which are hours
TRAINING, VALIDATION, TEST = 18 * WEEK, 4 * WEEK, 4 * WEEK  # rows of each station, in this order
HISTORY = TRAINING + VALIDATION
ROWS = HISTORY + TEST
MISSING = 0.01  # of the cells
BEGIN = datetime(2024, 1, 1)  # a Monday
LEVELS = {"north": 120.0, "south": 240.0, "west": 180.0}  # kW
HOURS = {"north": 18, "south": 13, "west": 8}  # the hour of the highest peak: homes, offices, a bakery


@dataclass(frozen=True)
class Station:
    """One series: NaN where a cell is missing."""

    name: str
    temperature: np.ndarray  # [rows], in degrees Celsius
    load: np.ndarray  # [rows], in kW


def stations(seed: int = 1) -> list[Station]:
    """The series of the table."""
    random = np.random.default_rng(seed)
    hours = np.arange(ROWS)
    front = _smooth(random, 0.99, 0.55)  # weather that all stations have
    return [_station(name, random, hours, front) for name in LEVELS]


def _station(name: str, random: np.random.Generator, hours: np.ndarray, front: np.ndarray) -> Station:
    hour, day = hours % DAY, hours // DAY
    year = -np.cos(2 * np.pi * (day + 10) / 365)
    temperature = 9 + 9 * year + 4 * np.sin(2 * np.pi * (hour - 9) / DAY) + front + _smooth(random, 0.9, 0.3)
    weekend = day % 7 >= 5
    peak = HOURS[name] + np.where(weekend, 2, 0)
    shape = 0.30 * np.cos(2 * np.pi * (hour - peak) / DAY) + 0.12 * np.cos(4 * np.pi * (hour - peak) / DAY)
    shape = np.where(weekend, 0.6 * shape - 0.2, shape)
    felt = np.convolve(temperature, np.full(6, 1 / 6))[:ROWS]  # a house takes hours to cool
    heating = 0.02 * np.maximum(15 - felt, 0) + 0.015 * np.maximum(felt - 22, 0)
    closed = np.isin(day, random.choice(ROWS // DAY, 5, replace=False))  # days unlike others, which nothing announces
    trend = 1 + 0.1 * hours / ROWS
    noise = _smooth(random, 0.8, 0.012) + random.normal(0, 0.015, ROWS)
    load = LEVELS[name] * trend * (1 + shape + heating - 0.25 * closed + noise)
    columns = [np.where(random.random(ROWS) < MISSING, np.nan, values.round(1)) for values in (temperature, load)]
    return Station(name, *columns)


def _smooth(random: np.random.Generator, memory: float, deviation: float) -> np.ndarray:
    """Noise that remembers: each number is `memory` times the one before and a random one."""
    values = np.empty(ROWS)
    last = 0.0
    for index, shock in enumerate(random.normal(0, deviation, ROWS)):
        last = memory * last + shock
        values[index] = last
    return values


def time_of(row: int) -> datetime:
    """The date of a row."""
    return BEGIN + timedelta(hours=row)


def write_tables(folder: Path, seed: int = 1) -> None:
    """Write both tables; missing cells are empty."""
    for name, rows in (("history.csv", HISTORY), ("whole.csv", ROWS)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["station", "time", "temperature", "load"])
            for station in stations(seed):
                for row in range(rows):
                    numbers = (station.temperature[row], station.load[row])
                    cells = ("" if np.isnan(number) else f"{number:.1f}" for number in numbers)
                    table.writerow([station.name, f"{time_of(row):%Y-%m-%d %H:%M}", *cells])


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]))
