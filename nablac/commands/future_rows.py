"""Rows at the end of a table whose target is empty: a first spec predicts them by what is filled in there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nablac.commands.table_series import LEAST_ROWS, Rhythm, SeriesOfTable, keys_of
from runtime.data.missing_cells import is_missing


@dataclass(frozen=True)
class FutureRows:
    """The rows to predict at the end of each series, and how far a forecast of them looks back and ahead."""

    count: int  # in each series, at the least
    total: int
    known: tuple[str, ...]  # columns of numbers that are filled in all of them
    with_gaps: frozenset[str]  # columns of numbers with missing cells before them
    rhythm: Rhythm


def future_rows(
    cells: Mapping[str, Sequence[str]], series: SeriesOfTable, target: str, others: Sequence[str]
) -> FutureRows | None:
    """The rows to predict, by the columns of numbers `target` and `others`; None where not every series ends in some.

    Fewer than a third of a usual forecast are gaps at the end, and filled as others are.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(keys_of(series.keys, cells, len(cells[target]))):
        groups.setdefault(key, []).append(row)
    past: list[list[int]] = []
    ahead: list[list[int]] = []
    for rows in groups.values():
        end = len(rows)
        while end and is_missing(cells[target][rows[end - 1]]):
            end -= 1
        past.append(rows[:end])
        ahead.append(rows[end:])
    count, shortest = min(map(len, ahead)), min(map(len, past))
    rhythm = replace(series, shortest=shortest).rhythm()
    if not count or shortest < LEAST_ROWS or 3 * count < rhythm.horizon:
        return None
    if count < rhythm.horizon or (count <= rhythm.length and shortest >= 3 * (rhythm.length + count)):
        rhythm = replace(rhythm, horizon=count)
    known = [name for name in others if not any(is_missing(cells[name][row]) for rows in ahead for row in rows)]
    gaps = [name for name in (target, *others) if any(is_missing(cells[name][row]) for rows in past for row in rows)]
    return FutureRows(count, sum(map(len, ahead)), tuple(known), frozenset(gaps), rhythm)
