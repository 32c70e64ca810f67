"""Learning curves as SVG: one panel for each quantity, with training and validation."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from runtime.charts.lines import Highlight, Series, line_chart
from runtime.charts.palette import BLUE, MAGENTA, ORANGE
from runtime.charts.panel import GAP, HEIGHT, WIDTH, Chart, card
from runtime.charts.readable_numbers import is_drawable, readable

_SMALL_HEIGHT = 180
_SMALL = ("lr", "learning_rate")


def curves(history: Mapping[str, Sequence[float]], title: str, higher_is_better: Collection[str] = ()) -> str:
    """An SVG of a Keras-style history: `loss` and `val_loss` share a panel; the x axis is the epoch.

    The best epoch on validation data is marked: the one of the lowest value, or of the highest if `higher_is_better`.
    """
    panels = _panels(history, higher_is_better)
    large = [panel for panel in panels if not panel.is_small]
    across = 2 if len(large) > 1 else 1
    width = across * WIDTH + (across - 1) * GAP
    rows = [large[index : index + across] for index in range(0, len(large), across)]
    rows += [[panel] for panel in panels if panel.is_small]
    # A single panel in a row takes its full width.
    charts = [[panel.chart((width - (len(row) - 1) * GAP) // len(row)) for panel in row] for row in rows]
    return card(title, charts, empty="no epoch is finished yet").svg()


def _panels(history: Mapping[str, Sequence[float]], higher_is_better: Collection[str]) -> list[_Panel]:
    """A panel for every quantity with values, in the order of the history."""
    series = {name: tuple(map(float, values)) for name, values in history.items() if len(values)}
    epochs = series.pop("epoch", ())
    count = max(map(len, series.values()), default=0)
    usable = len(epochs) >= count and all(map(math.isfinite, epochs)) and all(a < b for a, b in pairwise(epochs))
    if not usable:
        epochs = tuple(map(float, range(1, count + 1)))
    names = dict.fromkeys(name.removeprefix("val_") for name in series)
    return [
        _Panel(name, epochs[:count], series.get(name, ()), series.get(f"val_{name}", ()), name in higher_is_better)
        for name in names
    ]


@dataclass(frozen=True)
class _Panel:
    name: str
    epochs: tuple[float, ...]
    training: tuple[float, ...]
    validation: tuple[float, ...]
    higher_is_better: bool

    @property
    def is_small(self) -> bool:
        """Whether it shows a learning rate; these panels are small and come last."""
        return self.name in _SMALL

    def chart(self, width: int) -> Chart:
        lines = (
            ("training", MAGENTA if self.is_small else BLUE, self.training),
            ("validation", ORANGE, self.validation),
        )
        return line_chart(
            self.name,
            [Series(name, self.epochs, values, color=color) for name, color, values in lines if values],
            x_name="epoch",
            whole_x=True,
            highlight=self._best(),
            legend=not self.is_small,
            about=3 if self.is_small else 5,
            width=width,
            height=_SMALL_HEIGHT if self.is_small else HEIGHT,
        )

    def _best(self) -> Highlight | None:
        """The epoch whose validation is best; one value alone is not."""
        indices = [index for index, value in enumerate(self.validation) if is_drawable(value)]
        if len(indices) < 2:
            return None
        sign = -1 if self.higher_is_better else 1
        best = min(indices, key=lambda index: sign * self.validation[index])
        epoch, value = self.epochs[best], self.validation[best]
        return Highlight(epoch, value, f"best {readable(value)} at epoch {epoch:,.0f}")
