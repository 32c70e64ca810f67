"""The two backends against each other: one graph, the same weights and inputs, the outputs compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.dims import evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.indexing import GatherElements, OneHot, Take
from compiler.operators.source import Input
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner

if TYPE_CHECKING:
    from compiler.types import Array

BATCHES = (1, 2, 7)
LENGTHS = (5, 3, 16)


@dataclass(frozen=True)
class Comparison:
    """One output at one set of sizes: how far the backends are apart, relative to its largest magnitude."""

    output: str
    sizes: dict[str, int]
    error: float


@dataclass(frozen=True)
class Report:
    comparisons: tuple[Comparison, ...]
    tolerance: float

    @property
    def worst(self) -> Comparison:
        return max(self.comparisons, key=lambda each: each.error if np.isfinite(each.error) else np.inf)

    @property
    def passed(self) -> bool:
        return all(each.error <= self.tolerance for each in self.comparisons)


def compare(graph: Graph, model: bytes, weights: Mapping[str, Array], *, seed: int = 0, tolerance: float = 1e-4) -> Report:
    """Run both backends on random inputs, at several batch sizes and lengths."""
    numpy, onnx = NumpyRunner(graph, weights), OnnxRunner(model)
    found: list[Comparison] = []
    for number, sizes in enumerate(sample_sizes(graph)):
        feeds = random_feeds(graph, sizes, seed + number)
        expected, given = numpy.run(feeds), onnx.run(feeds)
        for name in graph.outputs:
            found.append(Comparison(name, sizes, relative_error(given[name], expected[name])))
    return Report(tuple(found), tolerance)


def relative_error(given: Array, expected: Array) -> float:
    """The largest difference over the largest magnitude (at least 1e-3); NaN in the same places is no difference."""
    if given.shape != expected.shape:
        return float("inf")
    if given.dtype.kind in "iub":
        return float(np.any(given != expected))
    a, b = given.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    scale = max(float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0)), 1e-3)
    gap = np.abs(np.where(same, 0.0, a - b))
    return float(np.max(gap)) / scale if np.isfinite(gap).all() else float("inf")


def sample_sizes(graph: Graph) -> Iterator[dict[str, int]]:
    """Sizes for the named dims: the first dim of an input as a batch, the others as lengths."""
    names: dict[str, bool] = {}
    for value in graph.inputs.values():
        for axis, size in enumerate(value.shape):
            for name in sorted(symbols(size)):
                names[name] = names.get(name, False) or axis == 0
    for batch, length in zip(BATCHES, LENGTHS, strict=True):
        lengths = iter(range(length, length + len(names)))
        yield {name: batch if first else next(lengths) for name, first in names.items()}
        if not names:
            return


def random_feeds(graph: Graph, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Standard normal floats, and whole numbers that are valid where the graph looks them up in a table."""
    rng = np.random.default_rng(seed)
    limits = _limits(graph)
    feeds: dict[str, Array] = {}
    for name, value in graph.inputs.items():
        shape = [evaluate(size, sizes) for size in value.shape]
        dtype = value.type.dtype
        if dtype.is_float:
            feeds[name] = rng.normal(size=shape).astype(dtype.numpy)
        elif dtype.is_integer:
            feeds[name] = rng.integers(0, limits.get(name, 2), size=shape).astype(dtype.numpy)
        else:
            feeds[name] = _mask(rng, shape)
    return feeds


def _mask(rng: np.random.Generator, shape: list[int]) -> Array:
    """True mostly, and always first: a row with nothing to attend to has no answer to compare."""
    mask = rng.random(shape) < 0.8
    if shape:
        mask[..., 0] = True
    return mask


def _limits(graph: Graph) -> dict[str, int]:
    """For each integer input the size of the smallest table that it indexes."""
    limits: dict[str, int] = {}
    for node in graph:
        size = _table(node)
        if size is None:
            continue
        for name in _inputs_behind(node.operands[-1]):
            limits[name] = min(limits.get(name, size), size)
    return limits


def _table(node: Node) -> int | None:
    match node.op:
        case Take(axis=axis) | GatherElements(axis=axis):
            size = node.operands[0].shape[axis]
        case OneHot(depth=depth):
            size = depth
        case _:
            return None
    return size if isinstance(size, int) else None


def _inputs_behind(value: Value) -> Iterator[str]:
    """The integer inputs that a value is made of, element by element or by moving them."""
    waiting = [value]
    while waiting:
        node = waiting.pop().node
        if isinstance(node.op, Input):
            yield node.op.label
        elif node.op.name in ("slice", "reshape", "squeeze", "unsqueeze", "expand", "transpose", "concat", "cast"):
            waiting.extend(node.operands)
