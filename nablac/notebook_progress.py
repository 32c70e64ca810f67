"""Progress of training in a notebook: one output that changes, with a bar, the epochs and the loss of the batches."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from nablac.displays import fixed_width
from nablac.run_progress import shown_values

if TYPE_CHECKING:
    from runtime.training.checkpoints import Position
    from runtime.training.loop import Loop

_INTERVAL = 0.2  # seconds between two changes of the output, which cost more than a step
_MOST_ROWS = 8  # of epochs: the latest


def in_notebook() -> bool:
    """Whether the program runs in the kernel of a notebook, whose output may be HTML and may change."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(interactive, "kernel", None) is not None


class NotebookProgress:
    """The output of a cell that follows a loop. It needs IPython and no widgets."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop, self._name = loop, name
        self._handle: Any = None
        self._rows: deque[tuple[int, dict[str, float]]] = deque(maxlen=_MOST_ROWS)  # epochs and their values
        self._status = ""
        self._fraction = 0.0
        self._shown = self._started = time.monotonic()
        self._finished = loop.position.epoch  # epochs before this run

    def __enter__(self) -> NotebookProgress:
        from IPython.display import display

        self._handle = display(self, display_id=True)
        return self

    def __exit__(self, *error: object) -> None:
        position = self.loop.position
        self._status = "stopped by an error" if error[0] is not None else self.loop.reason
        if position.best is not None:
            self._status += f"; best epoch {position.best_epoch}: {self.loop.monitor} {position.best:.5g}"
        self._update()

    def batch(self, position: Position, batches: int, means: Mapping[str, float]) -> None:
        """Show the position in the epoch, a few times a second; `means` are over the epoch so far."""
        if time.monotonic() - self._shown > _INTERVAL:
            self._fraction = (position.epoch + position.batch / batches) / self.loop.settings.epochs
            line = f"epoch {position.epoch + 1}, batch {position.batch:,} of {batches:,}{self._remaining()}"
            self._status = f"{line}  {shown_values(means)}"
            self._update()

    def epoch(self, position: Position, row: Mapping[str, float]) -> None:
        """Show the values of a finished epoch."""
        self._rows.append((position.epoch, dict(row)))
        self._fraction = position.epoch / self.loop.settings.epochs
        if time.monotonic() - self._shown > _INTERVAL:
            self._status = f"epoch {position.epoch} of {self.loop.settings.epochs}{self._remaining()}"
            self._update()

    def _remaining(self) -> str:
        """The estimated time until the last epoch, if there is one."""
        begun = self._finished / self.loop.settings.epochs
        done = self._fraction - begun
        if done <= 0:
            return ""
        seconds = (time.monotonic() - self._started) / done * (1 - self._fraction)
        return f", {seconds:,.0f} s left" if seconds < 600 else f", {seconds / 60:,.0f} min left"

    def _update(self) -> None:
        self._shown = time.monotonic()
        self._handle.update(self)

    def _lines(self) -> list[str]:
        """The latest epochs as an aligned table."""
        rows = self._rows
        if not rows:
            return []
        names = list(rows[-1][1])
        best = self.loop.position.best_epoch
        table = [["epoch", *names], *([str(epoch), *(_cell(name, row) for name in names)] for epoch, row in rows)]
        widths = [max(len(row[column]) for row in table) for column in range(len(names) + 1)]
        marks = ["", *("  best" if epoch == best else "" for epoch, _ in rows)]
        lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths)) for row in table]
        return [line + mark for line, mark in zip(lines, marks)]

    def __repr__(self) -> str:
        return "\n".join([f"{self._name}: {self._status}", *self._lines()])

    def _repr_html_(self) -> str:
        head = f"<b>{escape(self._name)}</b> {escape(self._status)}"
        bar = f'<progress value="{self._fraction:.4f}" max="1" style="width: 100%; max-width: 40em"></progress>'
        return f"<div>{head}<br>{bar}</div>{fixed_width(chr(10).join(self._lines()))}"


def _cell(name: str, row: Mapping[str, float]) -> str:
    value = row.get(name)
    return "" if value is None else f"{value:.1f}" if name == "seconds" else f"{value:.5g}"
