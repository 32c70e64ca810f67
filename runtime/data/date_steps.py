"""The step of a series by its dates, and the rows that are missing from it altogether."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array

_LOOKED_AT = 512  # steps that say what the step of a series is
_FEWEST = 8
_REGULAR = 0.9  # the share of equal steps in a regular series: weekdays have 0.8, hours of trading less than 0.88


def missing_rows(moments: Array) -> Array:
    """How many rows are missing before each row of a series, by its dates [rows] in `datetime64`.

    A series is regular if nine of ten steps are the same time, or the same number of months. In any other, such as one
    of working days, no row is missing. A row without a date is next to those around it.
    """
    nowhere = np.zeros(len(moments), np.int64)
    dated = ~np.isnat(moments)
    both = dated[1:] & dated[:-1]
    for unit in ("us", "M"):
        steps = np.diff(moments.astype(f"datetime64[{unit}]").astype(np.int64))
        regular = steps[both & (steps > 0)][:_LOOKED_AT]
        if len(regular) < _FEWEST:
            continue
        sizes, counts = np.unique(regular, return_counts=True)
        if counts.max() < _REGULAR * len(regular):
            continue
        nowhere[1:] = np.where(both, np.maximum(steps // sizes[counts.argmax()] - 1, 0), 0)
        break
    return nowhere
