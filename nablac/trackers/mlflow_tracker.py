"""Runs in MLflow: parameters, metrics by epoch, and the files of the run."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nablac.callbacks import Callback, RunFacts
from nablac.trackers.tracker_entries import missing

if TYPE_CHECKING:
    from nablac.history import History

_FILES = ("curves.svg", "history.csv", "run.json")  # of a run's folder; the weights stay there
_LONGEST = 500  # characters of a parameter


class MLflowTracker(Callback):
    """Writes where MLFLOW_TRACKING_URI says, else to the folder `mlruns`, without a server."""

    def __init__(self) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise missing("mlflow", "mlflow") from error
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow asks for from 3.13 on
            uri = Path("mlruns").absolute().as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        self._run = ""
        self._folder: Path | None = None

    def on_train_begin(self, facts: RunFacts) -> None:
        """Create a run in the experiment of the model's name, or of MLFLOW_EXPERIMENT_NAME."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or facts.model
        experiment = self._client.get_experiment_by_name(name)
        key = experiment.experiment_id if experiment is not None else self._client.create_experiment(name)
        run_name = facts.folder.name if facts.folder is not None else None
        self._run, self._folder = self._client.create_run(key, run_name=run_name).info.run_id, facts.folder
        for parameter, value in {**facts.settings, **facts.hypers}.items():
            self._client.log_param(self._run, parameter, str(value)[:_LONGEST])

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics at this epoch."""
        for name, value in metrics.items():
            self._client.log_metric(self._run, name, value, step=epoch)

    def on_train_end(self, history: History) -> None:
        """Log the best epoch and the files of the run's folder, and end the run."""
        if history.best is not None and history.best_epoch is not None and math.isfinite(history.best):
            self._client.log_metric(self._run, f"best_{history.monitor}", history.best, step=history.best_epoch)
        if self._folder is not None:
            for name in _FILES:
                if (self._folder / name).is_file():
                    self._client.log_artifact(self._run, str(self._folder / name))
        self._client.set_terminated(self._run, "FINISHED")

    def on_exception(self, error: BaseException) -> None:
        """End the run as killed or failed."""
        if self._run:
            self._client.set_terminated(self._run, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
