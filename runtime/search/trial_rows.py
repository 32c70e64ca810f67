"""The results of a study: facts and a row for each trial, independent of the engine that ran them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from runtime.charts.readable_numbers import is_drawable

State = Literal["done", "pruned", "failed", "running", "waiting"]
Value = bool | int | float | str


@dataclass(frozen=True)
class TrialRow:
    """One trial; `values` are of the variables that it reached, by name."""

    number: int
    state: State
    values: Mapping[str, Value]
    objective: float | None = None  # the best of the monitored quantity, of a pruned trial the last
    epochs: int | None = None
    seconds: float | None = None
    message: str = ""  # why it failed, or whose values it repeats


@dataclass(frozen=True)
class StudyFacts:
    """A study: its model, its search, and the objective."""

    model: str
    search: str  # "grid", "random" or "tpe"
    objective: str  # the name of the monitored quantity
    higher_is_better: bool = False
    trials: int | None = None  # asked for; None where that has no end
    logarithmic: frozenset[str] = frozenset()  # the names of variables with a logarithmic range
    baseline: float | None = None  # the objective without a search: of the values that the text itself would take
    seed: int | None = None


def best_row(rows: Iterable[TrialRow], higher_is_better: bool) -> TrialRow | None:
    """The best trial of those that are done, the earlier of two equal ones; None if none is done."""
    done = [(row.objective, row) for row in rows if row.state == "done" and row.objective is not None]
    usable = [(value, row) for value, row in done if is_drawable(value)]
    sign = -1 if higher_is_better else 1
    return min(usable, key=lambda pair: (sign * pair[0], pair[1].number), default=(0.0, None))[1]


def best_so_far(rows: Iterable[TrialRow], higher_is_better: bool) -> list[tuple[int, float]]:
    """The number of each trial that is done, and the best objective up to it."""
    better = max if higher_is_better else min
    pairs: list[tuple[int, float]] = []
    for row in sorted(rows, key=lambda row: row.number):
        if row.state == "done" and row.objective is not None and is_drawable(row.objective):
            pairs.append((row.number, better(row.objective, pairs[-1][1]) if pairs else row.objective))
    return pairs
