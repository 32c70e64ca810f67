"""Models of neuralforecast: 1,000 steps, its default, on the week before; missing cells take the number before them."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forecasting.station_frame import CALENDAR, station_frame
from benchmarks.forecasting.station_table import DAY, LEVELS, TEST, VALIDATION, WEEK


def forecasts(folder: Path, variant: str) -> dict[str, np.ndarray]:
    """By the model that `variant` begins with, in its defaults; then `covariates`: temperature, calendar, scaling.

    Its `cross_validation` trains once, on the rows before the test weeks, and forecasts from each midnight.
    """
    import torch
    from neuralforecast import NeuralForecast, models

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    name, _, kind = variant.partition(" ")
    table = station_frame(folder).rename(columns={"station": "unique_id", "time": "ds", "load": "y"})
    options: dict[str, Any] = {}
    if kind:
        options = {"hist_exog_list": ["temperature"], "futr_exog_list": CALENDAR, "scaler_type": "standard"}
    else:
        table = table[["unique_id", "ds", "y"]]
    model = getattr(models, name)(
        h=DAY, input_size=WEEK, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip
    trained = NeuralForecast([model], freq="h")
    result = trained.cross_validation(table, n_windows=None, test_size=TEST, step_size=DAY, val_size=VALIDATION)
    result = result.sort_values(["unique_id", "ds"])
    return {
        station: result[result.unique_id == station][name].to_numpy(np.float64).reshape(TEST // DAY, DAY)
        for station in LEVELS
    }
