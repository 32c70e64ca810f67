"""Progress of training: a live bar on a terminal, and a line per epoch, or per several if there are many short ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.training.checkpoints import Position
    from runtime.training.loop import Loop

_MOST_LINES = 40  # for a run of many short epochs
_LONG_EPOCH = 2.0  # seconds; a longer epoch always has a line


class Progress:
    """Shows the progress of a loop, unless `quiet`: `say` prints a line where there is no live bar."""

    def __init__(self, loop: Loop, quiet: bool, say: Callable[[str], object]) -> None:
        self.loop, self.quiet, self._say = loop, quiet, say
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[means]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=len(self.loop.training), means="")
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def batch(self, position: Position, batches: int, means: Mapping[str, float]) -> None:
        """Update the bar after a batch; `means` are over the epoch so far."""
        if self._bar is not None:
            name = f"epoch {position.epoch + 1}/{self.loop.settings.epochs}"
            self._bar.update(
                self._task, completed=position.batch, total=batches, description=name, means=shown_values(means)
            )

    def epoch(self, position: Position, row: Mapping[str, float]) -> None:
        """Print the line of a finished epoch, if it is due."""
        epochs = self.loop.settings.epochs
        if self.quiet or not (_is_due(position.epoch, epochs) or row.get("seconds", 0.0) > _LONG_EPOCH):
            return
        mark = "  best" if position.best_epoch == position.epoch else ""
        width = len(str(self.loop.settings.epochs))
        line = f"epoch {position.epoch:>{width}}/{self.loop.settings.epochs}  {shown_values(row)}{mark}"
        if self._bar is not None:
            self._bar.console.print(line, highlight=False)
        else:
            self._say(line)


def _is_due(epoch: int, epochs: int) -> bool:
    """Whether an epoch has a line: the first, the last, and evenly spaced ones between them."""
    return epoch in (1, epochs) or epoch % max(1, -(-epochs // _MOST_LINES)) == 0


def shown_values(values: Mapping[str, float]) -> str:
    """Values by name in a line."""
    return "  ".join(f"{value:.1f} s" if name == "seconds" else f"{name} {value:.4g}" for name, value in values.items())
