"""Columns that are known of the rows to predict, such as prices and features of dates: `known` of `window`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.rows import Rows
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


def without_rows_to_predict(data: Rows, targets: Sequence[str], context: Context) -> Rows:
    """A table without the rows at the end of each series whose targets are missing: nothing is learnt from them."""
    names = [name for name in targets if name in data.cells]
    kept, count = data.without_rows_to_predict(names)
    if count:
        rows_are = "1 row at its end is" if count == 1 else f"{count:,} rows at the ends of series are"
        context.note(data.path, f"{rows_are} to be predicted, and left out, since nothing is in {_listed(names)}")
    return kept


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
