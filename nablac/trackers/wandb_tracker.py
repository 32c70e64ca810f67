"""Runs in Weights & Biases: the configuration and metrics by epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from nablac.callbacks import Callback, RunFacts
from nablac.trackers.tracker_entries import missing

if TYPE_CHECKING:
    from nablac.history import History


class WandbTracker(Callback):
    """Writes offline to the folder `wandb`, which `wandb sync` uploads, unless WANDB_MODE says otherwise."""

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing("wandb", "wandb") from error
        self._wandb: Any = wandb
        self._run: Any = None

    def on_train_begin(self, facts: RunFacts) -> None:
        """Begin a run in the project WANDB_PROJECT, or `nablac`."""
        mode: Literal["offline"] | None = None if os.environ.get("WANDB_MODE") else "offline"
        self._run = self._wandb.init(
            mode=mode,
            project=os.environ.get("WANDB_PROJECT") or "nablac",
            name=f"{facts.model} {facts.folder.name}" if facts.folder is not None else facts.model,
            config={**facts.settings, **facts.hypers},
            settings=self._wandb.Settings(silent=True, console="off"),
        )

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics at this epoch."""
        self._run.log(dict(metrics), step=epoch)

    def on_train_end(self, history: History) -> None:
        """Store the best epoch, and end the run."""
        self._run.summary["best_epoch"] = history.best_epoch
        self._run.summary[f"best_{history.monitor}"] = history.best
        self._run.finish()

    def on_exception(self, error: BaseException) -> None:
        """End the run as failed."""
        if self._run is not None:
            self._run.finish(exit_code=1)
