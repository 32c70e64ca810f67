"""The whole table as a data frame of pandas with the calendar, for libraries that read one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forecasting.station_table import DAY, WEEK

PERIODS = {"hour": DAY, "weekday": WEEK}
CALENDAR = [f"{feature}_{wave}" for feature in PERIODS for wave in ("sin", "cos")]


def station_frame(folder: Path) -> Any:
    """`whole.csv` with the columns of `CALENDAR`; missing cells take the number before them."""
    import pandas

    table = pandas.read_csv(folder / "whole.csv", parse_dates=["time"])
    table[["load", "temperature"]] = table.groupby("station")[["load", "temperature"]].ffill().bfill()
    hours = table.time.dt.weekday * DAY + table.time.dt.hour
    for feature, period in PERIODS.items():
        table[f"{feature}_sin"] = np.sin(2 * np.pi * hours / period)
        table[f"{feature}_cos"] = np.cos(2 * np.pi * hours / period)
    return table
