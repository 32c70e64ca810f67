"""Columns that are known of the rows to predict, such as prices and features of dates: `known` of `window`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.read_rows import spans_of
from runtime.data.rows import Rows, is_missing
from runtime.data.stored_rows import StoredRows

if TYPE_CHECKING:
    from compiler.types import Array

KNOWN = "known"  # the array of these columns


def with_known(
    examples: Examples, array: Array | StoredRows, columns: tuple[str, ...], sample: Array | StoredRows
) -> Examples:
    """Examples with `array: [examples, horizon, columns]` as one more input; scalings are fitted to `sample`."""
    return replace(
        examples,
        arrays={**examples.arrays, KNOWN: array},
        inputs=(*examples.inputs, KNOWN),
        columns={**examples.columns, KNOWN: columns},
        samples={**examples.samples, KNOWN: sample},
        known=(KNOWN,),
    )


def first_to_predict(rows: Rows, names: Sequence[str], first: int, end: int) -> int:
    """Where the rows at the end of those from `first` to `end` begin in which the cells of all `names` are missing."""
    if not names:
        return end
    for row in range(end - 1, first - 1, -1):
        if not all(is_missing_at(rows, name, row) for name in names):
            return row + 1
    return first


def is_missing_at(rows: Rows, name: str, row: int) -> bool:
    """Whether a cell of a column of the table has no number; what cannot be read is for its reader to report."""
    if name in rows.refused:
        return False
    if name in rows.stored:
        return bool(np.isnan(rows.stored[name][row]))
    return is_missing(rows.cells[name][row])


def without_rows_to_predict(data: Rows, targets: Sequence[str], context: Context) -> Rows:
    """A table without the rows at the end of each series whose targets are missing: nothing is learnt from them."""
    names = [name for name in targets if name in data.cells]
    spans = spans_of(data.series, len(data.lines))
    firsts = [first_to_predict(data, names, first, end) for first, end in spans]
    count = sum(end - row for row, (_, end) in zip(firsts, spans, strict=True))
    if not count:
        return data
    rows_are = "1 row at its end is" if count == 1 else f"{count:,} rows at the ends of series are"
    context.note(data.path, f"{rows_are} to be predicted, and left out, since nothing is in {_listed(names)}")
    kept = np.concatenate([np.arange(first, row) for row, (first, _) in zip(firsts, spans, strict=True)])
    series = data.series[kept] if data.series is not None else None
    return replace(data.take(kept), series=series, keys=data.keys)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
