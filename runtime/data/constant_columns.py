"""Columns of a table that have one value in all examples for training: a model learns nothing from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from runtime.data.scaling import Extremes

if TYPE_CHECKING:
    from runtime.data.context import Context

_MOST_NAMES = 6


def constant_columns(columns: Sequence[str], extremes: Extremes) -> list[str]:
    """Those of the columns along the last axis of examples, or of one column in any axes, that do not vary."""
    most, least = extremes.most, extremes.least
    if len(columns) == 1:
        most, least = most.reshape(-1, 1), least.reshape(-1, 1)
    elif not most.ndim or most.shape[-1] != len(columns):
        return []
    axes = tuple(range(most.ndim - 1))
    return [columns[index] for index in np.flatnonzero(most.max(axis=axes) == least.min(axis=axes)).tolist()]


def note_constant_columns(names: Sequence[str], path: str, context: Context) -> None:
    """Note them with their names; of many columns, as the pixels at the border of images, some."""
    if names:
        shown = ", ".join(f"`{name}`" for name in names[:_MOST_NAMES]) + (", .." if len(names) > _MOST_NAMES else "")
        counted = "1 column has" if len(names) == 1 else f"{len(names):,} columns have"
        context.note(path, f"{counted} one value in all examples for training, so nothing is learnt: {shown}")
