"""A model that forecasts from windows of a table, and a table of several series, for tests of what windows hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def forecaster(data: str, length: int, columns: int = 1, horizon: int = 1) -> str:
    """The spec of a linear model of windows [length, columns] of `s.csv`, which `data` cuts."""
    return f"""
model Forecaster {{
    input x: f32[batch, {length}, {columns}]
    output y = x -> Flatten() -> Dense({horizon})
}}
train Forecaster {{
    target next: f32[batch, {horizon}]
    loss mse(y, next)
    epochs 2
    validation 0.25
    data csv("s.csv") -> {data}
}}
"""


def write_stations(path: Path, times: Sequence[str], cells: Iterable[Sequence[object]]) -> None:
    """Write the columns `time`, `station` and `v`; `cells` are those of each station, whose rows take turns."""
    rows = [f"{time},{station},{cell}" for time, row in zip(times, zip(*cells, strict=True), strict=True)
            for station, cell in enumerate(row)]  # fmt: skip
    path.write_text("\n".join(["time,station,v", *rows]) + "\n")
