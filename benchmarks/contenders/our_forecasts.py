"""Our forecasts, by `nablac train` and `nablac predict` as users type them."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.forecasting.station_table import DAY, HISTORY, LEVELS, TEST, time_of

SPECS = Path(__file__).parents[1] / "forecasting"


def forecasts(folder: Path, variant: str) -> dict[str, np.ndarray]:
    """By the spec `variant`: trained on `history.csv`, without a look at the test weeks."""
    shutil.copy(SPECS / f"{variant}.model", folder)
    run, table = folder / f"{variant} run", folder / f"{variant}.csv"
    _nablac("train", folder / f"{variant}.model", "-o", run, "-q")
    _nablac("predict", run, folder / "whole.csv", "--all", "-q", "-o", table)  # no forecast reads a later row
    result = {station: np.full((TEST // DAY, DAY), np.nan) for station in LEVELS}
    cells = {f"{time_of(HISTORY + hour):%Y-%m-%d %H:%M}": divmod(hour, DAY) for hour in range(TEST)}
    with table.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            day, hour = cells.get(row["time"], (0, -1))
            if int(row["step"]) == hour + 1:  # forecast at midnight
                result[row["station"]][day, hour] = float(row["predicted_load"])
    return result


def _nablac(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "nablac", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
