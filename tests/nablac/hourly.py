"""An hourly table of three stations with missing cells, whose last day is to be predicted, and a spec that does it."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

STATIONS = {"north": 120.0, "south": 240.0, "west": 180.0}
FIRST = datetime(2024, 3, 4)  # a Monday
PAST, LATER = 4 * 7 * 24, 24  # hours
SPEC = """
model Load(units = 12) {
    input past: [batch, 48, 7]
    input future: [batch, 24, 5]
    context = past -> GRU(units) -> Dense(24) -> unsqueeze(-1)
    output load = concat([context, future], axis: -1) -> GRU(units, sequences: true) -> Dense(1)
}

train Load {
    target next: [batch, 24, 1]
    loss       mse(load, next)
    metric     mae(load, next)
    optimizer  adam(lr: 1e-2)
    epochs     6
    batch      64
    data       csv("load.csv")
            -> by("station")
            -> fill("forward")
            -> calendar("time", features: ["hour", "weekday"])
            -> standardize(["load", "temperature", "price"])
            -> split(validation: 0.2, test: 0.2)
            -> window(["load", "temperature", "price", "hour_sin", "hour_cos", "weekday_sin", "weekday_cos"],
                      length: 48, horizon: 24, target: "load",
                      known: ["price", "hour_sin", "hour_cos", "weekday_sin", "weekday_cos"])
}
"""
Cells = dict[str, str]


def write_table(path: Path, later: int = LATER) -> None:
    """Four weeks and the hours after them, whose price alone is known; one cell in a hundred is missing."""
    generator = np.random.default_rng(5)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["station", "time", "temperature", "price", "load"])
        for station, level in STATIONS.items():
            weather, price = 0.0, 30
            for hour in range(PAST + later):
                time = FIRST + timedelta(hours=hour)
                weather = 0.99 * weather + generator.normal(0, 0.3)
                temperature = 8 + weather + 4 * np.sin((hour - 9) * np.pi / 12)
                price = int(generator.choice([20, 30, 40])) if hour % 4 == 0 else price
                demand = (1.0 if time.weekday() < 5 else 0.8) * (1 + 0.3 * np.sin((hour - 7) * np.pi / 12))
                load = level * (demand - 0.02 * weather - 0.015 * (price - 30) + generator.normal(0, 0.02))
                cells = [f"{number:.1f}" if generator.random() > 0.01 else "" for number in (temperature, price, load)]
                if hour >= PAST:
                    cells = ["", str(price), ""]
                table.writerow([station, time.strftime("%Y-%m-%d %H:%M"), *cells])


def rows_of(path: Path, station: str) -> list[Cells]:
    """The rows of a station."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["station"] == station]


def column(rows: list[Cells], name: str, filled: bool = False) -> np.ndarray:
    """A column as numbers, with NaN for missing cells, or the last number before them."""
    numbers: list[float] = []
    for row in rows:
        before = numbers[-1] if filled and numbers else float("nan")
        numbers.append(float(row[name]) if row[name] else before)
    return np.array(numbers)


def waves(rows: list[Cells]) -> np.ndarray:
    """Where the hours lie on the circles of the day and of the week [rows, 4]."""
    times = [datetime.strptime(row["time"], "%Y-%m-%d %H:%M") for row in rows]
    day = np.array([2 * np.pi * time.hour / 24 for time in times])
    week = np.array([2 * np.pi * (time.weekday() + time.hour / 24) / 7 for time in times])
    return np.stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)], axis=1)
