"""Numbers of earlier rows of a series as columns: what the stage `lag` requests, and the rows that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.data import lags_of

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span

RowKey = tuple[int, int]  # the series of a row, and its number in it


@dataclass(frozen=True)
class Lag:
    """A request for numbers of columns that stand some rows before in the same series.

    `NAME_lag3` is the number of `NAME` three rows before.
    """

    sources: Mapping[str, tuple[str, int]]  # by the name of a column that it adds: of which, and how many rows before
    span: Span | None = None

    @staticmethod
    def of(arguments: Mapping[str, Any], span: Span | None = None) -> Lag:
        """The request of a stage with these arguments."""
        return Lag(lags_of(arguments["columns"], arguments["steps"]), span)


def lag_of(lags: Sequence[Lag], name: str) -> tuple[str, int] | None:
    """Of which column a column is a lag, and of how many rows; None for any other column."""
    return next((request.sources[name] for request in lags if name in request.sources), None)


def lag_requests(stages: Iterable[Any]) -> tuple[Lag, ...]:
    """What the stages of a recipe add."""
    return tuple(Lag.of(stage.arguments) for stage in stages if stage.name == "lag")


@dataclass
class EarlierRows:
    """The numbers of the rows so far, by column: of a table that is read in blocks, those that lags still reach."""

    known: dict[str, dict[RowKey, float]] = field(default_factory=dict)

    def lagged(self, column: str, step: int, keys: Sequence[RowKey], numbers: Array) -> Array:
        """The number of each row so many rows before, with NaN where there is none; `numbers: [rows]` are known now."""
        known = self.known.setdefault(column, {})
        known.update(zip(keys, numbers.tolist(), strict=True))
        return np.array([known.get((series, row - step), np.nan) for series, row in keys])

    def forget(self, reach: int) -> None:
        """Keep the last `reach` rows of each series."""
        for column, known in self.known.items():
            last: dict[int, int] = {}
            for series, row in known:
                last[series] = max(row, last.get(series, row))
            self.known[column] = {key: number for key, number in known.items() if key[1] > last[key[0]] - reach}
