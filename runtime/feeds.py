"""Inputs for testing a graph: random ones at several sizes, and edge cases that random numbers never reach.

Named dims are at least 1, so the only inputs of size 0 are the caches that a decode step begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import Dim, evaluate, symbols
from compiler.graph import Graph
from compiler.lookups import known_size, table_limits
from compiler.model_spec import is_weight
from compiler.types import DType

if TYPE_CHECKING:
    from compiler.types import Array

BATCHES = (1, 2, 7)
LENGTHS = (5, 3, 16)
_LARGEST = 512  # sizes are doubled up to this until no inner axis is empty, as with a window wider than its image
_DEAD = 0.2  # the fraction of a mask's rows that are all false


@dataclass(frozen=True)
class Feeds:
    """Inputs by name, the sizes of their named dims, and a label for reports."""

    label: str
    sizes: dict[str, int]
    arrays: dict[str, Array]


# Random numbers


def sample_sizes(graph: Graph) -> Iterator[dict[str, int]]:
    """Sizes for the named dims: the first axis of an input as a batch, the others as lengths."""
    for batch, length in zip(BATCHES, LENGTHS, strict=True):
        sizes = sizes_from(graph, batch, length)
        yield sizes
        if not sizes:
            return


def sizes_from(graph: Graph, batch: int, length: int, apart: bool = True) -> dict[str, int]:
    """These sizes for the named dims, each length 1 more than the last if `apart`; larger ones if an axis is empty."""
    names: dict[str, bool] = {}
    for value in graph.inputs.values():
        for axis, size in enumerate(value.shape):
            for name in sorted(symbols(size)):
                names[name] = names.get(name, False) or axis == 0
    inner = {size for node in graph for result in node.results for size in result.shape if isinstance(size, Dim)}
    lengths = iter(range(length, length + len(names)) if apart else [length] * len(names))
    sizes = {name: batch if first else next(lengths) for name, first in names.items()}
    while any(known_size(size, sizes) < 1 for size in inner) and max(sizes.values()) < _LARGEST:
        sizes = {name: size if names[name] else 2 * size for name, size in sizes.items()}
        if all(names.values()):
            break
    return sizes


def random_feeds(graph: Graph, sizes: Mapping[str, int], seed: int, dead: float = _DEAD) -> dict[str, Array]:
    """Standard normal floats, integers that are valid indices where the graph looks them up, and masks.

    A mask is mostly true; a fraction `dead` of its rows is all false.
    """
    return _fill(graph, sizes, seed, _Filling("random", _normal, _integers, lambda rng, shape: _mask(rng, shape, dead)))


# Numbers at the edges

Fill = Callable[[np.random.Generator, list[int], DType], "Array"]


@dataclass(frozen=True)
class _Filling:
    """How each kind of input is filled; `integers` get the size of the table that they are looked up in, or None."""

    label: str
    floats: Fill
    integers: Callable[[np.random.Generator, list[int], DType, int | None], Array]
    masks: Callable[[np.random.Generator, list[int]], Array]


def edge_feeds(graph: Graph, seed: int = 0) -> Iterator[Feeds]:
    """One set of inputs for each edge case, at small sizes, without duplicates."""
    single, small = sizes_from(graph, 1, 1, apart=False), sizes_from(graph, 3, 2)
    seen: set[bytes] = set()
    for filling in _EDGES:
        sizes = single if filling.label == "single" else small
        arrays = _fill(graph, sizes, seed, filling)
        key = b"".join(repr((array.shape, array.tobytes())).encode() for array in arrays.values())
        if key not in seen:
            seen.add(key)
            yield Feeds(filling.label, dict(sizes), arrays)


def _fill(graph: Graph, sizes: Mapping[str, int], seed: int, filling: _Filling) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    limits = table_limits(graph, sizes)
    feeds: dict[str, Array] = {}
    for name, value in graph.inputs.items():
        shape, dtype = [evaluate(size, sizes) for size in value.shape], value.type.dtype
        if dtype.is_float:
            feeds[name] = np.asarray(filling.floats(rng, shape, dtype)).astype(dtype.numpy)
            if is_weight(name):
                feeds[name] = np.abs(feeds[name])
        elif dtype.is_integer:
            feeds[name] = np.asarray(filling.integers(rng, shape, dtype, limits.get(name))).astype(dtype.numpy)
        else:
            feeds[name] = np.asarray(filling.masks(rng, shape), bool)
    return feeds


def _normal(rng: np.random.Generator, shape: list[int], dtype: DType) -> Array:
    return np.asarray(rng.normal(size=shape))


def _integers(rng: np.random.Generator, shape: list[int], dtype: DType, limit: int | None) -> Array:
    high = min(2 if limit is None else limit, int(np.iinfo(dtype.numpy).max))
    return np.asarray(rng.integers(0, high, size=shape))


def _highest(rng: np.random.Generator, shape: list[int], dtype: DType, limit: int | None) -> Array:
    """The last index of a table, or without one the limits of the dtype."""
    ends = np.iinfo(dtype.numpy)
    if limit is not None:
        return np.full(shape, min(limit - 1, ends.max))
    return np.resize(np.array([ends.min, ends.max, 0, 1]), shape)


def _same(number: int) -> Callable[[np.random.Generator, list[int], DType, int | None], Array]:
    return lambda rng, shape, dtype, limit: np.full(shape, number if limit is None else min(number, limit - 1))


def _of(*numbers: float) -> Fill:
    """Drawn from the given numbers, all equally likely."""
    return lambda rng, shape, dtype: rng.choice(np.array(numbers), shape)


def _large(rng: np.random.Generator, shape: list[int], dtype: DType) -> Array:
    return np.asarray(rng.normal(size=shape)) * (100.0 if dtype is DType.F16 else 1e5)


def _limits(rng: np.random.Generator, shape: list[int], dtype: DType) -> Array:
    """The largest and the smallest numbers of the dtype among zeros, so that few sums of them overflow."""
    ends = float_ends(dtype.numpy)
    numbers = [ends.max, 0.0, ends.tiny, 0.0, ends.min, 0.0, -ends.tiny, 0.0, ends.smallest_subnormal]
    return np.resize(np.array(numbers, np.float64), shape)


def float_ends(dtype: np.dtype[Any]) -> Any:
    """`np.finfo`, also for bf16."""
    import ml_dtypes

    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def _with(*numbers: float) -> Fill:
    """Standard normal numbers, a fifth of them replaced by the given ones."""
    return lambda rng, shape, dtype: np.where(
        rng.random(shape) < 0.2, rng.choice(np.array(numbers), shape), rng.normal(size=shape)
    )


def _mask(rng: np.random.Generator, shape: list[int], dead: float = _DEAD) -> Array:
    mask = np.asarray(rng.random(shape) < 0.8)
    if shape:
        mask[..., 0] = True
        mask &= rng.random((*shape[:-1], 1)) >= dead
    return mask


def _all(value: bool) -> Callable[[np.random.Generator, list[int]], Array]:
    return lambda rng, shape: np.full(shape, value)


def _half(rng: np.random.Generator, shape: list[int]) -> Array:
    """A mask whose every other row is all false."""
    mask = _mask(rng, shape, 0.0)
    if shape:
        mask.reshape(-1, shape[-1])[1::2] = False
    return mask


_EDGES = (
    _Filling("single", _normal, _integers, _all(True)),
    _Filling("zeros", _of(0.0, -0.0), _same(0), _all(False)),
    _Filling("ties", _of(1.0), _highest, _all(True)),
    _Filling("large", _large, _integers, _half),
    _Filling("halves", _of(-1.5, -0.5, 0.0, 0.5, 1.0), _same(1), _half),
    _Filling("limits of the dtype", _limits, _highest, _half),
    _Filling("infinities", _with(np.inf, -np.inf), _integers, _half),
    _Filling("NaN", _with(np.nan), _integers, _half),
)
