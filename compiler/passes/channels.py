"""Values with one number for each channel, which is axis 1 of `[batch, channels, ...]`."""

from __future__ import annotations

from compiler.graph import Value


def is_by_channel(column: Value, x: Value) -> bool:
    """Whether a value has one number for each channel of `x`, and axes of length 1 behind it: `[channels, 1, ...]`."""
    shape = (x.shape[1], *(1,) * (x.type.rank - 2))
    return column.shape in (shape, (1, *shape))
