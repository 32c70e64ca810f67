"""Whether the data of a further training is in the range that the scaling of the weights was fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.data.stored_rows import blocks

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples
    from runtime.data.scaling import Scaling
    from runtime.training.training_run import Training

_FAR = 5.0  # scaled numbers usually have a mean below this, and a deviation below this and above the next
_NARROW = 0.05


def scaling_note(training: Training) -> str | None:
    """A note where training goes on from scaled weights with numbers far from those that the scaling was fitted to.

    The weights mean something in the units of their scaling alone, so that it stays as it is.
    """
    if training.start is None or training.start.fitted is None or training.fitted is not None:
        return None
    far = {}
    for name, scaling in training.data.scalings.items():
        mean, deviation = _moments(training.data, name, scaling)
        if mean.size and (np.abs(mean).max() > _FAR or deviation.max() > _FAR or 0 < deviation.max() < _NARROW):
            index = int(np.abs(mean).argmax() if np.abs(mean).max() > _FAR else deviation.argmax())
            far[name] = f"`{name}` has mean {mean[index]:.3g} and standard deviation {deviation[index]:.3g}"
    if not far:
        return None
    return (
        "the weights keep the scaling that they were first trained with, and this data is far from it: scaled, "
        + ", ".join(far.values())
    )


def _moments(examples: Examples, name: str, scaling: Scaling) -> tuple[Array, Array]:
    """The mean and the standard deviation of the scaled numbers for training, of each column that is scaled."""
    array, rows = examples.arrays[name], examples.parts["training"]
    shape = np.broadcast_shapes(scaling.scale.shape, (1,) * (array.ndim - 1))
    others = (0, *(axis for axis, size in enumerate(shape, 1) if size == 1))
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for _, block in blocks(array, rows):
        numbers = np.asarray(block, np.float64)
        total, squares = total + numbers.sum(axis=others), squares + (numbers**2).sum(axis=others)
        count += numbers.size // max(1, np.size(total))
    is_scaled = ((scaling.scale != 1) | (scaling.offset != 0)).reshape(-1)
    mean, square = (np.reshape(sums / max(1, count), -1) for sums in (total, squares))
    return mean[is_scaled], np.sqrt(np.maximum(0, square - mean**2))[is_scaled]
