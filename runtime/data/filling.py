"""Missing cells of columns of numbers: what the stage `fill` requests, and its fit to the training part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from compiler.elaborate.data import listed_names
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span
    from runtime.data.stored_rows import StoredRows

_AT_ONCE = 1 << 14  # rows that are added up together
FLAG = "missing_"  # before the name of a column: where its cells were missing


@dataclass(frozen=True)
class Fill:
    """A request to fill the missing cells of `columns`, or of all if that is empty.

    `forward` takes the last number before in the same series, and where there is none the mean; `mean` that of the
    training part; `interpolate` does as `forward` until a window is cut, see `interpolated`. With `flag` the column
    `missing_NAME` is 1 where a cell of `NAME` was missing, and else 0. `rows` is the column of dates by which missing
    rows are inserted first, and `step` that between two of them, where it is said.
    """

    method: Literal["forward", "mean", "interpolate"]
    columns: tuple[str, ...] = ()
    flag: bool = False
    span: Span | None = None
    rows: str = ""
    step: str = ""

    @staticmethod
    def of(arguments: Mapping[str, Any], span: Span | None = None) -> Fill:
        """The request of a stage with these arguments."""
        columns = tuple(listed_names(arguments["columns"]))
        dated = (str(arguments.get(name, "")) for name in ("rows", "step"))  # which earlier versions did not have
        return Fill(arguments["method"], columns, arguments["flag"], span, *dated)


def fill_of(fills: Sequence[Fill], name: str) -> Fill | None:
    """What fills a column: the last request that names it, or else the one for all."""
    naming = [fill for fill in fills if name in fill.columns]
    return next(reversed(naming or [fill for fill in fills if not fill.columns]), None)


def flagged(fills: Sequence[Fill], name: str) -> str | None:
    """The column whose missing cells a column of flags tells; None where `name` is no such column."""
    column = name.removeprefix(FLAG)
    fill = fill_of(fills, column) if column != name else None
    return column if fill is not None and fill.flag else None


def means_of(
    table: Array | StoredRows,
    names: Sequence[str],
    fills: Sequence[Fill],
    path: str,
    training: Array,
    indices: Sequence[int] | None = None,
) -> dict[str, float]:
    """The mean of each column that is filled, of its numbers in the rows of the `training` part.

    The columns of a table [rows, columns] are those of all `names`, or those at the `indices`. NablacError for a column
    of which none of these rows has a number.
    """
    firsts, totals, counts = _sums(table, training, range(len(names)) if indices is None else indices)
    means: dict[str, float] = {}
    for index, name in enumerate(names):
        fill = fill_of(fills, name)
        if fill is None or flagged(fills, name) is not None:
            continue
        if not counts[index]:
            message = f"column `{name}` of {path} has no number in the training part, by which missing ones are filled"
            raise NablacError(Diagnostic(codes.E823, message, fill.span))
        means[name] = float(firsts[index] + totals[index] / counts[index])
    return means


def _sums(table: Array | StoredRows, rows: Array, columns: Sequence[int]) -> tuple[Array, Array, Array]:
    """Of each column the first number in these rows, the sum of the differences from it, and the count of numbers.

    Differences from it are exact for numbers near each other. Always as many rows are added up at a time.
    """
    firsts, totals, counts = np.zeros(len(columns)), np.zeros(len(columns)), np.zeros(len(columns), int)
    for start in range(0, len(rows), _AT_ONCE):
        part = table[rows[start : start + _AT_ONCE]]
        for index, column in enumerate(columns):
            known = part[:, column][np.isfinite(part[:, column])]
            if len(known):
                firsts[index] = firsts[index] if counts[index] else known[0]
                totals[index] += (known - firsts[index]).sum()
                counts[index] += len(known)
    return firsts, totals, counts


def filled(
    table: Array, names: Sequence[str], fills: Sequence[Fill], means: Mapping[str, float], before: Array | None = None
) -> Array:
    """Rows of one series [rows, columns] without NaN; `before` is the row before them, if there is one."""
    missing = np.isnan(table)
    if not missing.any():
        return table
    whole = table.copy()
    for index, name in enumerate(names):
        gaps = missing[:, index]
        fill = fill_of(fills, name)
        if fill is None or not gaps.any():
            continue
        first = before[index] if before is not None else means[name]
        if fill.method == "mean":
            whole[gaps, index] = means[name]
        else:
            last = np.maximum.accumulate(np.where(gaps, -1, np.arange(len(table))))
            whole[:, index] = np.where(last < 0, first, table[np.maximum(last, 0), index])
    return whole


def gaps_of(table: Array, names: Sequence[str], fills: Sequence[Fill]) -> Array:
    """Where rows [rows, columns] lack a number that windows interpolate."""
    found = (fill_of(fills, name) for name in names)
    chosen = [fill is not None and fill.method == "interpolate" for fill in found]
    return np.asarray(np.isnan(table) & np.array(chosen, bool))


def interpolated(windows: Array, gaps: Array) -> Array:
    """Filled windows [examples, length, columns] with straight lines over the `gaps` that have a number on both sides.

    Only rows of the window itself count, so that it holds nothing of rows after its last one: the others of the
    `gaps` keep what they are filled with.
    """
    examples, columns = np.nonzero(gaps.any(axis=1))
    if not len(examples):
        return windows
    missing = gaps[examples, :, columns]
    values = windows[examples, :, columns]
    length = missing.shape[1]
    at = np.arange(length)
    left = np.maximum.accumulate(np.where(missing, -1, at), axis=1)
    right = np.minimum.accumulate(np.where(missing, length, at)[:, ::-1], axis=1)[:, ::-1]
    line, row = np.nonzero(missing & (left >= 0) & (right < length))
    first, last = left[line, row], right[line, row]
    begin, end = values[line, first], values[line, last]
    share = (row - first) / (last - first)
    whole = windows.copy()
    whole[examples[line], row, columns[line]] = begin + (end - begin) * share
    return whole


def requests(stages: Iterable[Any]) -> tuple[Fill, ...]:
    """What the stages of a recipe fill."""
    return tuple(Fill.of(stage.arguments) for stage in stages if stage.name == "fill")
