"""Inputs to try a graph on: random ones at several sizes, and those that random numbers never meet.

Named dims are at least 1, so that no input is of size 0 but a cache, which a decode step begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import Dim, evaluate, symbols
from compiler.graph import Graph
from compiler.lookups import known_size, table_limits
from compiler.types import DType

if TYPE_CHECKING:
    from compiler.types import Array

BATCHES = (1, 2, 7)
LENGTHS = (5, 3, 16)
_LARGEST = 512  # a size is doubled up to this where a smaller one leaves nothing, as a window wider than its image
_DEAD = 0.2  # of the rows of a mask hold nothing that is true


@dataclass(frozen=True)
class Feeds:
    """Inputs by name, the named dims that they have, and what they are."""

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
    """These sizes for the named dims, lengths `apart` by 1 each; larger ones where so little leaves nothing."""
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
    """Standard normal floats, whole numbers that are valid where the graph looks them up in a table, and masks.

    A mask is true mostly, and false in a whole row of `dead` of its rows.
    """
    return _fill(graph, sizes, seed, _Filling("random", _normal, _integers, lambda rng, shape: _mask(rng, shape, dead)))


# Numbers at the edges

Fill = Callable[[np.random.Generator, list[int], DType], "Array"]


@dataclass(frozen=True)
class _Filling:
    """How each kind of input is filled; `integers` are below a limit where they are looked up in a table of so many."""

    label: str
    floats: Fill
    integers: Callable[[np.random.Generator, list[int], DType, int | None], Array]
    masks: Callable[[np.random.Generator, list[int]], Array]


def edge_feeds(graph: Graph, seed: int = 0) -> Iterator[Feeds]:
    """One set of inputs for each edge, at small sizes; where a graph's inputs make several alike, the first of them."""
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
    """The last entry of a table, else the ends of what the dtype holds."""
    ends = np.iinfo(dtype.numpy)
    if limit is not None:
        return np.full(shape, min(limit - 1, ends.max))
    return np.resize(np.array([ends.min, ends.max, 0, 1]), shape)


def _same(number: int) -> Callable[[np.random.Generator, list[int], DType, int | None], Array]:
    return lambda rng, shape, dtype, limit: np.full(shape, number if limit is None else min(number, limit - 1))


def _of(*numbers: float) -> Fill:
    """Any of some numbers, all alike often."""
    return lambda rng, shape, dtype: rng.choice(np.array(numbers), shape)


def _large(rng: np.random.Generator, shape: list[int], dtype: DType) -> Array:
    return np.asarray(rng.normal(size=shape)) * (100.0 if dtype is DType.F16 else 1e5)


def _limits(rng: np.random.Generator, shape: list[int], dtype: DType) -> Array:
    """The largest and the smallest numbers of the dtype in turn, among zeros: few sums of them are beyond it."""
    ends = float_ends(dtype.numpy)
    numbers = [ends.max, 0.0, ends.tiny, 0.0, ends.min, 0.0, -ends.tiny, 0.0, ends.smallest_subnormal]
    return np.resize(np.array(numbers, np.float64), shape)


def float_ends(dtype: np.dtype[Any]) -> Any:
    """What `np.finfo` says, of bf16 too."""
    import ml_dtypes

    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def _with(*numbers: float) -> Fill:
    """Standard normal, with some of these among them."""
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
    """A mask of which every other row holds nothing."""
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
