"""Classes that only the examples held out for validation and test have: a model learns nothing about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from runtime.data.categories import UNSEEN
from runtime.data.stored_rows import blocks, change_rows

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.context import Context
    from runtime.data.examples import Examples
    from runtime.data.stored_rows import StoredRows

_MOST_CLASSES = 6


def note_untrained_classes(examples: Examples, context: Context) -> None:
    """Note those of each column of finished examples, with how many examples have them.

    Labels without names count too, and the entry for unseen classes does not: it is there for them.
    """
    for column, names, numbers in _class_columns(examples):
        trained = {
            number for _, rows in blocks(numbers, examples.parts["training"]) for number in np.unique(rows).tolist()
        }
        held_out = {part: _counted(numbers, rows) for part, rows in examples.parts.items() if part != "training"}
        untrained = sorted({number for counts in held_out.values() for number in counts} - trained)
        if names:
            untrained = [number for number in untrained if names[int(number)] != UNSEEN]
        if not untrained:
            continue
        listed = [
            f"`{names[int(number)] if names else int(number)}` ({_where(number, held_out)})"
            for number in untrained[:_MOST_CLASSES]
        ]
        shown = ", ".join(listed) + (", .." if len(untrained) > _MOST_CLASSES else "")
        one = len(untrained) == 1
        which = f"1 class of `{column}` is" if one else f"{len(untrained):,} classes of `{column}` are"
        learnt = f"so nothing is learnt about {'it' if one else 'them'}"
        context.note(examples.path or "data", f"{which} in no example for training, {learnt}: {shown}")


def _class_columns(examples: Examples) -> Iterator[tuple[str, tuple[str, ...], Array | StoredRows]]:
    """Each column of classes: its name, the names of its classes, if they have any, and the class of each example."""
    for name in (*examples.inputs, *examples.targets):
        array, columns = examples.arrays[name], examples.columns.get(name, ())
        width = array.shape[-1] if array.ndim == 2 else 1
        if array.ndim > 2:
            continue
        if len(columns) <= 1:
            column = columns[0] if columns else name
            names = examples.classes.get(column, ())
            if names and width == len(names) > 1:
                yield column, names, change_rows(array, lambda rows: np.asarray(rows.argmax(axis=1)))
            elif width == 1 and (names or (name in examples.targets and array.dtype.kind in "iu")):
                yield column, names, change_rows(array, np.ravel)
        elif width == len(columns):
            for index, column in enumerate(columns):
                if column in examples.classes:
                    yield column, examples.classes[column], change_rows(array, partial(_column, index=index))


def _column(rows: Array, index: int) -> Array:
    return rows[:, index]


def _counted(numbers: Array | StoredRows, rows: Array) -> Counter[float]:
    """How many of these examples have each class."""
    counts = Counter[float]()
    for _, block in blocks(numbers, rows):
        values, counted = np.unique(block, return_counts=True)
        counts.update(dict(zip(values.tolist(), counted.tolist(), strict=True)))
    return counts


def _where(number: float, held_out: dict[str, Counter[float]]) -> str:
    return ", ".join(f"{counts[number]:,} in {part}" for part, counts in held_out.items() if counts[number])
