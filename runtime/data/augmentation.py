"""Random changes to training batches: of images [batch, channels, height, width] and series [batch, time, ...].

Each changes the first float input of a batch; only mixup changes the targets, which have to be floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.examples import Examples

if TYPE_CHECKING:
    from compiler.types import Array

Shape = int | tuple[int, ...]


class RowDraws:
    """The draws of rows `first` to `end` of a batch of `count`: those that the whole batch has for them."""

    def __init__(self, generator: np.random.Generator, first: int, end: int, count: int) -> None:
        self.generator, self.rows, self.count = generator, slice(first, end), count

    def random(self, size: Shape) -> Array:
        """Fractions in [0, 1)."""
        return self.generator.random(self._whole(size))[self.rows]

    def uniform(self, low: float, high: float, size: Shape) -> Array:
        """Numbers in [low, high)."""
        return self.generator.uniform(low, high, self._whole(size))[self.rows]

    def integers(self, low: int, high: int, size: Shape) -> Array:
        """Whole numbers in [low, high)."""
        return self.generator.integers(low, high, self._whole(size))[self.rows]

    def standard_normal(self, size: Shape) -> Array:
        """Numbers of mean 0 and standard deviation 1."""
        return self.generator.standard_normal(self._whole(size))[self.rows]

    def _whole(self, size: Shape) -> tuple[int, ...]:
        _, *rest = (size,) if isinstance(size, int) else size
        return self.count, *rest


Draws = np.random.Generator | RowDraws
Change = Callable[["Array", float, Draws], "Array"]


def augment(batch: dict[str, Array], examples: Examples, generator: Draws) -> dict[str, Array]:
    """A batch with the augmentations of the data description applied to its first float input.

    `mixup`, which mixes the examples of a whole batch, needs NumPy's generator.
    """
    name = next((input for input in examples.inputs if batch[input].dtype.kind == "f"), None)
    if name is None:
        raise NablacError(Diagnostic(codes.E825, "only float inputs can be augmented, and the model has none"))
    x = batch[name]
    for change, amount in examples.augmentations.items():
        if change == "mixup":
            continue
        ranks, function = CHANGES[change]
        if x.ndim not in ranks:
            kind = "images [batch, channels, height, width]" if ranks == (4,) else "series [batch, time, ...]"
            raise NablacError(Diagnostic(codes.E825, f"`{change}` changes {kind}, and `{name}` has {x.ndim} axes"))
        x = function(x, amount, generator).astype(x.dtype, copy=False)
    changed = {**batch, name: x}
    amount = examples.augmentations.get("mixup", 0)
    return mixup(changed, examples, name, amount, cast("np.random.Generator", generator)) if amount else changed


def flip(x: Array, amount: float, generator: Draws) -> Array:
    """Mirror half of the images, left to right."""
    chosen = generator.random(len(x)) < 0.5
    return np.where(chosen[:, None, None, None], x[..., ::-1], x)


def crop(x: Array, amount: float, generator: Draws) -> Array:
    """Crop each image at random to its own size, after padding it with `amount` zeros on each side."""
    border = int(amount)
    padded = np.pad(x, ((0, 0), (0, 0), (border, border), (border, border)))
    return _windows(padded, x.shape, generator.integers(0, 2 * border + 1, (len(x), 2)))


def shift(x: Array, amount: float, generator: Draws) -> Array:
    """Shift each image by up to `amount` pixels each way, repeating the edge."""
    border = int(amount)
    padded = np.pad(x, ((0, 0), (0, 0), (border, border), (border, border)), mode="edge")
    return _windows(padded, x.shape, generator.integers(0, 2 * border + 1, (len(x), 2)))


def _windows(padded: Array, shape: tuple[int, ...], corners: Array) -> Array:
    height, width = shape[2:]
    return np.stack(
        [image[:, top : top + height, left : left + width] for image, (top, left) in zip(padded, corners, strict=True)]
    )


def rotate(x: Array, amount: float, generator: Draws) -> Array:
    """Rotate each image about its centre by up to `amount` degrees; bilinear between pixels, zero outside."""
    angles = np.radians(generator.uniform(-amount, amount, len(x)))
    height, width = x.shape[2:]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    rows, columns = rows - (height - 1) / 2, columns - (width - 1) / 2
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    return _sample(x, cos * rows - sin * columns + (height - 1) / 2, sin * rows + cos * columns + (width - 1) / 2)


def _sample(x: Array, rows: Array, columns: Array) -> Array:
    """Images at fractional coordinates [batch, height, width], by bilinear interpolation."""
    height, width = x.shape[2:]
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = rows - top, columns - left
    numbers = np.arange(len(x))[:, None, None]
    total = np.zeros((len(x), *rows.shape[1:], x.shape[1]))
    for row, weight_down in ((top, 1 - down), (top + 1, down)):
        for column, weight_right in ((left, 1 - right), (left + 1, right)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            corner = x[numbers, :, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
            total += corner * (weight_down * weight_right * inside)[..., None]
    return np.moveaxis(total, -1, 1)


def noise(x: Array, amount: float, generator: Draws) -> Array:
    """Add normal noise of standard deviation `amount` to every number."""
    return x + amount * generator.standard_normal(x.shape)


def cutout(x: Array, amount: float, generator: Draws) -> Array:
    """Set a square of `amount` pixels to zero, at a random centre (DeVries and Taylor 2017)."""
    size = int(amount)
    height, width = x.shape[2:]
    top = generator.integers(0, height, len(x))[:, None] - size // 2
    left = generator.integers(0, width, len(x))[:, None] - size // 2
    rows = (np.arange(height) >= top) & (np.arange(height) < top + size)
    columns = (np.arange(width) >= left) & (np.arange(width) < left + size)
    return np.where((rows[:, :, None] & columns[:, None, :])[:, None], 0.0, x)


def scaling(x: Array, amount: float, generator: Draws) -> Array:
    """Multiply each series by a normal factor of mean 1 and standard deviation `amount`."""
    factors = 1 + amount * generator.standard_normal((len(x), 1, *x.shape[2:]))
    return x * factors


def warp(x: Array, amount: float, generator: Draws) -> Array:
    """Speed up or slow down a part of each series by up to `amount`, at the same total length (window warping)."""
    length = x.shape[1]
    if length < 3:
        return x
    times = np.linspace(0.0, 1.0, length)
    middles = generator.uniform(0.25, 0.75, len(x))
    moved = np.clip(middles + generator.uniform(-amount, amount, len(x)) * 0.25, 0.05, 0.95)
    flat = x.reshape(len(x), length, -1)
    warped = np.empty_like(flat)
    for number in range(len(x)):
        source = np.interp(times, [0.0, middles[number], 1.0], [0.0, moved[number], 1.0])
        for column in range(flat.shape[2]):
            warped[number, :, column] = np.interp(source, times, flat[number, :, column])
    return warped.reshape(x.shape)


def mixup(
    batch: dict[str, Array], examples: Examples, name: str, amount: float, generator: np.random.Generator
) -> dict[str, Array]:
    """Mix pairs of examples and their float targets, with weights from Beta(amount, amount) (Zhang et al. 2017)."""
    if any(batch[target].dtype.kind != "f" for target in examples.targets):
        hint = "a target `f32[batch, classes]` gets one-hot rows, and `categorical_cross_entropy` takes them"
        raise NablacError(Diagnostic(codes.E825, "`mixup` mixes float targets, and these are whole numbers", hint=hint))
    shares = generator.beta(amount, amount, len(batch[name]))
    others = generator.permutation(len(batch[name]))
    mixed = dict(batch)
    for mixed_name in (name, *examples.targets):
        array = batch[mixed_name]
        share = shares.reshape(-1, *[1] * (array.ndim - 1))
        mixed[mixed_name] = (share * array + (1 - share) * array[others]).astype(array.dtype)
    return mixed


_IMAGES, _SERIES, _ANY = (4,), (2, 3), (2, 3, 4)
CHANGES: dict[str, tuple[tuple[int, ...], Change]] = {
    "flip": (_IMAGES, flip),
    "crop": (_IMAGES, crop),
    "rotate": (_IMAGES, rotate),
    "shift": (_IMAGES, shift),
    "noise": (_ANY, noise),
    "cutout": (_IMAGES, cutout),
    "jitter": (_SERIES, noise),
    "scaling": (_SERIES, scaling),
    "warp": (_SERIES, warp),
}
