"""Missing cells of rows that are examples of their own, in no order: filled by the mean of the training part."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.filling import fill_of, filled, flagged, means_of
from runtime.data.rows import Rows
from runtime.data.stored_rows import change_rows, pick_rows
from runtime.data.target_gaps import has_target, missing_entries, note_gaps, without_targets

if TYPE_CHECKING:
    from grammar.source import Span


def fill_examples(examples: Examples, data: Rows, context: Context, span: Span | None) -> Examples:
    """Examples without missing numbers; those without a target that counts are left out, with a note.

    NablacError for what goes by the order of rows, which such examples do not have.
    """
    inserting = next((fill for fill in data.fills if fill.rows), None)
    if inserting is not None:
        message = f'`fill("{inserting.method}", rows: "{inserting.rows}")` inserts the missing rows of a series'
        hint = "rows of `columns(...)` are examples of their own: leave out `rows`, or use `window(...)`"
        raise NablacError(Diagnostic(codes.E823, message, inserting.span, hint=hint))
    for names in examples.columns.values():
        for name in names:
            fill = fill_of(data.fills, name)
            if fill is not None and fill.method != "mean":
                message = f'column `{name}`: `fill("{fill.method}")` goes by the order of the rows of a series'
                hint = 'rows of `columns(...)` have none: use `fill("mean")`, or `window(...)`'
                raise NablacError(Diagnostic(codes.E823, message, fill.span, hint=hint))
    examples = _with_targets(examples, data.path, context, span).split(context)
    means: dict[str, float] = {}
    arrays = dict(examples.arrays)
    training = examples.parts["training"]
    for array, names in examples.columns.items():
        fitted = [name for name in names if name not in examples.classes and flagged(data.fills, name) is None]
        at = [names.index(name) for name in fitted]
        if context.fitted is None:
            means |= means_of(arrays[array], fitted, data.fills, data.path, training, at)
        else:
            means |= context.fitted.fills
        if array not in examples.targets:
            arrays[array] = change_rows(arrays[array], partial(filled, names=names, fills=data.fills, means=means))
    return replace(examples, arrays=arrays, fills=means)


def _with_targets(examples: Examples, path: str, context: Context, span: Span | None) -> Examples:
    """The examples that are learnt from, though some of their targets may be missing: see `has_target`.

    NablacError where there are none.
    """
    if not examples.targets or examples.lines is None:
        return examples
    some, every = missing_entries(examples.arrays[examples.targets[0]])
    kept = has_target(some, every, context.masks)
    if every.all():
        names = [name for target in examples.targets for name in examples.columns.get(target, (target,))]
        raise without_targets(names, path, span)
    note_gaps(some, kept, "row", path, context)
    if kept.all():
        return examples
    arrays = {name: pick_rows(array, np.flatnonzero(kept)) for name, array in examples.arrays.items()}
    now = np.cumsum(kept) - 1  # where the kept ones are
    parts = {name: now[rows[kept[rows]]] for name, rows in examples.parts.items()}
    return replace(examples, arrays=arrays, lines=pick_rows(examples.lines, np.flatnonzero(kept)), parts=parts)
