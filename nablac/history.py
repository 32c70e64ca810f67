"""The history of a training run: values by epoch, which plot themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nablac.displays import Picture, as_image
from runtime.extras import import_pandas


class History(dict[str, list[float]]):
    """The loss and the metrics of every epoch by Keras's keys: `epoch`, `loss`, `mae`, `val_loss`, and so on.

    `monitor` names the quantity that decided which epoch is the best: `best_epoch`, counted from 1, with the value
    `best`; both are None if it was never a number. `reason` says why training ended, `folder` is the run's, if any.
    """

    def __init__(
        self,
        values: Mapping[str, Sequence[float]],
        *,
        model: str = "",
        monitor: str = "loss",
        best_epoch: int | None = None,
        best: float | None = None,
        reason: str = "",
        folder: Path | None = None,
        higher_is_better: Collection[str] = (),
    ) -> None:
        super().__init__({"epoch": [], **{name: list(numbers) for name, numbers in values.items()}})
        self.model, self.monitor, self.reason, self.folder = model, monitor, reason, folder
        self.best_epoch, self.best = best_epoch, best
        self._higher_is_better = frozenset(higher_is_better)

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return len(self["epoch"])

    def plot(self) -> Picture:
        """The learning curves: a panel for each quantity, training and validation in one, the best epoch marked."""
        from runtime.training.curves import curves

        title = f"{self.model} {self.folder.name}" if self.folder is not None else self.model
        return Picture(curves(self, title, self._higher_is_better))

    def to_dataframe(self) -> Any:
        """A pandas data frame with a column for each quantity and the epoch as index; NablacError without pandas."""
        return import_pandas().DataFrame(dict(self)).astype({"epoch": int}).set_index("epoch")

    def __repr__(self) -> str:
        best = f", best epoch {self.best_epoch}: {self.monitor} {self.best:.6g}" if self.best is not None else ""
        ended = f"; {self.reason}" if self.reason else ""
        return f"<History of {self.model}: {self.epochs} epoch{'' if self.epochs == 1 else 's'}{best}{ended}>"

    def _repr_html_(self) -> str:
        return as_image(self.plot())
