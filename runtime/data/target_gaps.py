"""Missing entries of targets: which there are, and the numbers that stand in their place and do not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import mask_name
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.stored_rows import StoredRows, blocks, change_rows

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span


def missing_entries(array: Array | StoredRows, columns: Sequence[int] | None = None) -> tuple[Array, Array]:
    """Which rows of targets [examples, ...] lack some entries, and which lack all; `columns` are those to look at."""
    some, every = [], []
    for _, rows in blocks(array):
        missing = np.isnan(rows if columns is None else rows[:, columns]).reshape(len(rows), -1)
        some.append(missing.any(axis=1))
        every.append(missing.all(axis=1))
    return np.concatenate(some), np.concatenate(every)


def has_target(some: Array, every: Array, masks: bool) -> Array:
    """Which examples are kept, by which lack some entries of their targets, and which lack all.

    With `masks` those with any entry: the others do not count; else those with all, since nothing is learnt from
    filled numbers, or judged by them.
    """
    return ~(every if masks else some)


def without_targets(names: Sequence[str], path: str, span: Span | None) -> NablacError:
    """The error for data in whose rows no target has a value; `names` are their columns."""
    listed = ", ".join(f"`{name}`" for name in names)
    message = f"no row of {path} has a value of {listed}: there is nothing to learn from, or to judge by"
    return NablacError(Diagnostic(codes.E823, message, span))


def note_gaps(some: Array, kept: Array, what: str, path: str, context: Context) -> None:
    """Note the examples, called `what`, that are left out, and those that lack `some` entries, which do not count."""
    left_out, partial = int((~kept).sum()), int(some[kept].sum())
    if left_out:
        examples, them = (f"1 {what} is", "it") if left_out == 1 else (f"{left_out:,} {what}s are", "them")
        all_of = "all " if context.masks else ""
        context.note(path, f"{examples} left out, since {all_of}targets in {them} are missing")
    if partial:
        examples = f"1 {what} lacks" if partial == 1 else f"{partial:,} {what}s lack"
        context.note(path, f"{examples} some targets, which do not count")


def with_stand_ins(array: Array | StoredRows, training: Array) -> tuple[Array | StoredRows, Array | StoredRows | None]:
    """A target without missing entries, and where they are [examples, ...]; None where none is missing.

    The first number of the column stands for them, of the training part if it has one: a loss is finite there.
    """
    if array.dtype.kind != "f" or not any(np.isnan(rows).any() for _, rows in blocks(array)):
        return array, None
    width = array.shape[-1] if array.ndim > 1 else 1
    first = np.full(width, np.nan)
    for rows_of in (training, None):
        for _, rows in blocks(array, rows_of):
            if not np.isnan(first).any():
                break
            columns = rows.reshape(-1, width)
            present = ~np.isnan(columns)
            numbers = columns[present.argmax(axis=0), np.arange(width)] if len(columns) else first
            first = np.where(np.isnan(first), numbers, first)
    first = np.nan_to_num(first, nan=0.0)

    def whole(rows: Array) -> Array:
        columns = rows.reshape(-1, width)
        return np.where(np.isnan(columns), first, columns).reshape(rows.shape)

    return change_rows(array, whole), change_rows(array, np.isnan)


def mask_of(missing: Array | StoredRows, array: Array | StoredRows) -> Array | StoredRows:
    """1 where a target has an entry and 0 where it is missing, in the shape that it has in the model."""
    shape = array.shape[1:]
    are_labels = prod(missing.shape[1:]) != prod(shape)  # that have become one-hot rows

    def there(rows: Array) -> Array:
        entries = (~rows).astype(np.float32)
        if are_labels:
            entries = np.broadcast_to(entries.reshape(len(rows), *shape[:-1], 1), (len(rows), *shape))
        return np.ascontiguousarray(entries.reshape(len(rows), *shape))

    return change_rows(missing, there)


def masked_targets(examples: Examples) -> tuple[str, ...]:
    """The targets of finished examples of which entries are missing."""
    return tuple(name for name in examples.targets if mask_name(name) in examples.arrays)


def with_masks_of(examples: Examples, other: Examples) -> Examples:
    """`examples` with a mask of each target that has one in `other`: all entries are there."""
    masks = {
        mask_name(name): change_rows(examples.arrays[name], lambda rows: np.ones(rows.shape, np.float32))
        for name in masked_targets(other)
        if mask_name(name) not in examples.arrays
    }
    return replace(examples, arrays={**examples.arrays, **masks}) if masks else examples
