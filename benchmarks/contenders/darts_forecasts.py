"""Models of darts, on the week before, with the temperature, the calendar and standardised numbers.

A network's best epoch is chosen by the validation weeks, as ours is: darts' default is 100 epochs, the last of which
counts.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.forecasting.station_frame import CALENDAR, station_frame
from benchmarks.forecasting.station_table import DAY, HISTORY, LEVELS, TEST, TRAINING, WEEK


def forecasts(folder: Path, variant: str) -> dict[str, np.ndarray]:
    """By the model `variant` in its defaults; trained once on the training weeks, it forecasts from each midnight."""
    from darts import TimeSeries, models
    from darts.dataprocessing.transformers import Scaler
    from sklearn.preprocessing import StandardScaler

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    table = station_frame(folder)
    series: dict[str, list[Any]] = {}
    for name, columns in (("load", ["load"]), ("temperature", ["temperature"]), ("calendar", CALENDAR)):
        parts = [table[table.station == station] for station in LEVELS]
        series[name] = [TimeSeries.from_dataframe(part, "time", columns).astype(np.float32) for part in parts]
    scalers = {}
    for name in ("load", "temperature"):
        scalers[name] = Scaler(StandardScaler()).fit([each[:TRAINING] for each in series[name]])
        series[name] = scalers[name].transform(series[name])
    covariates = {"past_covariates": series["temperature"], "future_covariates": series["calendar"]}
    training = [each[:TRAINING] for each in series["load"]]
    if variant == "LinearRegressionModel":
        hours = {"lags": WEEK, "lags_past_covariates": WEEK, "lags_future_covariates": (0, DAY)}
        model = models.LinearRegressionModel(**hours, output_chunk_length=DAY).fit(training, **covariates)
    else:
        validation = [each[TRAINING - WEEK : HISTORY] for each in series["load"]]
        model = _train(getattr(models, variant), folder, training, validation, covariates)
    days = model.historical_forecasts(
        series["load"], **covariates, start=HISTORY, start_format="position",
        forecast_horizon=DAY, stride=DAY, retrain=False, last_points_only=False, verbose=False,
    )  # fmt: skip
    result = {}
    for station, of_station in zip(LEVELS, scalers["load"].inverse_transform(days), strict=True):
        result[station] = np.stack([day.values()[:, 0] for day in of_station]).astype(np.float64)
        assert result[station].shape == (TEST // DAY, DAY)
    return result


def _train(kind: Any, folder: Path, training: list[Any], validation: list[Any], covariates: dict[str, Any]) -> Any:
    import torch
    from pytorch_lightning.callbacks import EarlyStopping

    torch.set_num_threads(1)
    trainer = {
        "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False,
        "callbacks": [EarlyStopping("val_loss", patience=6)],
    }  # fmt: skip
    model = kind(
        input_chunk_length=WEEK, output_chunk_length=DAY, random_state=1, pl_trainer_kwargs=trainer,
        work_dir=str(folder), model_name="best", save_checkpoints=True,
    )  # fmt: skip
    of_validation = {f"val_{name}": series for name, series in covariates.items()}
    model.fit(training, val_series=validation, **covariates, **of_validation, verbose=False)
    return kind.load_from_checkpoint("best", work_dir=str(folder), best=True)
