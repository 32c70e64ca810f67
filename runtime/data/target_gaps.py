"""Missing entries of targets: which there are, and the numbers that stand in their place and do not count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import mask_name
from runtime.data.context import Context
from runtime.data.examples import Examples

if TYPE_CHECKING:
    from compiler.types import Array


def has_target(missing: Array, masks: bool) -> Array:
    """Which examples are kept, by where their targets are missing [examples, ...].

    With `masks` those with any entry: the others do not count; else those with all, since nothing is learnt from
    filled numbers, or judged by them.
    """
    rows = missing.reshape(len(missing), -1)
    return np.asarray(~(rows.all(axis=1) if masks else rows.any(axis=1)))


def note_gaps(missing: Array, kept: Array, what: str, path: str, context: Context) -> None:
    """Note the examples, called `what`, that are left out, and those of which some entries do not count."""
    any_missing = np.asarray(missing.reshape(len(missing), -1).any(axis=1))
    left_out, partial = int((~kept).sum()), int(any_missing[kept].sum())
    if left_out:
        examples = f"1 {what} is" if left_out == 1 else f"{left_out:,} {what}s are"
        some = "all " if context.masks else ""
        context.note(path, f"{examples} left out, since {some}targets in them are missing")
    if partial:
        examples = f"1 {what} lacks" if partial == 1 else f"{partial:,} {what}s lack"
        context.note(path, f"{examples} some targets, which do not count")


def with_stand_ins(array: Array, training: Array) -> tuple[Array, Array | None]:
    """A target without missing entries, and where they are [examples, ...]; None where none is missing.

    The first number of the column stands for them, of the training part if it has one: a loss is finite there.
    """
    if array.dtype.kind != "f" or not (missing := np.isnan(array)).any():
        return array, None
    columns = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
    of_training = array[training].reshape(-1, columns.shape[1])
    first = np.zeros(columns.shape[1])
    for index in range(columns.shape[1]):
        present = [numbers[~np.isnan(numbers)][:1] for numbers in (of_training[:, index], columns[:, index])]
        first[index] = next((number[0] for number in present if len(number)), 0.0)
    whole: Array = np.where(np.isnan(columns), first, columns).reshape(array.shape)
    return whole, missing


def mask_of(missing: Array, array: Array) -> Array:
    """1 where a target has an entry and 0 where it is missing, in the shape that it has in the model."""
    there = (~missing).astype(np.float32)
    if there.size != array.size:  # labels that have become one-hot rows
        there = np.broadcast_to(there.reshape(*array.shape[:-1], 1), array.shape)
    return np.ascontiguousarray(there.reshape(array.shape))


def masked_targets(examples: Examples) -> tuple[str, ...]:
    """The targets of finished examples of which entries are missing."""
    return tuple(name for name in examples.targets if mask_name(name) in examples.arrays)


def with_masks_of(examples: Examples, other: Examples) -> Examples:
    """`examples` with a mask of each target that has one in `other`: all entries are there."""
    masks = {
        mask_name(name): np.ones(examples.arrays[name].shape, np.float32)
        for name in masked_targets(other)
        if mask_name(name) not in examples.arrays
    }
    return replace(examples, arrays={**examples.arrays, **masks}) if masks else examples
