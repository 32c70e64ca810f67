"""Rare classes of the training part as one entry, which stands for those that training has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.categories import UNSEEN, categories_of
from runtime.data.context import Context
from runtime.data.stored_rows import blocks, change_rows

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span
    from runtime.data.examples import Examples
    from runtime.data.rows import Rows


def check_categories(data: Rows, targets: Sequence[str], span: Span | None) -> None:
    """NablacError for a target of which classes would become one."""
    target = next((name for name in targets if categories_of(data.categories, name) is not None), None)
    if target is not None:
        message = f"column `{target}` is a target, and `categories` is for inputs: rare classes share an entry"
        raise NablacError(Diagnostic(codes.E823, message, span))


def merge_rare(examples: Examples, data: Rows, context: Context) -> Examples:
    """Examples whose rare classes are UNSEEN, by the training part; those of a run are numbered so already."""
    merged = [name for name in examples.classes if categories_of(data.categories, name) is not None]
    if not merged or context.fitted is not None:
        return examples
    examples = examples.split(context)
    arrays, classes = dict(examples.arrays), dict(examples.classes)
    untrained: dict[int, list[str]] = {}  # columns without a rare class, by how many examples one has at the most
    for array, names in examples.columns.items():
        for at, name in enumerate(names):
            request = categories_of(data.categories, name)
            if request is None or name not in classes:
                continue
            seen = np.zeros(len(classes[name]), np.int64)
            for _, rows in blocks(arrays[array], examples.parts["training"]):
                seen += np.bincount(rows[:, at].astype(np.int64), minlength=len(seen))
            kept = seen >= request.rare
            kept[0] = False  # of UNSEEN itself
            if not (seen[~kept]).any():
                untrained.setdefault(request.rare, []).append(name)
            numbers = np.where(kept, np.cumsum(kept), 0)
            arrays[array] = change_rows(arrays[array], partial(_renumbered, column=at, numbers=numbers))
            classes[name] = (UNSEEN, *(text for text, keeps in zip(classes[name], kept, strict=True) if keeps))
    for rare, columns in untrained.items():
        context.note(data.path, _untrained(columns, rare))
    return replace(examples, arrays=arrays, classes=classes)


def _renumbered(rows: Array, column: int, numbers: Array) -> Array:
    """Rows with other numbers in a column of classes, those at their old numbers."""
    changed = rows.copy()
    changed[:, column] = numbers[rows[:, column].astype(np.int64)]
    return changed


def _untrained(columns: Sequence[str], rare: int) -> str:
    listed = ", ".join(f"`{name}`" for name in columns)
    counted = "1 example" if rare == 1 else f"{rare} examples"
    return (
        f"every class of {listed} in the training rows has at least {counted}, so nothing is learnt about new classes,"
        f" and what is predicted for one is by chance (a larger `rare` than {rare} learns it from rare classes)"
    )
